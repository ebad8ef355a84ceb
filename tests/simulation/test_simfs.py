"""Owns the proof that the simulated file system keeps the contract, and that its power cuts forget what they may."""

from pathlib import Path
from random import Random

import pytest

from shardd.engine.filesystem import area
from tests.contract_suites.filesystem import FilesystemContract
from tests.simulation.simfs import BLOCK, SECTOR, SimFilesystem

FOLDER = Path("/sim")


class TestSimFilesystem(FilesystemContract):
    @pytest.fixture
    def filesystem(self) -> SimFilesystem:
        filesystem = SimFilesystem()
        filesystem.make_folder(FOLDER)
        return filesystem

    @pytest.fixture
    def folder(self) -> Path:
        return FOLDER


def _block(letter: bytes) -> memoryview:
    memory = area(BLOCK)
    memory[:] = letter * BLOCK
    return memoryview(memory)


def test_synced_bytes_and_names_survive_every_cut() -> None:
    filesystem = SimFilesystem()
    file = filesystem.create(FOLDER / "one")
    file.allocate(2 * BLOCK)
    file.write(_block(b"a"), 0)
    file.datasync()
    filesystem.sync_folder(FOLDER)
    file.write(_block(b"b"), BLOCK)
    for seed in range(200):
        left = SimFilesystem(filesystem.disk.after_power_cut(Random(seed)))
        assert left.open(FOLDER / "one").read(BLOCK, 0) == b"a" * BLOCK


def test_unsynced_writes_are_kept_lost_or_torn_between_sectors() -> None:
    filesystem = SimFilesystem()
    file = filesystem.create(FOLDER / "one")
    filesystem.sync_folder(FOLDER)
    file.allocate(BLOCK)
    file.datasync()
    file.write(_block(b"x"), 0)
    seen = set()
    for seed in range(500):
        left = (
            SimFilesystem(filesystem.disk.after_power_cut(Random(seed))).open(FOLDER / "one").read(BLOCK, 0)
        )
        sectors = [left[at : at + SECTOR] for at in range(0, BLOCK, SECTOR)]
        assert set(sectors) <= {bytes(SECTOR), b"x" * SECTOR}
        seen.add(sum(sector[0] > 0 for sector in sectors))
    assert {0, 1, 4, 7, 8} <= seen


def test_unsynced_names_may_be_lost() -> None:
    filesystem = SimFilesystem()
    filesystem.create(FOLDER / "old")
    filesystem.sync_folder(FOLDER)
    filesystem.create(FOLDER / "new")
    filesystem.rename(FOLDER / "old", FOLDER / "moved")
    found = {
        tuple(SimFilesystem(filesystem.disk.after_power_cut(Random(seed))).names(FOLDER))
        for seed in range(200)
    }
    assert {("old",), ("new", "old"), ("moved", "new"), ("moved",)} == found
