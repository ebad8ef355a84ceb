"""Owns the stores and the counters that the integration tests share."""

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from bench.signing import Credentials
from tests.integration.client import PATIENCE_S, Client, credentials_of
from tests.integration.cluster import Cluster
from tests.integration.tally import RecordProperty, Tally

_NUMBERS = count(1)


@pytest.fixture(scope="module")
def module_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for a module's store; gone after the module, unless one of its tests failed."""
    failed_before, made = request.session.testsfailed, tmp_path_factory.mktemp("module")
    yield made
    if request.session.testsfailed == failed_before:
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def mortal(request: pytest.FixtureRequest, module_folder: Path) -> Iterator[Cluster]:
    """Five nodes with a launcher each, for a module that kills them; each of its tests leaves all of them running.

    The module's SETTINGS, if it has any, are in the file.
    """
    settings = getattr(request.module, "SETTINGS", "")
    with Cluster.create(module_folder, settings=settings) as store:
        store.start_all()
        yield store


@pytest.fixture(autouse=True)
def all_run(request: pytest.FixtureRequest) -> Iterator[None]:
    """A drill that failed leaves no node of its module's store down for the next."""
    store = request.getfixturevalue("mortal") if "mortal" in request.fixturenames else None
    yield
    if store is not None:
        store.start_all()


@pytest.fixture(scope="session")
def administrator(shared_cluster: Cluster) -> Credentials:
    """The administrator's key of the shared store."""
    return credentials_of(shared_cluster)


@pytest.fixture
def clients(shared_cluster: Cluster, administrator: Credentials) -> Iterator[list[Client]]:
    """A client of each gateway of the shared store."""
    found = [Client(endpoint, administrator, patience_s=PATIENCE_S) for endpoint in shared_cluster.endpoints]
    yield found
    for client in found:
        client.close()


@pytest.fixture
def bucket(clients: list[Client]) -> str:
    """A new bucket in the shared store."""
    name = f"drill-{next(_NUMBERS)}"
    reply = clients[0].request("PUT", f"/{name}")
    assert reply.status == 200, reply
    return name


@pytest.fixture
def tally(record_property: RecordProperty) -> Iterator[Callable[..., Tally]]:
    """Makes the counter of a row; it says at the end how many rounds held of how many asked."""
    made = list[Tally]()

    def make(row: str, *, variable: str, default: int) -> Tally:
        made.append(Tally(row, variable=variable, default=default, record=record_property))
        return made[-1]

    yield make
    for one in made:
        one.close()
