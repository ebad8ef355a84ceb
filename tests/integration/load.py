"""Owns the load under which drills kill things: threads that write, read, list and delete, each on keys of its own."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from bench.signing import Credentials
from s3d.drill.model import Content, Model
from tests.integration.client import Client, NoReplyError, Reply, UnsentError

SIZES = (0, 1, 100, 4_096, 65_536, 196_608 + 1, 1 << 20, 3 * (1 << 20) + 17)
WEIGHTS = (1, 2, 8, 8, 4, 2, 2, 1)
KEYS_A_WORKER = 40
PAUSE_AFTER_FAILURE_S = 0.05


@dataclass(slots=True)
class Counts:
    """What a load did. `failures`: errors and missing answers by kind, which a drill may allow; faults are never."""

    operations: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Load:
    """`workers` threads against all endpoints in turn, from entry to exit. `counts` is of all of them."""

    def __init__(
        self,
        endpoints: Sequence[str],
        credentials: Credentials,
        ledger: Model,
        *,
        bucket: str,
        workers: int = 6,
        seed: int = 0,
    ) -> None:
        self.counts, self.ledger, self.bucket = Counts(), ledger, bucket
        self._endpoints, self._credentials = endpoints, credentials
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, args=(number, random.Random(f"{seed}/{number}")), daemon=True)
            for number in range(workers)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, operations: int, *, deadline_s: float) -> None:
        """Returns when that many more operations were answered; TimeoutError when they were not in time."""
        goal, deadline = self.counts.operations + operations, time.monotonic() + deadline_s
        while self.counts.operations < goal:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{goal - self.counts.operations} of {operations} operations to go: {self.counts}"
                )
            time.sleep(0.01)

    def _work(self, number: int, chance: random.Random) -> None:
        clients = [Client(endpoint, self._credentials, timeout_s=20.0) for endpoint in self._endpoints]
        prefix, lives = f"w{number}/", [0] * KEYS_A_WORKER
        serial = number << 32
        while not self._stop.is_set():
            serial += 1
            slot = chance.randrange(KEYS_A_WORKER)
            lives[slot] += self.ledger.spent(f"{prefix}{slot}.{lives[slot]}")
            key = f"{prefix}{slot}.{lives[slot]}"
            try:
                self._count(fault=self._act(chance.choice(clients), key, serial=serial, chance=chance))
            except NoReplyError as error:
                self._count(failure=str(error))
                self._stop.wait(PAUSE_AFTER_FAILURE_S)
        for client in clients:
            client.close()

    def _act(self, client: Client, key: str, *, serial: int, chance: random.Random) -> str:
        act = chance.random()
        if act < 0.03:
            prefix = key.partition("/")[0] + "/"
            listed = {key: etag.strip('"') for key, etag in client.list_keys(self.bucket, prefix).items()}
            return "; ".join(map(str, self.ledger.judge_list(listed, prefix)[:3]))
        if act < 0.40:
            return self._read(client, key)
        if act < 0.50:
            self._write(key, None, lambda: client.delete(self.bucket, key))
        else:
            content, body = self.ledger.bodies.object_of(serial, chance.choices(SIZES, WEIGHTS)[0])
            self._write(key, content, lambda: client.put(self.bucket, key, body))
        return ""

    def _read(self, client: Client, key: str) -> str:
        reply = client.get(self.bucket, key)
        if reply.status not in (200, 404):
            raise NoReplyError(f"GET {reply.status} {reply.code}")
        return str(self.ledger.judge_read(key, reply.body if reply.status == 200 else None) or "")

    def _write(self, key: str, wanted: Content | None, send: Callable[[], Reply]) -> None:
        try:
            reply = send()
        except UnsentError:
            raise
        except NoReplyError:
            self.ledger.doubt(key, wanted)
            raise
        if reply.status not in (200, 204):
            self.ledger.doubt(key, wanted)
            raise NoReplyError(f"PUT, DELETE {reply.status} {reply.code}")
        self.ledger.settle(key, wanted)

    def _count(self, *, fault: str = "", failure: str = "") -> None:
        with self._lock:
            self.counts.operations += not failure
            if failure:
                self.counts.failures[failure] += 1
            if fault:
                self.counts.faults.append(fault)
