"""Owns the names that a bucket may have, in a request as in cluster.toml; never whose a bucket is."""

import re
from typing import Final

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.))*[a-z0-9]", re.ASCII)
_ADDRESS: Final = re.compile(r"[0-9]+(?:\.[0-9]+){3}", re.ASCII)
# The last is kept for the store itself.
_RESERVED_PREFIXES: Final = ("xn--", "sthree-", "amzn-s3-demo-", "s3d-")
_RESERVED_SUFFIXES: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def valid_bucket_name(name: str) -> bool:
    """Whether S3's rules allow `name` (S3 user guide, "Bucket naming rules"; feature B3)."""
    return (
        3 <= len(name) <= 63
        and _NAME.fullmatch(name) is not None
        and ".-" not in name
        and "-." not in name
        and not _ADDRESS.fullmatch(name)
        and not name.startswith(_RESERVED_PREFIXES)
        and not name.endswith(_RESERVED_SUFFIXES)
    )
