"""Owns the last look at a store: every key read through one gateway after the other, every list compared."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Final

from s3d.drill.client import LostError, RefusedError, list_keys
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

    What gets no answer in `patience_s` is lost.
    """
    patience = _Patience(patience_s)
    places = zip(traffic.model.keys(prefix), cycle(traffic.endpoints), strict=False)
    async with asyncio.TaskGroup() as group:
        for _ in range(READERS):
            group.create_task(_read(traffic, places, patience))
    for endpoint in traffic.endpoints:
        listed = await _whole_list(traffic, endpoint, time.monotonic() + patience_s)
        traffic.record.findings += traffic.model.judge_list(listed, "")


async def empty(traffic: Traffic) -> None:
    """Takes away all that the drill wrote, and its bucket, through whichever gateway answers.

    What an interrupted client had asked for may come meanwhile, so it tries until whoever asks has waited enough.
    """
    for endpoint in cycle(traffic.endpoints):
        url = f"{endpoint}/{traffic.bucket}"
        with suppress(LostError, RefusedError):
            for key in await _list(traffic, endpoint):
                await traffic.client.request("DELETE", f"{url}/{key}")
            if (await traffic.client.request("DELETE", url)).status in (204, 404):
                return
        await asyncio.sleep(PAUSE_S)


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


async def _whole_list(traffic: Traffic, endpoint: str, deadline_s: float) -> dict[str, str]:
    while True:
        try:
            return await _list(traffic, endpoint)
        except (LostError, RefusedError):
            if time.monotonic() > deadline_s:
                raise
        await asyncio.sleep(PAUSE_S)


async def _list(traffic: Traffic, endpoint: str) -> dict[str, str]:
    url = f"{endpoint}/{traffic.bucket}"
    return await list_keys(lambda query: traffic.client.request("GET", url, query=query), "")
