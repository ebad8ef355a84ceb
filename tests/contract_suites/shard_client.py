"""Owns what every implementation of the NodeClient port must do; never knows which one it tests.

A test module subclasses ShardClientContract and gives it a fixture: `client`, of a node with nothing on it.
"""

import asyncio

import pytest

from s3d.shards.port import NodeClient
from shardd.contract.blobs import EXTENT_UNITS_MAX, UNIT_SIZE, BlobId, new_blob_id, unit_crc
from shardd.contract.errors import (
    BadRequestError,
    ShardConflictError,
    ShardCorruptError,
    ShardNotFoundError,
    StaleGenerationError,
)
from shardd.contract.messages import GetUnits, PutExtent

DEADLINE_S = 5.0


class Shard:
    """A shard of a new blob: what puts of its extents are made of."""

    def __init__(self, shard: int = 2) -> None:
        self.blob: BlobId = new_blob_id(1)
        self.shard = shard

    async def put(
        self, client: NodeClient, data: bytes, *, extent: int = 0, generation: int = 1, last: bool = True
    ) -> None:
        units = [data[at : at + UNIT_SIZE] for at in range(0, len(data), UNIT_SIZE)]
        message = PutExtent(
            self.blob,
            self.shard,
            extent,
            generation,
            len(data),
            self.crcs(units, extent),
            last,
            b"whose it is" if last else b"",
        )
        await client.put(message, units, deadline_s=DEADLINE_S)

    async def get(
        self, client: NodeClient, first: int, count: int, *, extent: int = 0
    ) -> tuple[bytes, bytes]:
        """The bytes and their checksums."""
        message = GetUnits(self.blob, self.shard, extent, first, count)
        units, payload = await client.get(message, deadline_s=DEADLINE_S)
        data = b"".join(payload)
        assert units.length == len(data)
        return data, units.crcs

    def crcs(self, units: list[bytes], extent: int = 0, first: int = 0) -> bytes:
        start = extent * EXTENT_UNITS_MAX + first
        made = [unit_crc(self.blob, self.shard, number, unit) for number, unit in enumerate(units, start)]
        return b"".join(crc.to_bytes(4, "big") for crc in made)


def body(size: int) -> bytes:
    """Bytes that differ from unit to unit."""
    return b"".join(
        bytes([number % 251]) * min(1_000, size - at) for number, at in enumerate(range(0, size, 1_000))
    )


