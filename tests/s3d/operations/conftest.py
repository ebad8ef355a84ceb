"""Owns the gateway that the tests of operations share the making of: one a test, with a bucket to write to."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.s3d.live import Live, gateway


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    """A gateway in this process, with an empty bucket `bucket`."""
    async with gateway(tmp_path) as made:
        await made.ok("PUT", "/bucket")
        yield made


@pytest.fixture
async def shared(live: Live) -> Live:
    """A gateway for requests that must change nothing."""
    return live
