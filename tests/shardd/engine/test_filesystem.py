"""Owns the proof that the operating system's files keep the engine's contract."""

from pathlib import Path

import pytest

from shardd.engine.filesystem import DiskFilesystem
from tests.contract_suites.filesystem import FilesystemContract


class TestDiskFilesystem(FilesystemContract):
    @pytest.fixture
    def filesystem(self) -> DiskFilesystem:
        return DiskFilesystem()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path


def test_descriptors_go_with_the_last_reference(tmp_path: Path) -> None:
    before = _descriptors()
    file = DiskFilesystem().create(tmp_path / "one")
    assert _descriptors() == before + 2
    del file
    assert _descriptors() == before


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
