"""Owns what every QUIC engine must do (engine.Engine): one suite, run on each and crosswise; without a socket.

`Path` stands between a client's and a server's connection: it carries their datagrams in virtual time, and loses,
turns round or refuses what a test tells it to. Its chance has a seed that a failing test shows.
"""

import random
from collections.abc import Callable
from pathlib import Path as Folder

import pytest

from shardd.contract.blobs import NodeId
from shardd.transport import engine
from shardd.transport.authority import issue, make_cluster_authority
from shardd.transport.engine import Arrival, Engine, EngineConnection, EngineSettings
from shardd.transport.native import Address
from shardd.transport.retry import destination_id, parse_initial
from shardd.transport.tls import PeerIdentity

CLIENT: Address = ("::ffff:127.0.0.1", 40_000, 0, 0)
SERVER: Address = ("::ffff:127.0.0.1", 9_991, 0, 0)
NODE = NodeId(1)
TURN_S = 0.001


class Heard:
    """A Sink that writes down what it hears."""

    def __init__(self) -> None:
        self.is_connected = False
        self.streams: dict[int, bytearray] = {}
        self.chunks = 0
        self.ended: set[int] = set()
        self.refused: set[int] = set()
        self.ids: set[bytes] = set()
        self.reason: str | None = None

    def connected(self) -> None:
        self.is_connected = True

    def stream_received(self, stream: int, data: bytes, *, end: bool) -> None:
        self.streams.setdefault(stream, bytearray()).extend(data)
        self.chunks += 1
        if end:
            self.ended.add(stream)

    def stream_refused(self, stream: int) -> None:
        self.refused.add(stream)

    def id_issued(self, connection_id: bytes) -> None:
        self.ids.add(connection_id)

    def id_retired(self, connection_id: bytes) -> None:
        self.ids.discard(connection_id)

    def terminated(self, reason: str) -> None:
        self.reason = reason


class Path:
    """A client, a server that begins with a Retry, and the way between them."""

    def __init__(self, client: EngineConnection, server: Engine, settings: EngineSettings) -> None:
        self.client, self.at_client = client, Heard()
        self.server: EngineConnection | None = None
        self.at_server = Heard()
        self.carries: Callable[[bytes], bool] = lambda datagram: True
        self.largest = {"client": 0, "server": 0}
        self.late_s: Callable[[], float] = lambda: 0.0
        self._under_way: dict[str, list[tuple[float, bytes]]] = {"client": [], "server": []}
        self.answered: set[int] = set()
        self.now_s = 1_000.0
        self._engine = server
        self._settings = settings
        self._original_id = b""
        self._random = random.Random(0)
        self._to_server: list[bytes] = []
        client.connect(SERVER, self.now_s)

    def run(self, until: Callable[[], object], *, turns: int = 20_000, disorder: float = 0.0) -> None:
        """Carries datagrams until `until()` is true; fails after `turns` milliseconds of virtual time."""
        for _ in range(turns):
            if until():
                return
            self._turn(disorder)
        pytest.fail(
            f"nothing came of it in {turns * TURN_S} s: {self.at_client.reason} {self.at_server.reason}"
        )

    def _turn(self, disorder: float) -> None:
        self.now_s += TURN_S
        for side in (self.client, self.server):
            timer_s = side.timer_s() if side else None
            if side and timer_s is not None and timer_s <= self.now_s:
                side.expire(self.now_s)
        self._to_server += self._carried(self.client, "client", disorder)
        self._arrive()
        if self.server:
            back = self._carried(self.server, "server", disorder)
            if back:
                self.client.receive(back, SERVER, self.now_s)
            self.server.deliver(self.at_server)
        self.client.deliver(self.at_client)

    def _carried(self, side: EngineConnection, name: str, disorder: float) -> list[bytes]:
        sent = [datagram for datagram, _ in side.outgoing(self.now_s)]
        self.largest[name] = max([self.largest[name], *map(len, sent)])
        carried = [
            datagram for datagram in sent if self.carries(datagram) and self._random.random() >= disorder
        ]
        if disorder:
            self._random.shuffle(carried)
        way = self._under_way[name] + [(self.now_s + self.late_s(), datagram) for datagram in carried]
        self._under_way[name] = [(due_s, datagram) for due_s, datagram in way if due_s > self.now_s]
        return [datagram for due_s, datagram in way if due_s <= self.now_s]

    def _arrive(self) -> None:
        datagrams, self._to_server = self._to_server, []
        if self.server is None and datagrams:
            initial = parse_initial(datagrams[0])
            assert initial, "a client begins with an Initial"
            if not initial.token:
                self._original_id = initial.to_id
                arrival = Arrival(initial.to_id, b"retried!")
                packet = self._engine.retry_packet(
                    version=1, to_id=initial.from_id, arrival=arrival, token=b"t" * 40
                )
                self.client.receive([packet], SERVER, self.now_s)
                return
            assert (initial.token, initial.to_id) == (b"t" * 40, b"retried!")
            self.server = self._engine.server(self._settings, Arrival(self._original_id, initial.to_id))
        if self.server and datagrams:
            self.server.receive(datagrams, CLIENT, self.now_s)


