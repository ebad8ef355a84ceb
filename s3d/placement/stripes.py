"""Owns the geometry of a blob: which units of which shards hold a range of its bytes; pure arithmetic."""

from dataclasses import dataclass

from shardd.contract.blobs import EXTENT_SIZE_MAX, EXTENT_UNITS_MAX, UNIT_SIZE, shard_length, units_in


@dataclass(frozen=True, slots=True)
class Place:
    """Where one byte is: unit `shard` of stripe `stripe`, `offset` bytes into it."""

    stripe: int
    shard: int
    offset: int


@dataclass(frozen=True, slots=True)
class Span:
    """What a range needs of one extent of each data shard.

    Stripes `first` to `stop` (numbers within the extent, `stop` not included) are touched; data shard i gives its
    units `needs[i]` = (first, count). Of the first unit in order the first `head` bytes are not wanted; together the
    wanted bytes are `length`.
    """

    extent: int
    first: int
    stop: int
    needs: tuple[tuple[int, int], ...]
    head: int
    length: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How a blob of `size` bytes lies on `k` data shards: full stripes, then one with units of ceil(rest/k) bytes."""

    size: int
    k: int

    @property
    def shard_length(self) -> int:
        """Bytes of each shard."""
        return shard_length(self.size, self.k)

    @property
    def stripe_size(self) -> int:
        """Bytes of a full stripe's data."""
        return self.k * UNIT_SIZE

    @property
    def extents(self) -> int:
        """Extents of each shard; a blob of 0 bytes has one empty one."""
        return max(1, -(-self.shard_length // EXTENT_SIZE_MAX))

    def unit_length(self, stripe: int) -> int:
        """Bytes of each unit of a stripe: UNIT_SIZE, or less in the last."""
        return min(UNIT_SIZE, self.shard_length - stripe * UNIT_SIZE)

    def extent_length(self, extent: int) -> int:
        """Bytes of an extent of each shard."""
        return min(EXTENT_SIZE_MAX, self.shard_length - extent * EXTENT_SIZE_MAX)

    def locate(self, offset: int) -> Place:
        """The place of byte number `offset`, 0 <= offset < size."""
        stripe, rest = divmod(offset, self.stripe_size)
        shard, inside = divmod(rest, self.unit_length(stripe))
        return Place(stripe, shard, inside)

    def span(self, start: int, stop: int, *, stripes: int = EXTENT_UNITS_MAX) -> Span:
        """What the first bytes from `start` up to `stop` need: in one extent, `stripes` at most, no unit too many.

        0 <= start < stop <= size. The next span starts `length` bytes further.
        """
        head = self.locate(start)
        first = head.stripe % EXTENT_UNITS_MAX
        base = head.stripe - first
        edge = base + min(first + stripes, EXTENT_UNITS_MAX)
        stop = min(stop, edge * self.stripe_size)
        tail = self.locate(stop - 1)
        needs = []
        for shard in range(self.k):
            begin = head.stripe + (shard < head.shard)
            end = tail.stripe + (shard <= tail.shard)
            needs.append((begin - base, max(0, end - begin)))
        last = tail.stripe - base + 1
        return Span(head.stripe // EXTENT_UNITS_MAX, first, last, tuple(needs), head.offset, stop - start)

    def whole(self, extent: int) -> Span:
        """All of an extent of every data shard, padding counted; for a blob of 0 bytes it has no stripes."""
        units = units_in(self.extent_length(extent))
        length = self.extent_length(extent) * self.k
        return Span(extent, 0, units, ((0, units),) * self.k, 0, length)
