"""Restores of a store that is not started: who keeps it from one, what is passed over, and what comes back."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from s3d.ctl import backup
from s3d.ctl.__main__ import main
from s3d.metadata import snapshot_files
from s3d.metadata.journal import Group, Journal
from s3d.metadata.log import LocalLog
from s3d.metadata.machine import apply
from s3d.metadata.state import State
from shardd.contract.errors import ConfigurationError
from shardd.transport.holds import hold_folder
from tests.contract_suites.log import create, put
from tests.s3d.ctl.one_node import ONE_NODE

SIZE = 1 << 26
TEXT = f'{ONE_NODE}[metadata]\npath = "disk/metadata"\nmap_size_bytes = {SIZE}\n'
Output = pytest.CaptureFixture[str]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.toml"
    path.write_text(TEXT)
    (tmp_path / "node").mkdir()
    (tmp_path / "other disk").mkdir()
    (tmp_path / "disk").symlink_to(tmp_path / "other disk")
    return path


def restore(config: Path, *words: str) -> int:
    return main(["-config", str(config), "restore", *words])


def save(state: State, config: Path, now_us: int) -> Path:
    with state.view() as view:
        [path] = snapshot_files.save(
            view, [config.parent / "node" / snapshot_files.FOLDER], now_us=now_us, rest=lambda: None
        )
    return path


async def live(config: Path, *keys: bytes) -> State:
    """A store's metadata: a snapshot, and then these keys."""
    state = State.open(config.parent / "disk/metadata", SIZE)
    log = LocalLog(state)
    await log.append([create()])
    save(state, config, 5)
    for key in keys:
        await log.append([put(key)])
    await log.close()
    return state


def keys_of(config: Path) -> set[bytes]:
    state = State.open(config.parent / "disk/metadata", SIZE)
    found = keys_in(state)
    state.close()
    return found


def keys_in(state: State) -> set[bytes]:
    with state.view() as view:
        bucket = view.bucket("races")
        assert bucket is not None
        return {key for key in (b"a", b"b", b"c") if view.current(bucket.incarnation, key)}


async def test_metadata_that_is_open_behind_a_link_is_not_replaced(config: Path, capsys: Output) -> None:
    state = await live(config, b"a")
    assert restore(config, "--newest") == 1
    assert f"in use by process {os.getpid()}: stop the store first" in capsys.readouterr().err
    state.close()
    assert restore(config, "--newest") == 0
    assert keys_of(config) == {b"a"}


async def test_no_launcher_starts_under_a_restore_and_no_restore_under_a_launcher(
    config: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    (await live(config, b"a")).close()
    held = hold_folder(config.parent / "node")
    assert restore(config, "--newest") == 1
    assert "stop the store first" in capsys.readouterr().err
    os.close(held)
    kept: list[str] = []

    def start(*_: object) -> None:
        with pytest.raises(ConfigurationError) as raised:
            hold_folder(config.parent / "node")
        kept.append(str(raised.value))

    monkeypatch.setattr(backup, "keep_snapshot", start)
    assert restore(config, "--newest") == 0
    assert len(kept) == 1 and str(os.getpid()) in kept[0]


async def test_a_snapshot_that_its_disk_does_not_give_back_is_passed_over(
    config: Path, capsys: Output
) -> None:
    (await live(config, b"a")).close()
    (config.parent / f"node/snapshots/{6:016d}-1{snapshot_files.SUFFIX}").mkdir()  # reading it is refused
    assert restore(config, "--newest") == 0
    assert "is passed over" in capsys.readouterr().out
    assert keys_of(config) == {b"a"}


async def test_without_the_database_the_journal_has_all_of_it(config: Path, capsys: Output) -> None:
    state = await live(config, b"a", b"b", b"c")
    for name in ("data.mdb", "lock.mdb"):
        (state.path / name).unlink()
    state.close()
    assert restore(config, "--newest") == 0
    assert keys_of(config) == {b"a", b"b", b"c"}
    shutil.rmtree(config.parent / "disk/metadata")
    assert restore(config, "--newest") == 0  # the snapshot that the first one made has all of it as well
    assert keys_of(config) == {b"a", b"b", b"c"}


async def test_a_salvage_without_all_nodes_leaves_what_a_second_one_begins_with(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (await live(config, b"a")).close()
    begun: list[tuple[set[bytes], int]] = []
    adds = iter(((b"b", False), (b"c", True)))

    def salvager(*_: object, **__: object) -> Callable[[State, int], bool]:
        def finish(state: State, made_us: int) -> bool:
            begun.append((keys_in(state), made_us))
            key, all_there = next(adds)
            with state.write() as writes:
                assert not apply(writes, put(key)).error
            return all_there

        return finish

    monkeypatch.setattr(backup, "salvager", salvager)
    assert restore(config, "--newest", "--salvage") == 0
    assert keys_of(config) == {b"a", b"b"}
    assert restore(config, "--newest", "--salvage") == 0
    assert begun == [
        ({b"a"}, 5),
        ({b"a"}, 5),
    ]  # with what the journal had, and since when shards may know more
    shutil.rmtree(config.parent / "disk/metadata")
    assert restore(config, "--newest") == 0
    assert keys_of(config) == {b"a", b"c"}


async def test_full_disks_of_all_nodes_keep_no_metadata_away(config: Path, capsys: Output) -> None:
    (await live(config)).close()
    snapshots = config.parent / "node/snapshots"
    snapshots.rename(config.parent / "elsewhere")
    snapshots.touch()  # so that nothing can be written there
    [file] = (config.parent / "elsewhere").iterdir()
    assert restore(config, str(file)) == 0
    assert "no snapshot of this is kept" in capsys.readouterr().out
    assert keys_of(config) == set()


async def test_commands_of_a_newer_program_end_the_journal_and_take_nothing_along(
    config: Path, capsys: Output
) -> None:
    state = await live(config, b"a")
    with state.view() as view:
        index = view.applied().index
    journal = Journal(state.path)
    journal.append(Group(index + 1, index + 1, (b"\x91\xa7Unknown",)))
    journal.close()
    state.close()
    assert restore(config, "--newest") == 0
    assert f"in doubt: what was done behind command {index}" in capsys.readouterr().out
    assert keys_of(config) == {b"a"}
