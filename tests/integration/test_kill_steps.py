"""Owns T-C4 in a live store: gateways die at each call of overwrites, deletes, completes, sweeps, repair, moves.

The calls come from a run that lives: requests to shard servers, commits of the state, answers. What others do not
come to is no step of the work, but of what a gateway does all the time. It dies before the kernel does what it asked
for. QUOIN_TC4_ROUNDS: how often the steps are died at, STEPS_MAX of a kind each time; where it is not set, a few of
each kind are, by QUOIN_SEED. Condemned shards go at once here, so that one that is deleted in error is gone before the
drill is over.
"""

import os
import random
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import md5
from itertools import count, cycle
from pathlib import Path

import pytest

from s3d.blobs.lease import process_of
from s3d.drill.model import Bodies, Content, Model
from s3d.drill.processes import command_line
from s3d.metadata.view import View
from tests.integration.client import Client, NoReplyError, Reply, credentials_of
from tests.integration.cluster import Cluster, wait_until
from tests.integration.load import faults_of_store
from tests.integration.shards import blobs_of, complain, delete_late, faults_of_shards, rows_of, s3ctl
from tests.integration.tally import Tally, seed
from tests.integration.tracing import Step, injecting, steps_in

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

ROUNDS = int(os.environ.get("QUOIN_TC4_ROUNDS", "0"))
SAMPLES = {"overwrite": 2, "delete": 2, "complete": 2, "sweep": 2, "repair": 2, "moves": 1}
STEPS_MAX = 60  # of each kind in a round
SETTINGS = """
[gateway]
condemned_grace_s = 0.0
repair_interval_s = 0.2
"""
BUCKET, PARTS = "steps", "steps-parts"
MOVING = 6
ASKED = 1  # the node whose gateway is told what to do behind
PATIENCE_S = 300.0
MISSES_MAX = 5 if ROUNDS else 1  # runs in a row that do not come to a step, before it is none
LIVES_MAX = 1_000 if ROUNDS else 8  # runs of a round that nobody dies in
ATTEMPTS_MAX = 40  # at being with who does what goes on behind: another may do it next
SIZES = (10, 5_000, 400_000)
DOUBTED = 2  # blobs at a time
KEPT = 8  # objects that are mended and moved; as many are swept at a time
CALLS = ("sendmsg", "sendmmsg", "sendto", "pwrite64", "writev", "fdatasync", "msync", "write")
ANSWER = '"HTTP/1.1 '
MakeTally = Callable[..., Tally]
Request = Callable[[Client], Reply]


@dataclass(frozen=True, slots=True)
class Run:
    """What a gateway did, of which `struck` says that it died in the middle of it, and `died` that it died at all."""

    steps: list[Step]
    died: bool = False
    struck: bool = False


