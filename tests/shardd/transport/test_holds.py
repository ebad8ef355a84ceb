"""Owns the proof that folders and ports are kept by one store, and told apart from what foreign programs keep."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from shardd.contract.errors import ConfigurationError
from shardd.transport import holds

Kind = Literal["udp", "tcp"]
KINDS: tuple[Kind, ...] = ("udp", "tcp")
HOST = "127.0.0.1"


def free_port(kind: Kind) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def descriptors() -> Iterator[list[int]]:
    held: list[int] = []
    yield held
    for descriptor in held:
        os.close(descriptor)


def test_a_folder_has_one_holder_and_says_who(tmp_path: Path) -> None:
    first = holds.hold_folder(tmp_path / "node")
    with pytest.raises(ConfigurationError, match=f"node is in use by process {os.getpid()}$"):
        holds.hold_folder(tmp_path / "node")
    os.close(first)
    os.close(holds.hold_folder(tmp_path / "node"))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"file/node: Not a directory"):
        holds.hold_folder(tmp_path / "file" / "node")


def test_a_child_that_inherits_a_hold_keeps_it(tmp_path: Path) -> None:
    held = holds.hold_folder(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], pass_fds=[held], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as child:
        os.close(held)
        with pytest.raises(ConfigurationError, match="is in use"):
            holds.hold_folder(tmp_path)
        child.communicate(b"\n")
    os.close(holds.hold_folder(tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_a_port_has_one_holder(kind: Kind, descriptors: list[int]) -> None:
    port = free_port(kind)
    descriptors.append(holds.hold_port(kind, HOST, port))
    with pytest.raises(ConfigurationError, match=f"{kind} port {port} of {HOST} is in use by another s3d"):
        holds.hold_port(kind, HOST, port)
    os.close(descriptors.pop())
    descriptors.append(holds.hold_port(kind, HOST, port))


def test_the_same_number_is_two_ports(descriptors: list[int]) -> None:
    port = free_port("tcp")
    descriptors.append(holds.hold_port("tcp", HOST, port))
    descriptors.append(holds.hold_port("udp", HOST, port))


@pytest.mark.parametrize("kind", KINDS)
def test_a_foreign_program_is_found_even_where_it_shares_its_port(kind: Kind, descriptors: list[int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        foreign.bind((HOST, 0))
        if kind == "tcp":
            foreign.listen()
        port = foreign.getsockname()[1]
        with pytest.raises(
            ConfigurationError, match=f"{kind} port {port} of {HOST} is in use by another program"
        ):
            holds.hold_port(kind, HOST, port)
    descriptors.append(holds.hold_port(kind, HOST, port))


def test_a_host_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1: Cannot assign requested address"):
        holds.hold_port("udp", "192.0.2.1", 9991)
