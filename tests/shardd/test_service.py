"""Owns the proof of the shard server behind its socket: messages on a real store, groups, faults, hostile bytes."""

import asyncio
import os
import random
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shardd.committer import GROUP_BYTES_MAX, Change, Committer, Outcome
from shardd.contract import messages, wire
from shardd.contract.blobs import UNIT_SIZE, BlobId, NodeId, unit_crc
from shardd.contract.cluster import StorageConfig
from shardd.contract.errors import BY_CODE, InternalError, OverloadedError, ShardError
from shardd.engine.filesystem import DiskFilesystem
from shardd.engine.store import Delete, ShardStore
from shardd.promptness import SLOW_S, Promptness
from shardd.scrubbing import Progress, Scrubbing
from shardd.service import ShardService
from shardd.transport import session
from shardd.transport.tls import PeerIdentity
from tests.shardd.transport.raw import RawClient, make_secrets, serve

FUZZ_CASES = int(os.environ.get("QUOIN_TF5_CASES", "10000"))
BLOB = BlobId(b"b" * 16)
LIMITS = StorageConfig(segment_bytes=8 << 20)


class Server:
    """A service with a store of its own, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.secrets = make_secrets(folder / "secrets")
        self.identity = PeerIdentity.load(self.secrets, "node-1-shard")
        self.store = ShardStore.open(
            folder / "store",
            cluster=self.identity.cluster,
            node=NodeId(1),
            filesystem=DiskFilesystem(),
            limits=LIMITS,
        )
        self.scrubbing = Scrubbing(self.store, folder / "scrub.json", limits=LIMITS)
        self.service = ShardService(
            self.store, self.scrubbing, cluster=self.identity.cluster, give_up=lambda: None
        )
        self.endpoint = serve(self.secrets, self.service.handle)
        self.address = self.endpoint.listen("127.0.0.1", 0)
        self.clients: list[RawClient] = []

    async def client(self, name: str = "node-1-gateway") -> RawClient:
        client = RawClient(PeerIdentity.load(self.secrets, name), self.address)
        self.clients.append(client)
        await client.admitted()
        return client

    async def close(self) -> None:
        for client in self.clients:
            client.close()
        await self.endpoint.close()
        await self.service.stop()
        self.store.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path)
    yield made
    await made.close()


def put(units: Sequence[bytes], *, extent: int = 0, shard: int = 0, **facts: object) -> messages.PutExtent:
    crcs = b"".join(
        unit_crc(BLOB, shard, 16 * extent + number, unit).to_bytes(4, "big")
        for number, unit in enumerate(units)
    )
    length = sum(map(len, units))
    return messages.PutExtent(BLOB, shard, extent, 1, length, crcs, **facts)  # type: ignore[arg-type]


async def ask(client: RawClient, body: object, payload: bytes = b"", cluster: bytes | None = None) -> object:
    head = wire.encode(body, cluster=cluster or client.identity.cluster, payload_size=len(payload))
    frame = await client.ask(head + payload)
    return (frame.body, b"".join(frame.payload)) if isinstance(frame.body, messages.Units) else frame.body


def code_of(reply: object) -> str:
    assert isinstance(reply, messages.Failure), reply
    return BY_CODE[reply.code].__name__


async def test_what_is_put_is_there_until_it_is_deleted(server: Server) -> None:
    client, units = await server.client(), [os.urandom(UNIT_SIZE), os.urandom(UNIT_SIZE), os.urandom(99)]
    message = put(units, last=True, identity=b"who")
    assert await ask(client, message, b"".join(units)) == messages.Done()
    got = await ask(client, messages.GetUnits(BLOB, 0, 0, 1, 2))
    assert got == (messages.Units(UNIT_SIZE + 99, message.crcs[4:]), units[1] + units[2])
    assert await ask(client, messages.StatShard(BLOB, 0)) == messages.Stat(
        [(0, 1, 2 * UNIT_SIZE + 99)], True, b"who"
    )
    page = await ask(client, messages.ListShards())
    assert page == messages.Page([(BLOB, 0, 1, 1, 2 * UNIT_SIZE + 99, True)], b"")
    status = await ask(client, messages.GetStatus())
    assert isinstance(status, messages.Status)
    assert (status.state, status.node, status.shards) == ("ok", 1, 1)
    assert await ask(client, messages.DeleteShards([(BLOB, 0, 1)])) == messages.Done()
    assert code_of(await ask(client, messages.GetUnits(BLOB, 0, 0, 0, 1))) == "ShardNotFoundError"
    assert await ask(client, messages.StatShard(BLOB, 0)) == messages.Stat([])


async def test_the_status_says_how_far_scrub_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scrubbing, "step", lambda _scrub, _now_us: 60.0)
    server = Server(tmp_path)
    server.scrubbing.progress = Progress(
        b"", 7, records=8, damaged=9, passes=10, done_bytes=11, total_bytes=12
    )
    status = await ask(await server.client(), messages.GetStatus())
    await server.close()
    assert isinstance(status, messages.Status)
    assert (status.scrub_started_us, status.scrub_records, status.scrub_damaged) == (7, 8, 9)
    assert (status.scrub_passes, status.scrub_done_bytes, status.scrub_total_bytes) == (10, 11, 12)


async def test_a_delete_that_was_long_on_its_way_takes_nothing_that_came_since(server: Server) -> None:
    client, units = await server.client(), [b"new"]
    assert await ask(client, put([b"old"], last=True), b"old") == messages.Done()
    assert await ask(client, messages.DeleteShards([(BLOB, 0, 1)])) == messages.Done()
    moved_back = msgspec.structs.replace(put(units, last=True, identity=b"who"), generation=2)
    assert await ask(client, moved_back, b"new") == messages.Done()
    there = messages.Stat([(0, 2, 3)], True, b"who")
    for _ in range(2):
        assert await ask(client, messages.DeleteShards([(BLOB, 0, 1)])) == messages.Done()
        assert await ask(client, messages.StatShard(BLOB, 0)) == there
    assert code_of(await ask(client, put([b"old"], last=True), b"old")) == "StaleGenerationError"
    got = await ask(client, messages.GetUnits(BLOB, 0, 0, 0, 1))
    assert got == (messages.Units(3, moved_back.crcs), b"new")


async def test_reads_need_no_thread_that_does_not_run_yet(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, units = await server.client(), [os.urandom(UNIT_SIZE), os.urandom(UNIT_SIZE)]
    assert await ask(client, put(units, last=True), b"".join(units)) == messages.Done()

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        got = await ask(client, messages.GetUnits(BLOB, 0, 0, 0, 2))
    assert isinstance(got, tuple) and got[1] == b"".join(units)


async def test_wrong_bytes_are_not_stored(server: Server) -> None:
    client, unit = await server.client(), os.urandom(100)
    assert code_of(await ask(client, put([unit]), unit[:-1] + bytes((unit[-1] ^ 1,)))) == "ShardCorruptError"
    assert code_of(await ask(client, messages.GetUnits(BLOB, 0, 0, 0, 1))) == "ShardNotFoundError"


async def test_a_repeated_put_is_done_and_another_is_a_conflict(server: Server) -> None:
    client = await server.client()
    for _ in range(2):
        assert await ask(client, put([b"one"]), b"one") == messages.Done()
    assert code_of(await ask(client, put([b"two"]), b"two")) == "ShardConflictError"
    assert await ask(client, messages.DeleteShards([(BLOB, 0, 1)])) == messages.Done()
    assert code_of(await ask(client, put([b"one"]), b"one")) == "StaleGenerationError"


async def test_an_administrator_looks_and_does_not_delete(server: Server) -> None:
    gateway, administrator = await server.client(), await server.client("admin")
    assert await ask(gateway, put([b"one"]), b"one") == messages.Done()
    assert code_of(await ask(administrator, messages.DeleteShards([(BLOB, 0, 1)]))) == "ForbiddenError"
    assert code_of(await ask(administrator, put([b"two"], shard=1), b"two")) == "ForbiddenError"
    assert isinstance(await ask(administrator, messages.GetStatus()), messages.Status)
    assert await ask(administrator, messages.StatShard(BLOB, 0)) == messages.Stat([(0, 1, 3)])


async def test_another_cluster_is_told_so(server: Server) -> None:
    client = await server.client()
    reply = await ask(client, messages.GetStatus(), cluster=b"another cluster!")
    assert code_of(reply) == "WrongClusterError"


async def test_a_later_version_is_told_so(server: Server) -> None:
    client = await server.client()
    data = bytearray(wire.encode(messages.GetStatus(), cluster=client.identity.cluster))
    data[4] = 2
    frame = await client.ask(bytes(data))
    assert code_of(frame.body) == "UnsupportedVersionError"


async def test_too_many_bytes_under_way_are_refused_and_the_connection_lives(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "HELD_BYTES_MAX", 200_000)
    client, unit = await server.client(), bytes(UNIT_SIZE)
    head = wire.encode(put([unit] * 16), cluster=client.identity.cluster, payload_size=16 * UNIT_SIZE)
    frame = await client.ask(head + unit * 16)
    assert code_of(frame.body) == "OverloadedError"
    assert await ask(client, put([b"one"]), b"one") == messages.Done()


async def test_a_fault_of_ours_is_an_answer(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = await server.client()

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    for name in ("read", "stat", "commit"):
        monkeypatch.setattr(server.store, name, broken)
    for body in (messages.GetUnits(BLOB, 0, 0, 0, 1), messages.StatShard(BLOB, 0), put([], last=True)):
        assert code_of(await ask(client, body)) == "InternalError"
    assert "a bug" in caplog.text
    monkeypatch.undo()
    assert await ask(client, put([b"one"]), b"one") == messages.Done()


async def test_hostile_frames_after_the_hello(server: Server) -> None:
    """T-F5: whatever bytes a peer sends as a request, the answer is a failure or what was asked, and others go on."""
    seed = int(os.environ.get("QUOIN_SEED", random.randrange(1 << 32)))
    chance, witness = random.Random(seed), await server.client()
    print(f"T-F5: {FUZZ_CASES} frames after the hello, QUOIN_SEED={seed}")
    bodies = [
        put([b"unit"]),
        messages.GetUnits(BLOB, 0, 0, 0, 1),
        messages.ListShards(),
        messages.DeleteShards([]),
    ]
    client, asked = await server.client(), set[int]()
    for case in range(FUZZ_CASES):
        asked.add(stream := client.open())
        client.send(stream, hostile(chance, bodies, client.identity.cluster), end=True)
        if case % 50 == 49:
            await client.until(lambda: asked <= client.ended or client.reason)
            assert client.reason is None, f"seed {seed}: {client.reason}"
    assert isinstance(await ask(witness, messages.GetStatus()), messages.Status)
    assert not server.endpoint.busy


def hostile(chance: random.Random, bodies: Sequence[object], cluster: bytes) -> bytes:
    data = bytearray(
        wire.encode(chance.choice(bodies), cluster=cluster, payload_size=chance.choice((0, 4))) + b"unit"
    )
    match chance.randrange(5):
        case 0:
            return chance.randbytes(chance.randrange(200))
        case 1:
            return bytes(data[: chance.randrange(len(data))])
        case 2:
            data += chance.randbytes(chance.randrange(100))
        case 3:
            del data[wire.HEADER_SIZE :]
            data += chance.randbytes(chance.randrange(1, 300))
    for _ in range(chance.randrange(4)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


async def test_small_requests_do_without_threads_while_the_disk_is_prompt(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And by way of threads the answers are the same, as they are while the committer is at work."""
    client, seen, ages = await server.client(), list[bool](), [0.0]
    commit, read = server.store.commit, server.store.read
    main = threading.main_thread()
    monkeypatch.setattr(server.service, "tend", lambda: 3_600.0)
    with server.service._committer.turn:  # what it tends just now would take a small write to the thread
        pass

    def spy(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **more: Any) -> Any:
            seen.append(threading.current_thread() is main)
            return work(*arguments, **more)

        return run

    monkeypatch.setattr(server.service, "_prompt", Promptness(lambda: ages[0]))
    monkeypatch.setattr(server.store, "commit", spy(commit))
    monkeypatch.setattr(server.store, "read", spy(read))

    async def put_and_get(shard: int) -> list[bool]:
        seen.clear()
        assert await ask(client, put([b"unit"], shard=shard), b"unit") == messages.Done()
        got = await ask(client, messages.GetUnits(BLOB, shard, 0, 0, 1))
        assert isinstance(got, tuple) and got[1] == b"unit"
        return list(seen)

    assert await put_and_get(1) == [True, True]
    with server.service._committer.turn:
        writing = asyncio.create_task(ask(client, put([b"unit"], shard=2), b"unit"))
        while not server.service._committer.waiting:
            await asyncio.sleep(0)
    assert await writing == messages.Done()
    with server.service._prompt.watched():
        ages[0] = 2 * SLOW_S
    assert await put_and_get(3) == [False, False]