@dataclass(slots=True)
class Drill:
    """A store and what is known of it: of plain objects, and of those that were uploaded in parts."""

    store: Cluster
    chance: random.Random
    logs: Path
    ledger: Model = field(default_factory=lambda: Model(Bodies(29)))
    uploads: Model = field(default_factory=lambda: Model(Bodies(29)))
    numbers: Iterator[int] = field(default_factory=count)
    drained: bool = False

    def client(self, node: int) -> Client:
        keys = credentials_of(self.store)
        return Client(self.store.endpoint(node), keys, timeout_s=PATIENCE_S, patience_s=PATIENCE_S)

    def an_object(self) -> tuple[Content, bytes]:
        return self.ledger.bodies.object_of(next(self.numbers), self.chance.choice(SIZES))

    def log(self) -> Path:
        return self.logs / f"{next(self.numbers)}.strace"

    def write(self, client: Client, key: str) -> None:
        content, body = self.an_object()
        assert persistent(lambda: client.put(BUCKET, key, body)).status == 200
        self.ledger.settle(key, content)

    def leader(self) -> int:
        """The gateway that has the lease of what goes on behind, once all of them reach all nodes."""
        self.store.wait_reached(deadline_s=PATIENCE_S)

        def found() -> int | None:
            with rows_of(self.store) as view:
                row = view.lease("repair")
            holds = row is not None and row.holds(time.time_ns() // 1_000)
            process = process_of(row.holder) if row is not None and holds else 0
            return process if process in self.store.pids("s3d.gateway") and not has_died(process) else None

        leads: int = wait_until(found, within_s=PATIENCE_S, what="a gateway takes the lease")
        return leads


@pytest.fixture(scope="module")
def drill(module_folder: Path) -> Iterator[Drill]:
    """Six nodes under one launcher, which brings back what is killed."""
    with Cluster.create(module_folder, nodes=MOVING, together=True, settings=SETTINGS) as store:
        store.start_all()
        made = Drill(store, random.Random(seed()), module_folder)
        with made.client(1) as client:
            for bucket in (BUCKET, PARTS):
                assert client.request("PUT", f"/{bucket}").status == 200
            for number in range(KEPT):
                made.write(client, f"kept/{number}")
        yield made


@pytest.mark.parametrize("name", ["overwrite", "delete", "complete"])
def test_a_gateway_dies_at_any_step_of_a_request(drill: Drill, tally: MakeTally, name: str) -> None:
    work, nodes = REQUESTS[name], cycle(drill.store.nodes)
    lived = [ask(drill, work, next(nodes)).steps for _ in range(2)]
    steps = [step for step in lived[0] if step in lived[1]]
    assert {"fdatasync", "write"} <= {step.call for step in steps}, steps
    die_at(drill, steps, tally, name=name, work=lambda step: ask(drill, work, next(nodes), death=step))
    judge(drill)


@pytest.mark.parametrize("name", ["sweep", "repair", "moves"])
def test_a_gateway_dies_at_any_step_of_what_goes_on_behind(drill: Drill, tally: MakeTally, name: str) -> None:
    work = JOBS[name]
    steps = carry_out(drill, work).steps
    die_at(drill, steps, tally, name=name, work=lambda step: carry_out(drill, work, death=step))
    judge(drill)


def die_at(
    drill: Drill, steps: list[Step], tally: MakeTally, *, name: str, work: Callable[[Step], Run]
) -> None:
    """Die at all of them, or at some, in an order of chance; what runs do not come to again is none of them."""
    asked_a_round = min(len(steps), STEPS_MAX if ROUNDS else SAMPLES[name])
    deaths = tally(f"T-C4, {name}", variable="", default=asked_a_round * (ROUNDS or 1))
    print(f"{name}: {len(steps)} steps at first, of which {asked_a_round} are died at, {ROUNDS or 1} times")
    misses: Counter[Step] = Counter()
    for _ in range(ROUNDS or 1):
        left, lives, goal = drill.chance.sample(steps, len(steps)), 0, deaths.held + asked_a_round
        while left and lives < LIVES_MAX and deaths.held < goal:
            step = left.pop()
            run = work(step)
            if run.struck:
                deaths.hold()
                del misses[step]
                continue
            lives += 1
            left.insert(0, step)
            misses.update({step} if run.died else set(left) - set(run.steps))
            steps = [each for each in steps if misses[each] < MISSES_MAX]
            left = [each for each in left if misses[each] < MISSES_MAX]
        deaths.asked -= goal - deaths.held
    print(f"{name}: runs come to {len(steps)} steps again and again: {Counter(step.call for step in steps)}")
    assert deaths.held, "no run came to any of these steps again"


# What clients ask for: what the key shall hold, and the request.


def overwrite(drill: Drill, client: Client, key: str) -> tuple[Content | None, Request]:
    drill.write(client, key)
    content, body = drill.an_object()
    return content, lambda doomed: doomed.put(BUCKET, key, body)


def delete(drill: Drill, client: Client, key: str) -> tuple[Content | None, Request]:
    drill.write(client, key)
    return None, lambda doomed: doomed.delete(BUCKET, key)


def complete(drill: Drill, client: Client, key: str) -> tuple[Content | None, Request]:
    """An upload of one part; what was there before was uploaded the same way."""
    (content, body), path = drill.an_object(), f"/{PARTS}/{key}"
    begun = persistent(lambda: client.request("POST", path, query=[("uploads", "")]))
    [upload] = begun.texts("UploadId")
    query = [("partNumber", "1"), ("uploadId", upload)]
    part = persistent(lambda: client.request("PUT", path, query=query, body=body))
    parts = f"<Part><PartNumber>1</PartNumber><ETag>{part.headers['etag']}</ETag></Part>"
    order = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    return content, lambda doomed: doomed.request("POST", path, query=[("uploadId", upload)], body=order)


REQUESTS: Mapping[str, Callable[[Drill, Client, str], tuple[Content | None, Request]]] = {
    "overwrite": overwrite,
    "delete": delete,
    "complete": complete,
}


def ask(
    drill: Drill,
    work: Callable[[Drill, Client, str], tuple[Content | None, Request]],
    node: int,
    *,
    death: Step | None = None,
) -> Run:
    """One request, to a gateway that is to die in it; its steps up to the answer."""
    key, log = f"{work.__name__}/{next(drill.numbers)}", drill.log()
    ledger = drill.uploads if work is complete else drill.ledger
    faults = (death.death,) if death else ()
    with drill.client(node) as doomed, drill.client(node % MOVING + 1) as witness:
        content, request = work(drill, witness, key)
        persistent(lambda: doomed.head(BUCKET, key))  # so that it is back, and connected
        [pid] = drill.store.gateway_pids(node)
        with injecting(pid, *faults, log=log, beside=CALLS):
            try:
                reply = request(doomed)
            except NoReplyError:
                assert death, "nobody was to die"
                ledger.doubt(key, content)
            else:
                assert reply.status in (200, 204), reply
                ledger.settle(key, content)
                wait_until(lambda: ANSWER in log.read_text(), within_s=PATIENCE_S, what="the answer is noted")
                return Run(steps_in(log, until=ANSWER))
        assert has_died(pid) and death in steps_in(log), f"it did not die at {death}"
        got = persistent(lambda: witness.get(PARTS if work is complete else BUCKET, key))
        fault = ledger.judge_read(key, got.body if got.status == 200 else None)
        assert not fault, f"{death}: {fault}"
    return Run(steps_in(log), died=True, struck=True)


# What goes on behind: a gateway that leads does it some time after `begin`, and `is_left` says whether all of it.


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is brought about, once what it needs is `prepare`d. `begin`: whether that was answered."""

    prepare: Callable[[Drill], list[str]]
    begin: Callable[[Drill, list[str]], bool]
    is_left: Callable[[View, int], bool]


def make_keys(drill: Drill) -> list[str]:
    keys = [f"swept/{next(drill.numbers)}" for _ in range(KEPT)]
    with drill.client(1) as client:
        for key in keys:
            drill.write(client, key)
    return keys


def delete_at_once(drill: Drill, keys: list[str]) -> bool:
    """Objects that one commit deletes: their shards are condemned, and due at once."""
    named = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
    order = f"<Delete>{named}</Delete>".encode()
    sent = [("content-md5", b64encode(md5(order, usedforsecurity=False).digest()).decode())]
    note = drill.ledger.settle
    with drill.client(ASKED) as client:
        try:
            reply = client.request("POST", f"/{BUCKET}", query=[("delete", "")], headers=sent, body=order)
            assert reply.status == 200, reply
        except NoReplyError:  # the one that is asked may be the one that dies
            note = drill.ledger.doubt
    for key in keys:
        note(key, None)
    return note == drill.ledger.settle


def doubt_shards(drill: Drill, _: list[str]) -> bool:
    """Repair puts the shard anew, whether it is there or not: under its row's next generation."""
    blobs = drill.chance.sample(list(blobs_of(drill.store)), DOUBTED)
    complain(drill.store, blobs, shard=drill.chance.randrange(5))
    return True


def change_members(drill: Drill, _: list[str]) -> bool:
    """The last node is drained, or comes back."""
    verb = "add" if drill.drained else "drain"
    wait_until(
        lambda: s3ctl(drill.store, "node", verb, str(MOVING)).returncode == 0,
        within_s=PATIENCE_S,
        what=f"node {MOVING}: {verb}",
    )
    drill.drained = not drill.drained
    return True


def moves_are_left(view: View, begun_us: int) -> bool:
    job = view.job("rebalance")
    return job is None or job.started_us < begun_us or not job.finished


JOBS = {
    "sweep": Job(make_keys, delete_at_once, lambda view, _: view.condemned_count() > 0),
    "repair": Job(lambda _: [], doubt_shards, lambda view, _: view.degraded_count() > 0),
    "moves": Job(lambda _: [], change_members, moves_are_left),
}


def carry_out(drill: Drill, job: Job, *, death: Step | None = None) -> Run:
    """The job, while who leads is to die at that step. Another takes over when the lease of the dead one has ended."""
    for _ in range(ATTEMPTS_MAX):
        keys, leader, log = job.prepare(drill), drill.leader(), drill.log()
        faults, begun_us = (death.death,) if death else (), time.time_ns() // 1_000
        with injecting(leader, *faults, log=log, beside=CALLS):
            answered = job.begin(drill, keys)
            wait_until(
                lambda begun_us=begun_us, leader=leader: (
                    not is_left(drill, job, begun_us) or has_died(leader)
                ),
                within_s=PATIENCE_S,
                what="it is done",
            )
            died = has_died(leader)
        struck = died and (not answered or is_left(drill, job, begun_us))
        wait_until(
            lambda begun_us=begun_us: not is_left(drill, job, begun_us),
            within_s=PATIENCE_S,
            what="the next one does it",
        )
        if died or drill.leader() == leader:
            return Run(steps_in(log), died=died, struck=struck)
    raise AssertionError("it is always another gateway that does it")


def is_left(drill: Drill, job: Job, begun_us: int) -> bool:
    with rows_of(drill.store) as view:
        return job.is_left(view, begun_us)


def has_died(gateway: int) -> bool:
    """Has this process come to its end?"""
    return "gateway" not in " ".join(command_line(gateway))


def persistent(send: Callable[[], Reply]) -> Reply:
    """The first answer that is not 503: what nobody strikes must be answered, if late."""

    def answer() -> Reply | None:
        with suppress(NoReplyError):
            reply = send()
            return reply if reply.status in (200, 404) else None
        return None

    return wait_until(answer, within_s=PATIENCE_S, what="an answer")


def judge(drill: Drill) -> None:
    """Every row's shards are there, also after deletes that come late; every key reads and lists right."""
    store = drill.store
    store.wait_reached(deadline_s=PATIENCE_S)
    quiet = (JOBS["repair"], JOBS["sweep"])
    wait_until(
        lambda: not any(is_left(drill, job, 0) for job in quiet), within_s=PATIENCE_S, what="all is mended"
    )
    faults = faults_of_shards(store, store.nodes)
    print(f"T-C4: {delete_late(store, store.nodes)} deletes of earlier generations")
    faults += faults_of_shards(store, store.nodes)
    faults += faults_of_store(store, drill.ledger, bucket=BUCKET)
    with drill.client(2) as client:
        for key in drill.uploads.keys("complete/"):
            got = persistent(lambda key=key: client.get(PARTS, key))
            faults += filter(None, [drill.uploads.judge_read(key, got.body if got.status == 200 else None)])
    assert not faults, faults[:5]