class QuicEngineContract:
    """Subclasses name the engines: `client_engine`, `server_engine`."""

    client_engine: Engine
    server_engine: Engine

    @pytest.fixture
    def secrets(self, tmp_path: Folder) -> Folder:
        make_cluster_authority(tmp_path)
        issue(tmp_path, role="shard server", node=1)
        issue(tmp_path, role="shard server", node=2)
        issue(tmp_path, role="gateway", node=1)
        return tmp_path

    def path(self, secrets: Folder, *, size_max: int = 16_000, **options: object) -> Path:
        """`client_secrets`: the client's folder; `server`: the server's files; `node`: whom the client asks for."""
        mine = PeerIdentity.load(options.get("client_secrets", secrets), "node-1-gateway")  # type: ignore[arg-type]
        theirs = PeerIdentity.load(secrets, str(options.get("server", "node-1-shard")))
        node = NodeId(options.get("node", NODE))  # type: ignore[arg-type]
        client = self.client_engine.client(EngineSettings(mine, size_max, node))
        server_size_max = int(options.get("server_size_max", size_max))  # type: ignore[call-overload]
        return Path(client, self.server_engine, EngineSettings(theirs, server_size_max, NODE))

    def connected(self, secrets: Folder, **options: object) -> Path:
        path = self.path(secrets, **options)  # type: ignore[arg-type]
        path.run(lambda: path.at_client.is_connected and path.at_server.is_connected)
        return path

    def test_connects_and_knows_the_servers_certificate(self, secrets: Folder) -> None:
        path = self.connected(secrets)
        assert path.client.peer_certificate == PeerIdentity.load(secrets, "node-1-shard").certificate
        assert path.server and len(path.server.local_id) == engine.CONNECTION_ID_SIZE

    def test_a_client_asks_under_the_ids_that_the_server_told(self, secrets: Folder) -> None:
        path = self.connected(secrets)
        assert path.server
        known = {path.server.local_id, b"retried!", *path.at_server.ids}
        path.carries = lambda datagram: (
            destination_id(datagram, 8) in known or destination_id(datagram, 8) == (path.client.local_id)
        )
        stream = self.opened(path.client)
        path.client.send(stream, b"question", end=True)
        path.run(lambda: stream in path.at_server.ended)

    def test_a_mebibyte_each_way_on_one_stream(self, secrets: Folder) -> None:
        path, data = self.connected(secrets), random.Random(1).randbytes(1 << 20)
        stream = self.opened(path.client)
        for at in range(0, len(data), 65_536):
            path.client.send(stream, memoryview(data)[at : at + 65_536], end=at + 65_536 == len(data))
        path.run(lambda: stream in path.at_server.ended)
        assert bytes(path.at_server.streams[stream]) == data
        assert path.server
        path.server.send(stream, data, end=True)
        path.run(lambda: stream in path.at_client.ended)
        assert bytes(path.at_client.streams[stream]) == data

    def test_the_server_may_open_a_stream_too(self, secrets: Folder) -> None:
        path = self.connected(secrets)
        assert path.server
        stream = self.opened(path.server)
        assert stream & 3 == 1
        path.server.send(stream, b"hello", end=False)
        path.run(lambda: stream in path.at_client.streams)
        path.client.send(stream, b"and hello", end=True)
        path.run(lambda: stream in path.at_server.ended)

    def test_many_streams_after_and_beside_each_other(self, secrets: Folder) -> None:
        path, asked, answered = self.connected(secrets), 0, 0
        while answered < 400:
            while asked < 400 and (stream := path.client.open_stream()) is not None:
                path.client.send(stream, b"q%d" % stream, end=True)
                asked += 1
            path.run(lambda: path.at_server.ended - path.answered)
            assert path.server
            for stream in path.at_server.ended - path.answered:
                path.server.send(stream, b"a%d" % stream, end=True)
                path.answered.add(stream)
            answered = len(path.answered)
        path.run(lambda: len(path.at_client.ended) == asked)
        assert all(bytes(data) == b"a%d" % stream for stream, data in path.at_client.streams.items())

    def test_loss_and_disorder_change_nothing(self, secrets: Folder) -> None:
        path, data = self.connected(secrets, size_max=1_452), random.Random(2).randbytes(300_000)
        stream = self.opened(path.client)
        path.client.send(stream, data, end=True)
        path.run(lambda: stream in path.at_server.ended, turns=200_000, disorder=0.05)
        assert bytes(path.at_server.streams[stream]) == data

    @pytest.mark.parametrize("seed", range(12))
    def test_under_late_datagrams_every_stream_ends_or_the_connection_does(
        self, secrets: Folder, seed: int
    ) -> None:
        """What is late is taken for lost and sent twice; no stream may be left waiting for what nobody has any more."""
        path, chance = self.connected(secrets), random.Random(seed)
        path.late_s = lambda: chance.choice((0, 0, 0.002, 0.05, 0.3)) if chance.random() < 0.2 else 0.0
        asked = set[int]()

        def asks_and_answers() -> bool:
            while len(asked - path.at_client.ended) < 8 and len(asked) < 40:
                stream = path.client.open_stream()
                if stream is None:
                    break
                path.client.send(stream, b"question", end=True)
                asked.add(stream)
            assert path.server
            for stream in path.at_server.ended - path.answered:
                path.server.send(stream, b"head", end=False)
                path.server.send(stream, bytes(200_000), end=True)
                path.answered.add(stream)
            return len(path.at_client.ended) == 40 or path.at_client.reason is not None

        path.run(asks_and_answers)
        whole = [path.at_client.streams[stream] for stream in path.at_client.ended]
        assert all(len(data) == 200_004 for data in whole)

    @pytest.mark.parametrize("size_max", [1_200, 1_300, 1_452, 8_952])
    def test_no_datagram_is_larger_than_the_client_knows_its_path_to_take(
        self, secrets: Folder, size_max: int
    ) -> None:
        path = self.connected(secrets, size_max=size_max, server_size_max=16_000)
        stream = self.opened(path.client)
        path.client.send(stream, bytes(100_000), end=True)
        path.run(lambda: stream in path.at_server.ended)
        assert path.server
        path.server.send(stream, bytes(100_000), end=True)
        path.run(lambda: stream in path.at_client.ended)
        assert max(path.largest.values()) <= size_max, path.largest

    def test_refusing_a_stream_reaches_the_other_side(self, secrets: Folder) -> None:
        path = self.connected(secrets)
        stream, other = self.opened(path.client), 4
        path.client.send(stream, b"half", end=False)
        path.run(lambda: stream in path.at_server.streams)
        path.client.refuse(stream)
        path.run(lambda: stream in path.at_server.refused)
        assert path.server
        path.server.send(stream, b"swallowed", end=True)
        assert path.client.open_stream() == other
        path.client.send(other, b"half", end=False)
        path.run(lambda: other in path.at_server.streams)
        path.server.refuse(other)
        path.run(lambda: other in path.at_client.refused)
        path.client.send(other, b"swallowed", end=True)

    def test_a_close_is_heard_with_its_reason(self, secrets: Folder) -> None:
        path = self.connected(secrets)
        assert path.server
        path.server.close("that is not ours")
        path.run(lambda: path.at_client.reason)
        assert "that is not ours" in (path.at_client.reason or "")

    def test_silence_ends_a_connection(self, secrets: Folder) -> None:
        path = self.connected(secrets)
        path.carries = lambda datagram: False
        path.run(lambda: path.at_client.reason and path.at_server.reason, turns=100_000)

    def test_the_certificate_of_another_node_is_refused(self, secrets: Folder) -> None:
        self.refused(self.path(secrets, server="node-2-shard"))

    def test_the_certificate_of_another_role_is_refused(self, secrets: Folder) -> None:
        self.refused(self.path(secrets, server="node-1-gateway"))

    def test_a_foreign_authority_is_refused(self, secrets: Folder, tmp_path: Folder) -> None:
        foreign = tmp_path / "foreign"
        make_cluster_authority(foreign)
        (foreign / "cluster.id").write_bytes((secrets / "cluster.id").read_bytes())
        issue(foreign, role="gateway", node=1)
        self.refused(self.path(secrets, client_secrets=foreign))

    def test_an_expired_certificate_is_refused(self, secrets: Folder) -> None:
        (secrets / "node-1-shard.pem").unlink()
        issue(secrets, role="shard server", node=1, now_s=1_000_000_000.0)
        self.refused(self.path(secrets))

    def test_another_alpn_is_refused(self, secrets: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(engine, "ALPN", "h3")
            path = self.path(secrets)
        path.run(lambda: path.at_client.reason)
        assert not path.at_client.is_connected and not path.at_server.is_connected

    def test_garbage_is_passed_over(self, secrets: Folder) -> None:
        path, chance = self.connected(secrets), random.Random(3)
        assert path.server
        for size in (1, 7, 20, 100, 1_200, 1_500):
            for first in (0x40, 0x80, 0xC0, 0xFF, 0x00):
                noise = bytes([first]) + chance.randbytes(size - 1)
                path.server.receive([noise], CLIENT, path.now_s)
                path.server.receive([bytes([first]) + path.server.local_id + noise], CLIENT, path.now_s)
                path.client.receive([noise], SERVER, path.now_s)
        stream = self.opened(path.client)
        path.client.send(stream, b"still here", end=True)
        path.run(lambda: stream in path.at_server.ended)

    @staticmethod
    def opened(side: EngineConnection) -> int:
        stream = side.open_stream()
        assert stream is not None
        return stream

    def refused(self, path: Path) -> None:
        path.run(lambda: path.at_client.reason)
        assert not path.at_client.is_connected
        assert not path.at_server.is_connected
