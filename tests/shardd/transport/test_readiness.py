"""Owns the proof that the word `ready` reaches whoever started a process, and harms nobody where none listens."""

import os
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardd.transport import readiness

ROOT = Path(__file__).parents[3]


@pytest.fixture
def announcements() -> Iterator[readiness.Announcements]:
    made = readiness.Announcements()
    yield made
    made.close()


def test_a_child_is_heard_by_its_process_id(announcements: readiness.Announcements) -> None:
    environment = {"PYTHONPATH": str(ROOT), readiness.SOCKET_VARIABLE: announcements.address}
    program = "from shardd.transport import readiness; readiness.announce()"
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as child:
        with selectors.DefaultSelector() as selector:
            selector.register(announcements, selectors.EVENT_READ)
            assert selector.select(60)
        assert announcements.take() == [child.pid]
    assert announcements.take() == []


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(readiness.SOCKET_VARIABLE, raising=False)
    readiness.announce()
    monkeypatch.setenv(readiness.SOCKET_VARIABLE, "@quoin-nobody")
    readiness.announce()


def test_a_socket_in_the_file_system_is_a_listener_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv(readiness.SOCKET_VARIABLE, str(tmp_path / "notify"))
        readiness.announce()
        assert listener.recv(100) == f"READY=1\nMAINPID={os.getpid()}\n".encode()


@pytest.mark.parametrize(
    "said", [b"", b"READY=1", b"MAINPID=12", b"READY=1\nMAINPID=x", b"STOPPING=1\nMAINPID=1"]
)
def test_anything_else_is_not_ready(announcements: readiness.Announcements, said: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(said, "\0" + announcements.address[1:])
    assert announcements.take() == []
