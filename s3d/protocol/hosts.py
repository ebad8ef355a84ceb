"""Owns which bucket a Host header names, for addresses in virtual-host style; never the target (routing.py).

Source: "Virtual hosting of general purpose buckets", S3 user guide; Host is that of RFC 9110, 7.2.
"""

import re
from collections.abc import Iterable
from typing import Final

_HOST: Final = re.compile(r"([^:]+?)\.?(?::[0-9]{0,5})?", re.ASCII)


class Hosts:
    """The domains under which a bucket's name may stand in front; the longest that fits is meant."""

    def __init__(self, domains: Iterable[str]) -> None:
        self._domains = frozenset(domains)
        self._suffixes = tuple(f".{domain}" for domain in sorted(self._domains, key=len, reverse=True))

    def bucket_of(self, raw_headers: Iterable[tuple[bytes, bytes]]) -> str:
        """What stands before a domain of ours in the Host header, as received; it may be no bucket's name.

        "" where the path names the bucket: Host is such a domain itself, or is none of ours. Headers that come twice
        are refused by who reads them all (routing.parse_headers).
        """
        for name, value in raw_headers:
            if len(name) == 4 and name.lower() == b"host":
                return self._before_domain(value.decode("latin-1").strip(" \t").lower())
        return ""

    def _before_domain(self, host: str) -> str:
        found = _HOST.fullmatch(host)
        name = host if found is None else found[1]
        if name in self._domains:
            return ""
        return next((name.removesuffix(suffix) for suffix in self._suffixes if name.endswith(suffix)), "")
