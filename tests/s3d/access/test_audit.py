"""The audit log: a line a decision, in files that do not grow for ever and say what they lack."""

import json
import stat
from pathlib import Path

import pytest

from s3d.access import audit
from s3d.access.audit import Audit, Entry


def entry(number: int) -> Entry:
    return Entry(
        number, f"R{number}", "192.0.2.1", "AK", "1", "GetObject", "s3:GetObject", "b", "k\n", True, "owner"
    )


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_decisions_are_lines_in_a_file_of_the_owner(tmp_path: Path) -> None:
    log = Audit(tmp_path / "log")
    log.flush()
    assert not (tmp_path / "log").exists() and not log.waiting
    for number in range(3):
        log.record(entry(number))
    assert log.waiting
    log.flush()
    assert not log.waiting
    log.record(entry(3))
    log.flush()
    found = lines(tmp_path / "log")
    assert [line["time_us"] for line in found] == [0, 1, 2, 3]
    assert found[0]["request_id"] == "R0" and found[0]["object"] == "k\n" and found[0]["allowed"] is True
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


def test_files_are_changed_when_they_are_full_and_the_oldest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "FILE_BYTES_MAX", 100)
    log = Audit(tmp_path / "log")
    for number in range(audit.FILES_KEPT + 3):
        log.record(entry(number))
        log.flush()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"log.{number}" for number in range(1, audit.FILES_KEPT + 1)]
    newest = audit.FILES_KEPT + 2
    assert [lines(tmp_path / name)[0]["time_us"] for name in names] == [newest - n for n in range(len(names))]


def test_what_could_not_be_written_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "ENTRIES_MAX", 2)
    log = Audit(tmp_path / "folder" / "log")
    for number in range(5):
        log.record(entry(number))
    with pytest.raises(FileNotFoundError):
        log.flush()
    (tmp_path / "folder").mkdir()
    log.record(entry(5))
    log.flush()
    assert lines(tmp_path / "folder" / "log")[1:] == [{"lost": 5}]
    log.record(entry(6))
    log.flush()
    assert len(lines(tmp_path / "folder" / "log")) == 3


def test_without_a_file_nothing_is_kept() -> None:
    log = Audit(None)
    log.record(entry(1))
    log.flush()
    assert log._entries == []
