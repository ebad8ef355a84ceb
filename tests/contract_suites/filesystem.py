"""Owns what every implementation of the engine's file system port must do; never names one of them."""

import errno
from pathlib import Path

import pytest

from shardd.engine.filesystem import Filesystem, area

BLOCK = 4_096


class FilesystemContract:
    """Subclass it as a Test class with the fixtures `filesystem` and `folder` (an absolute, existing path)."""

    def test_a_file_gives_back_what_was_written(self, filesystem: Filesystem, folder: Path) -> None:
        file = filesystem.create(folder / "one")
        memory = _filled(3 * BLOCK, b"abc")
        file.allocate(8 * BLOCK)
        assert file.write(memoryview(memory)[: 2 * BLOCK], BLOCK) == 2 * BLOCK
        assert file.read(5, BLOCK - 2) == b"\0\0abc"
        assert file.read(BLOCK, 3 * BLOCK) == bytes(BLOCK)
        file.datasync()
        assert filesystem.open(folder / "one").read(BLOCK, BLOCK) == bytes(memory[:BLOCK])

    def test_big_and_odd_reads_give_the_same_bytes(self, filesystem: Filesystem, folder: Path) -> None:
        file = filesystem.create(folder / "one")
        memory = _filled(256 * BLOCK, b"0123456")
        file.allocate(256 * BLOCK)
        file.write(memoryview(memory), 0)
        content = bytes(memory)
        for size, offset in ((600_000, 1), (131_072, 4_095), (131_073, 8_192), (1 << 20, 0)):
            assert file.read(size, offset) == content[offset : offset + size]

    def test_a_read_ends_with_the_file(self, filesystem: Filesystem, folder: Path) -> None:
        file = filesystem.create(folder / "one")
        file.allocate(BLOCK + 100)
        assert file.size() == BLOCK + 100
        assert len(file.read(BLOCK, BLOCK)) == 100
        assert len(file.read(1 << 20, 50)) == BLOCK + 50
        assert file.read(10, 2 * BLOCK) == b""
        assert file.read(1 << 20, 2 * BLOCK) == b""

    def test_allocate_never_shortens_and_truncate_does(self, filesystem: Filesystem, folder: Path) -> None:
        file = filesystem.create(folder / "one")
        file.allocate(3 * BLOCK)
        file.allocate(BLOCK)
        assert file.size() == 3 * BLOCK
        file.truncate(BLOCK)
        assert file.size() == BLOCK

    def test_truncated_bytes_come_back_as_zeros(self, filesystem: Filesystem, folder: Path) -> None:
        file = filesystem.create(folder / "one")
        file.allocate(2 * BLOCK)
        file.write(memoryview(_filled(2 * BLOCK, b"x")), 0)
        file.truncate(BLOCK)
        file.allocate(2 * BLOCK)
        assert file.read(BLOCK, BLOCK) == bytes(BLOCK)

    def test_names_are_created_once_renamed_and_unlinked(self, filesystem: Filesystem, folder: Path) -> None:
        filesystem.create(folder / "b")
        filesystem.create(folder / "a")
        with pytest.raises(FileExistsError):
            filesystem.create(folder / "a")
        filesystem.rename(folder / "a", folder / "c")
        filesystem.unlink(folder / "b")
        filesystem.sync_folder(folder)
        assert filesystem.names(folder) == ["c"]
        for missing in (folder / "a", folder / "b"):
            with pytest.raises(FileNotFoundError):
                filesystem.open(missing)
        with pytest.raises(FileNotFoundError):
            filesystem.unlink(folder / "b")

    def test_an_open_file_outlives_its_name(self, filesystem: Filesystem, folder: Path) -> None:
        file = filesystem.create(folder / "one")
        file.allocate(BLOCK)
        file.write(memoryview(_filled(BLOCK, b"kept")), 0)
        filesystem.unlink(folder / "one")
        assert file.read(4, 0) == b"kept"

    def test_a_lock_has_one_holder(self, filesystem: Filesystem, folder: Path) -> None:
        lock = filesystem.lock(folder / "lock")
        with pytest.raises(BlockingIOError) as refusal:
            filesystem.lock(folder / "lock")
        assert refusal.value.errno in (errno.EAGAIN, errno.EWOULDBLOCK)
        lock.close()
        filesystem.lock(folder / "lock").close()

    def test_room_is_told(self, filesystem: Filesystem, folder: Path) -> None:
        room = filesystem.room(folder)
        assert 0 < room.free_bytes <= room.total_bytes
        assert 0.0 <= room.full < 1.0


def _filled(size: int, pattern: bytes) -> bytearray | memoryview:
    memory = area(size)
    memory[:] = (pattern * (size // len(pattern) + 1))[:size]
    return memory
