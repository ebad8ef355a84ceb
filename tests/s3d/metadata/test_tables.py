"""Owns the proof that both implementations of Tables keep its contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from s3d.metadata.state import State
from s3d.metadata.tables import MemoryTables, Tables
from tests.contract_suites.tables import TablesContract


class TestMemoryTables(TablesContract):
    @pytest.fixture
    def tables(self) -> Tables:
        return MemoryTables()


class TestLmdbTables(TablesContract):
    @pytest.fixture
    def tables(self, tmp_path: Path) -> Iterator[Tables]:
        state = State.open(tmp_path / "state", 1 << 26)
        with state.write() as writes:
            yield writes
        state.close()