class SlowWriter:
    """A committer.Writer that waits for leave, and remembers its groups."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.leave = threading.Semaphore(0)
        self.groups: list[list[Change]] = []
        self.tended = 0

    def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        self.began.set()
        self.leave.acquire()
        self.groups.append(list(changes))
        return [OverloadedError(str(change.shard)) if change.shard % 2 else None for change in changes]

    def tend(self) -> float:
        self.tended += 1
        return 0.001


async def test_what_waits_is_committed_together_and_answered_in_order() -> None:
    writer, answers = SlowWriter(), asyncio.Queue[tuple[int, list[str]]]()
    committer = Committer(writer)

    def submit(*shards: int, size_bytes: int = 0) -> None:
        committer.submit(
            [Delete(BLOB, shard, 1) for shard in shards],
            size_bytes=size_bytes,
            done=lambda outcomes: answers.put_nowait((shards[0], [str(each) for each in outcomes])),
        )

    submit(0)
    await asyncio.to_thread(writer.began.wait)
    submit(1, 2)
    submit(4)
    submit(6, size_bytes=GROUP_BYTES_MAX)
    submit(8)
    for _ in range(3):
        writer.leave.release()
    got = [await answers.get() for _ in range(5)]
    assert got == [(0, ["None"]), (1, ["1", "None"]), (4, ["None"]), (6, ["None"]), (8, ["None"])]
    assert [[change.shard for change in group] for group in writer.groups] == [[0], [1, 2, 4, 6], [8]]
    await committer.stop()
    assert writer.tended


async def test_a_full_queue_is_overloaded_and_stopping_commits_it() -> None:
    writer = SlowWriter()
    committer = Committer(writer)
    done: list[Sequence[Outcome]] = []
    with pytest.raises(OverloadedError):
        for _ in range(100_000):
            committer.submit([Delete(BLOB, 0, 1)], size_bytes=0, done=done.append)
    with pytest.raises(OverloadedError):
        committer.submit([Delete(BLOB, 0, 1)], size_bytes=1 << 40, done=done.append)
    queued = committer.waiting
    writer.leave.release(100_000)
    await committer.stop()
    await asyncio.sleep(0)
    assert sum(map(len, writer.groups)) == len(done) == queued


def test_every_error_of_ours_has_a_code() -> None:
    assert all(issubclass(kind, ShardError) for kind in BY_CODE.values()) and BY_CODE[13] is InternalError
