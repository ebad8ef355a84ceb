"""Owns Reed-Solomon: one port, two codecs side by side (zfec, and ISA-L by pyeclib); never a blob or a node.

Measured here at one stripe of RS(3,2) a call (192 KiB in, two units out): ISA-L 0.10 ms/MB, zfec 0.81; a lost unit
of a stripe comes back in 18 us against 83. So ISA-L is the default. Where malloc gives pages back after each call and
faults them in again, all of coding a window (copies and checksums too) costs 1.39 ms/MB instead of 0.27: the launcher
sets MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ for its children.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import zfec
from pyeclib.ec_iface import ECDriver

ZFEC_ID = 1
ISAL_ID = 2
CODECS = {"zfec": ZFEC_ID, "isal": ISAL_ID}

_HEADER_SIZE = 80  # liberasurecode's fragment_header_t
_HEADERS_CACHED = 64


class Codec(Protocol):
    """Reed-Solomon over k data units and m parity units of one length; systematic, any k of k+m units give all.

    `id` stands in every blob's row: codecs are not interchangeable, their parity differs.
    """

    id: int
    k: int
    m: int

    def encode(self, stripe: bytes) -> list[bytes]:
        """The m parity units of a stripe: k units of one length > 0, one after the other."""

    def reconstruct(self, units: Mapping[int, bytes], wanted: Sequence[int]) -> list[bytes]:
        """The units whose numbers are `wanted`, in that order, from at least k others; ValueError with fewer."""


@lru_cache(64)
def codec(codec_id: int, k: int, m: int) -> Codec:
    """The codec of a row or of the configuration (CODECS gives ids by name). ValueError for an unknown id."""
    if codec_id not in CODECS.values():
        raise ValueError(f"no codec has the id {codec_id}")
    if m == 0:
        return _Plain(codec_id, k)
    return _Zfec(k, m) if codec_id == ZFEC_ID else _IsaL(k, m)


def _enough(units: Mapping[int, bytes], k: int) -> list[int]:
    if len(units) < k:
        raise ValueError(f"{len(units)} units of {k}")
    return sorted(units)[:k]


class _Plain:
    """Without parity nothing is coded and nothing can come back."""

    m = 0

    def __init__(self, codec_id: int, k: int) -> None:
        self.id = codec_id
        self.k = k

    def encode(self, stripe: bytes) -> list[bytes]:
        return []

    def reconstruct(self, units: Mapping[int, bytes], wanted: Sequence[int]) -> list[bytes]:
        _enough(units, self.k)
        return [units[index] for index in wanted]


class _Zfec:
    id = ZFEC_ID

    def __init__(self, k: int, m: int) -> None:
        self.k = k
        self.m = m
        self._encoder = zfec.Encoder(k, k + m)
        self._decoder = zfec.Decoder(k, k + m)
        self._parity = tuple(range(k, k + m))

    def encode(self, stripe: bytes) -> list[bytes]:
        return self._parities(self._split(stripe), self._parity)

    def reconstruct(self, units: Mapping[int, bytes], wanted: Sequence[int]) -> list[bytes]:
        have = _enough(units, self.k)
        if have[-1] >= self.k:
            # zfec wants each data unit that there is at its own place, and parity in the gaps between.
            spare = iter([index for index in have if index >= self.k])
            have = [index if index in units else next(spare) for index in range(self.k)]
            data = self._decoder.decode([units[index] for index in have], have)
        else:
            data = [units[index] for index in have]
        parity = [index for index in wanted if index >= self.k]
        made = dict(zip(parity, self._parities(data, parity), strict=True))
        return [data[index] if index < self.k else made[index] for index in wanted]

    def _parities(self, data: Sequence[bytes], wanted: Sequence[int]) -> list[bytes]:
        return list(self._encoder.encode(data, wanted)) if wanted else []

    def _split(self, stripe: bytes) -> list[bytes]:
        size = len(stripe) // self.k
        return [stripe[index * size : (index + 1) * size] for index in range(self.k)]


class _IsaL:
    """ISA-L's Cauchy code: any k and m up to 255 together, where its Vandermonde code is not always invertible."""

    id = ISAL_ID

    def __init__(self, k: int, m: int) -> None:
        self.k = k
        self.m = m
        self._driver = ECDriver(k=k, m=m, ec_type="isa_l_rs_cauchy", chksum_type="none")
        self._headers = lru_cache(_HEADERS_CACHED)(self._make_headers)

    def encode(self, stripe: bytes) -> list[bytes]:
        return [fragment[_HEADER_SIZE:] for fragment in self._driver.encode(stripe)[self.k :]]

    def reconstruct(self, units: Mapping[int, bytes], wanted: Sequence[int]) -> list[bytes]:
        have = _enough(units, self.k)
        headers = self._headers(len(units[have[0]]))
        fragments = [headers[index] + units[index] for index in have]
        order = sorted(wanted)
        made = self._driver.reconstruct(fragments, order)
        units_made = {index: fragment[_HEADER_SIZE:] for index, fragment in zip(order, made, strict=True)}
        return [units_made[index] for index in wanted]

    def _make_headers(self, length: int) -> tuple[bytes, ...]:
        """The library's header of each fragment: without checksums it depends on index and length alone."""
        return tuple(fragment[:_HEADER_SIZE] for fragment in self._driver.encode(bytes(self.k * length)))
