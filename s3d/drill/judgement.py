"""Owns the last look at a store: every key read through one gateway after the other, every list compared."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Final

from s3d.drill.bucket import keys_of
from s3d.drill.client import DisorderError, LostError, RefusedError
from s3d.drill.facts import Breach, Finding
from s3d.drill.load import Traffic

READERS: Final = 8
PATIENCE_S: Final = 120.0
PAUSE_S: Final = 0.2


@dataclass(slots=True)
class _Patience:
    """How long an answer is asked for again: once one did not come in that time, no later one is."""

    left_s: float


async def judge(traffic: Traffic, *, prefix: str = "", patience_s: float = PATIENCE_S) -> None:
    """Adds to the record what is wrong with the keys under `prefix`, and with whole lists.

    What gets no answer in `patience_s` is lost, whole lists too.
    """
    patience = _Patience(patience_s)
    places = zip(traffic.model.keys(prefix), cycle(traffic.endpoints), strict=False)
    async with asyncio.TaskGroup() as group:
        for _ in range(READERS):
            group.create_task(_read(traffic, places, patience))
    for endpoint in traffic.endpoints:
        listed = await _persistent_list(traffic, endpoint, patience)
        found = [listed] if isinstance(listed, Finding) else traffic.model.judge_list(listed, "")
        traffic.record.findings += found


async def _read(traffic: Traffic, places: Iterator[tuple[str, str]], patience: _Patience) -> None:
    for key, endpoint in places:
        body = await _persistent_get(traffic, endpoint, key, patience)
        traffic.record.keys_judged += 1
        finding = body if isinstance(body, Finding) else traffic.model.judge_read(key, body)
        if finding is not None:
            traffic.record.findings.append(finding)


async def _persistent_get(
    traffic: Traffic, endpoint: str, key: str, patience: _Patience
) -> bytes | Finding | None:
    """The body, None where there is no object, or that nobody says which."""
    deadline_s = time.monotonic() + patience.left_s
    while True:
        try:
            reply = await traffic.client.request("GET", f"{endpoint}/{traffic.bucket}/{key}")
            if reply.status in (200, 404):
                return reply.body if reply.status == 200 else None
            said = f"{reply.status} {reply.code}"
        except LostError as error:
            said = str(error)
        if time.monotonic() > deadline_s:
            patience.left_s = 0.0
            return Finding(Breach.LOST, key, f"no answer in time: {said}")
        await asyncio.sleep(PAUSE_S)


async def _persistent_list(traffic: Traffic, endpoint: str, patience: _Patience) -> dict[str, str] | Finding:
    deadline_s = time.monotonic() + patience.left_s
    while True:
        try:
            return await keys_of(traffic.client, endpoint, traffic.bucket)
        except DisorderError as error:
            return Finding(Breach.ANSWER, "", f"{endpoint}: {error}")
        except (LostError, RefusedError) as error:
            said = str(error)
        if time.monotonic() > deadline_s:
            patience.left_s = 0.0
            return Finding(Breach.LOST, "", f"no whole list from {endpoint} in time: {said}")
        await asyncio.sleep(PAUSE_S)
