"""Owns the bucket that a drill has for itself: taken while nothing is in it, gone afterwards; never looks into it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle
from typing import Final

from s3d.drill.client import Client, LostError, RefusedError, insist, list_keys
from shardd.contract.errors import QuoinError

CLEAR_S_MAX: Final = 30.0
PAUSE_S: Final = 0.2


class InUseError(QuoinError):
    """The bucket holds what another drill wrote: a store that is right would be blamed for it."""


async def claim(client: Client, endpoints: Sequence[str], bucket: str) -> None:
    """Makes the bucket. Raises InUseError where it is there and not empty; LostError, RefusedError."""
    await insist(client, endpoints, "PUT", f"/{bucket}")
    if (await insist(client, endpoints, "GET", f"/{bucket}")).texts("Key"):
        raise InUseError(
            f"the bucket {bucket} of an earlier run is not empty: take it away, or another --seed"
        )


async def clear(client: Client, endpoints: Sequence[str], bucket: str) -> str:
    """Takes away the bucket and all that is in it; empty, or what to tell where that does not succeed in time."""
    try:
        async with asyncio.timeout(CLEAR_S_MAX):
            await _empty(client, endpoints, bucket)
    except TimeoutError:
        return f"the bucket {bucket} could not be taken away in {CLEAR_S_MAX:g} s"
    return ""


async def keys_of(client: Client, endpoint: str, bucket: str) -> dict[str, str]:
    """Every key of the bucket with its ETag, as one gateway lists them. Raises LostError, RefusedError."""
    url = f"{endpoint}/{bucket}"
    return await list_keys(lambda query: client.request("GET", url, query=query), "")


async def _empty(client: Client, endpoints: Sequence[str], bucket: str) -> None:
    """Through whichever gateway answers, until the bucket is gone.

    What an interrupted client had asked for may come meanwhile.
    """
    for endpoint in cycle(endpoints):
        url = f"{endpoint}/{bucket}"
        with suppress(LostError, RefusedError):
            for key in await keys_of(client, endpoint, bucket):
                await client.request("DELETE", f"{url}/{key}")
            if (await client.request("DELETE", url)).status in (204, 404):
                return
        await asyncio.sleep(PAUSE_S)
