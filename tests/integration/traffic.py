"""Owns the clients of node drills: 70 reads to 30 writes, on to the next gateway when one is gone; what each saw."""

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

SIZES = tuple(1 << power for power in range(10, 24))  # 1 KiB to 8 MiB
READS = 0.7
KEYS_A_CLIENT = 12
GATEWAYS_TRIED = 3
PAUSE_AFTER_ERROR_S = 0.05


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as its client saw it: "GET" or "PUT", when it began and how long it took, and its error."""

    kind: str
    began_s: float
    took_s: float
    error: str = ""


@dataclass(slots=True)
class Seen:
    """What all clients saw. `cut`: requests that died with their gateway and were asked again of another one."""

    operations: list[Operation] = field(default_factory=list)
    cut: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def errors(self) -> Counter[str]:
        """What came in place of an answer, how often."""
        return Counter(one.error for one in self.operations if one.error)

    @property
    def error_share(self) -> float:
        """Errors among all operations."""
        return self.errors.total() / max(1, len(self.operations))

    @property
    def longest_s(self) -> float:
        """The longest that any operation took, retries and all."""
        return max((one.took_s for one in self.operations), default=0.0)

    def quantile_s(
        self, kind: str, share: float, *, start_s: float = 0.0, stop_s: float = float("inf")
    ) -> float:
        """The time within which `share` of the operations were done that began between the two times."""
        took = sorted(
            one.took_s for one in self.operations if one.kind == kind and start_s <= one.began_s < stop_s
        )
        assert took, f"no {kind} in that time"
        return took[min(len(took) - 1, int(len(took) * share))]

    def __str__(self) -> str:
        return (
            f"{len(self.operations)} operations, errors {dict(self.errors)} ({self.error_share:.3%}), "
            f"{self.cut} asked again, longest {self.longest_s:.2f} s"
        )


class Traffic:
    """`clients` threads, each with keys of its own, from entry to exit. A gateway that is gone is nobody's error: its
    clients go to another, as those of a name with several addresses do. What a gateway answers is taken as it is."""

    def __init__(
        self,
        endpoints: Sequence[str],
        credentials: Credentials,
        ledger: Model,
        *,
        bucket: str,
        clients: int = 16,
        seed: int = 0,
    ) -> None:
        self.seen = Seen()
        self._endpoints, self._credentials = endpoints, credentials
        self._ledger, self._bucket = ledger, bucket
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, args=(number, random.Random(f"{seed}/{number}")), daemon=True)
            for number in range(clients)
        ]
        self._seed = seed

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, operations: int, *, deadline_s: float) -> None:
        """Returns when so many more operations ended; TimeoutError where they did not in time."""
        goal, deadline = len(self.seen.operations) + operations, time.monotonic() + deadline_s
        while len(self.seen.operations) < goal:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{goal - len(self.seen.operations)} operations to go: {self.seen}")
            time.sleep(0.01)

    def _work(self, number: int, chance: random.Random) -> None:
        clients = [Client(endpoint, self._credentials, timeout_s=20.0) for endpoint in self._endpoints]
        serial, written, lives = (self._seed << 16 | number) << 24, list[str](), [0] * KEYS_A_CLIENT
        while not self._stop.is_set():
            serial += 1
            if written and chance.random() < READS:
                kind, key = "GET", chance.choice(written)
                act = self._reading(key)
            else:
                slot = chance.randrange(KEYS_A_CLIENT)
                key = f"{self._seed}/{number}/{slot}.{lives[slot]}"
                if self._ledger.spent(key):
                    lives[slot] += 1
                    key = f"{self._seed}/{number}/{slot}.{lives[slot]}"
                kind, act = (
                    "PUT",
                    self._writing(key, *self._ledger.bodies.object_of(serial, chance.choice(SIZES))),
                )
            if self._do(kind, act, chance.sample(clients, len(clients))) and kind == "PUT":
                written = [*dict.fromkeys((*written, key))][-KEYS_A_CLIENT:]
        for client in clients:
            client.close()

    def _do(self, kind: str, act: Callable[[Client], str], clients: Sequence[Client]) -> bool:
        """One operation, whatever becomes of it; whether it succeeded."""
        began_s, error, fault = time.monotonic(), "", ""
        for tried, client in enumerate(clients[:GATEWAYS_TRIED], 1):
            try:
                fault, error = act(client), ""
                break
            except UnsentError as unsent:
                error = str(unsent)
            except NoReplyError as lost:
                error = str(lost)
                if not error.startswith("no reply"):
                    break
                self.seen.cut += tried < GATEWAYS_TRIED
        with self._lock:
            self.seen.operations.append(Operation(kind, began_s, time.monotonic() - began_s, error))
            if fault:
                self.seen.faults.append(fault)
        if error:
            self._stop.wait(PAUSE_AFTER_ERROR_S)
        return not error

    def _reading(self, key: str) -> Callable[[Client], str]:
        def act(client: Client) -> str:
            reply = client.get(self._bucket, key)
            if reply.status not in (200, 404):
                raise NoReplyError(f"GET {reply.status} {reply.code}")
            return str(self._ledger.judge_read(key, reply.body if reply.status == 200 else None) or "")

        return act

    def _writing(self, key: str, content: Content, body: bytes) -> Callable[[Client], str]:
        def act(client: Client) -> str:
            try:
                reply: Reply = client.put(self._bucket, key, body)
            except UnsentError:
                raise
            except NoReplyError:
                self._ledger.doubt(key, content)
                raise
            if reply.status != 200:
                self._ledger.doubt(key, content)
                raise NoReplyError(f"PUT {reply.status} {reply.code}")
            self._ledger.settle(key, content)
            return ""

        return act