class ShardClientContract:
    """The port's contract."""

    @pytest.mark.parametrize("size", [1, 1_000, UNIT_SIZE, UNIT_SIZE + 1, UNIT_SIZE * EXTENT_UNITS_MAX])
    async def test_what_was_put_comes_back_with_its_checksums(self, client: NodeClient, size: int) -> None:
        shard, data = Shard(), body(size)
        await shard.put(client, data, extent=3)
        units = -(-size // UNIT_SIZE)
        got, crcs = await shard.get(client, 0, units, extent=3)
        assert got == data
        assert crcs == shard.crcs([data[at : at + UNIT_SIZE] for at in range(0, size, UNIT_SIZE)], 3)

    async def test_units_in_the_middle(self, client: NodeClient) -> None:
        shard, data = Shard(), body(5 * UNIT_SIZE + 77)
        await shard.put(client, data)
        got, crcs = await shard.get(client, 2, 2)
        assert got == data[2 * UNIT_SIZE : 4 * UNIT_SIZE]
        assert crcs == shard.crcs(
            [data[2 * UNIT_SIZE : 3 * UNIT_SIZE], data[3 * UNIT_SIZE : 4 * UNIT_SIZE]], first=2
        )
        got, _ = await shard.get(client, 5, 1)
        assert got == data[5 * UNIT_SIZE :]

    async def test_an_empty_extent_is_there(self, client: NodeClient) -> None:
        shard = Shard()
        await shard.put(client, b"")
        stat = await client.stat(shard.blob, shard.shard, deadline_s=DEADLINE_S)
        assert [tuple(extent) for extent in stat.extents] == [(0, 1, 0)] and stat.last

    async def test_what_is_not_there_is_not_found(self, client: NodeClient) -> None:
        shard = Shard()
        with pytest.raises(ShardNotFoundError):
            await shard.get(client, 0, 1)
        await shard.put(client, b"x")
        with pytest.raises(ShardNotFoundError):
            await shard.get(client, 0, 1, extent=1)
        stat = await client.stat(new_blob_id(1), 0, deadline_s=DEADLINE_S)
        assert not stat.extents and not stat.last

    async def test_units_that_an_extent_does_not_have_are_refused(self, client: NodeClient) -> None:
        shard = Shard()
        await shard.put(client, b"x" * (UNIT_SIZE + 1))
        with pytest.raises(BadRequestError):
            await shard.get(client, 1, 2)

    async def test_the_same_put_again_succeeds_and_other_bytes_do_not(self, client: NodeClient) -> None:
        shard = Shard()
        await shard.put(client, b"one")
        await shard.put(client, b"one")
        with pytest.raises(ShardConflictError):
            await shard.put(client, b"two")
        assert (await shard.get(client, 0, 1))[0] == b"one"

    async def test_damaged_units_are_refused(self, client: NodeClient) -> None:
        shard = Shard()
        message = PutExtent(shard.blob, shard.shard, 0, 1, 3, shard.crcs([b"one"]), True)
        with pytest.raises(ShardCorruptError):
            await client.put(message, [b"two"], deadline_s=DEADLINE_S)
        with pytest.raises(ShardNotFoundError):
            await shard.get(client, 0, 1)

    async def test_a_later_generation_takes_over_and_an_earlier_one_is_stale(
        self, client: NodeClient
    ) -> None:
        shard = Shard()
        await shard.put(client, b"old")
        await shard.put(client, b"new", generation=2)
        assert (await shard.get(client, 0, 1))[0] == b"new"
        with pytest.raises(StaleGenerationError):
            await shard.put(client, b"old")

    async def test_a_delete_takes_its_generation_and_those_before_it_for_ever(
        self, client: NodeClient
    ) -> None:
        shard = Shard()
        await shard.put(client, b"a", last=False)
        await shard.put(client, b"b", extent=1)
        await client.delete([(shard.blob, shard.shard, 1), (new_blob_id(1), 0, 1)], deadline_s=DEADLINE_S)
        for extent in (0, 1):
            with pytest.raises(ShardNotFoundError):
                await shard.get(client, 0, 1, extent=extent)
        with pytest.raises(StaleGenerationError):
            await shard.put(client, b"a")
        await shard.put(client, b"a", generation=2)

    async def test_a_late_delete_leaves_a_copy_that_came_back(self, client: NodeClient) -> None:
        shard = Shard()
        await shard.put(client, b"a")
        await shard.put(client, b"a", generation=2)
        await client.delete([(shard.blob, shard.shard, 1)], deadline_s=DEADLINE_S)
        assert (await shard.get(client, 0, 1))[0] == b"a"

    async def test_a_stat_tells_extents_and_whose_they_are(self, client: NodeClient) -> None:
        shard = Shard()
        await shard.put(client, b"a" * UNIT_SIZE, last=False)
        stat = await client.stat(shard.blob, shard.shard, deadline_s=DEADLINE_S)
        assert not stat.last and not stat.identity
        await shard.put(client, b"b", extent=1)
        stat = await client.stat(shard.blob, shard.shard, deadline_s=DEADLINE_S)
        assert [tuple(extent) for extent in stat.extents] == [(0, 1, UNIT_SIZE), (1, 1, 1)]
        assert (stat.last, stat.identity) == (True, b"whose it is")

    async def test_a_list_pages_through_all_shards_in_order(self, client: NodeClient) -> None:
        shards = [Shard(number) for number in (0, 1, 2, 200, 3)]
        for shard in shards:
            await shard.put(client, b"abc")
        found, after = [], b""
        while True:
            page = await client.list(after, 2, deadline_s=DEADLINE_S)
            found += [tuple(entry) for entry in page.shards]
            after = page.after
            if not after:
                break
        assert found == sorted((shard.blob, shard.shard, 1, 1, 3, True) for shard in shards)

    async def test_the_status_says_who_and_how(self, client: NodeClient) -> None:
        await Shard().put(client, b"abc")
        status = await client.status(deadline_s=DEADLINE_S)
        assert (status.state, status.node, len(status.incarnation)) == ("ok", client.node, 16)
        assert status.shards == 1 and 0 < status.free_bytes <= status.total_bytes

    async def test_many_at_once(self, client: NodeClient) -> None:
        shards = [Shard(number) for number in range(40)]
        await asyncio.gather(*(shard.put(client, body(90_000 + shard.shard)) for shard in shards))
        got = await asyncio.gather(*(shard.get(client, 0, 2) for shard in shards))
        assert [data for data, _ in got] == [body(90_000 + shard.shard) for shard in shards]
