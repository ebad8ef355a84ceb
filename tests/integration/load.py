"""Owns the drill as tests use it: its clients at work in a thread while a test kills things; then its judgement."""

import asyncio
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from s3d.drill import verdict
from s3d.drill.client import Client
from s3d.drill.facts import Finding, Record
from s3d.drill.judgement import judge
from s3d.drill.load import Mix, Traffic, Worker
from s3d.drill.model import Model
from s3d.drill.series import quantile
from s3d.protocol.sigv4 import Key
from tests.integration.cluster import Cluster

REGION = "us-east-1"
# 0 bytes to 3 MiB, half of it under 1 KiB; and what the drill's clients read and write, 1 KiB to 8 MiB.
CHURN = Mix({"PUT": 50, "GET": 37, "DELETE": 10, "LIST": 3}, size_bits=(-1.0, 21.6), keys=40)
STEADY = Mix({"GET": 70, "PUT": 30})


class Load:
    """Clients of all gateways, each with keys of its own, from entry to exit. Times are of the monotonic clock."""

    def __init__(
        self, store: Cluster, model: Model, *, bucket: str, seed: int, clients: int = 6, mix: Mix = CHURN
    ) -> None:
        self.model, self.record = model, Record(bucket, seed, clients)
        self._traffic = Traffic(
            Client(Key(store.access_key, store.secret_key, REGION)),
            [store.endpoint(node) for node in store.nodes],
            bucket,
            model,
            self.record,
            origin_s=0.0,
            mix=mix,
        )

    def __enter__(self) -> Self:
        thread = ThreadPoolExecutor(1)
        self._done: Future[None] = thread.submit(asyncio.run, self._run())
        thread.shutdown(wait=False)
        return self

    def __exit__(self, *_: object) -> None:
        self._traffic.stop.set()
        self._done.result()

    def __str__(self) -> str:
        record = self.record
        return (
            f"{len(record.operations)} operations, errors {dict(self.errors)} "
            f"({verdict.error_share(record):.3%}), {record.asked_again} asked again, longest {self.longest_s:.2f} s"
        )

    @property
    def faults(self) -> list[Finding]:
        """What the store got wrong."""
        return self.record.findings

    @property
    def errors(self) -> Counter[str]:
        """What came in place of an answer, how often."""
        return verdict.errors(self.record)

    @property
    def longest_s(self) -> float:
        """The longest that any operation took, all its tries together."""
        return verdict.longest_s(self.record.operations)

    def quantile_s(
        self, kind: str, share: float, *, start_s: float = 0.0, stop_s: float = float("inf")
    ) -> float:
        """The time within which `share` of the operations were done that began between the two times."""
        took = [
            one.took_s
            for one in self.record.operations
            if one.kind == kind and start_s <= one.began_s < stop_s
        ]
        assert took, f"no {kind} in that time"
        return quantile(took, share)

    def wait_for(self, operations: int, *, deadline_s: float, errors_too: bool = False) -> None:
        """Returns when that many more were answered (`errors_too`: or not); TimeoutError where not in time."""
        known, late_s = len(self.record.operations), time.monotonic() + deadline_s
        while sum(errors_too or not one.error for one in self.record.operations[known:]) < operations:
            if self._done.done():
                self._done.result()
            if time.monotonic() > late_s:
                raise TimeoutError(f"{operations} operations were not done: {self}")
            time.sleep(0.01)

    async def _run(self) -> None:
        async with self._traffic.client, asyncio.TaskGroup() as group:
            for number in range(self.record.clients):
                # Two loads of one model have no key in common, and no body.
                group.create_task(Worker(self._traffic, self.record.seed << 8 | number).run())


def faults_of_store(
    store: Cluster, model: Model, *, bucket: str, prefix: str = "", deadline_s: float = 60.0
) -> list[Finding]:
    """What is wrong through the gateways that are up: with keys under `prefix`, and with whole lists."""
    record = Record(bucket, 0, 0)
    client = Client(Key(store.access_key, store.secret_key, REGION))
    traffic = Traffic(client, store.endpoints, bucket, model, record, origin_s=0.0)

    async def judged() -> None:
        async with client:
            await judge(traffic, prefix=prefix, patience_s=deadline_s)

    asyncio.run(judged())
    return record.findings
