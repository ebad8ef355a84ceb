"""Owns what every command has, and the preconditions that some carry; never a command itself."""

import msgspec

from s3d.metadata.fields import Sequence, Time, WriteId
from shardd.contract.errors import QuoinError


class CommandError(QuoinError):
    """A command breaks its contract: a fault of its maker, never of a client. It was not applied."""


class Conditions(msgspec.Struct, frozen=True, array_like=True):
    """Preconditions: an ETag in hex without quotes, `*`, or empty for none (RFC 9110, 13.1).

    Of the live object; of a delete, on the version that it is about. The last two are for deletes only.
    """

    if_match: str = ""
    if_none_match: str = ""
    if_modified_s: int = -1  # x-amz-if-match-last-modified-time, seconds since 1970; -1 for none
    if_size: int = -1  # x-amz-if-match-size, bytes; -1 for none


ANY = Conditions()


class Command(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What every command has. `write_id`: 16 bytes, best a UUIDv7 (blobs.new_blob_id); met twice, applied once.

    `seen` is stamped by logs that may deliver twice: the applied index that the maker had seen. A command whose
    `seen` is more than OUTCOMES_WINDOW behind is refused, because its outcome may be forgotten.
    """

    write_id: WriteId
    time_us: Time
    seen: Sequence = 0
