"""Owns the ordered keys of every table, and how a key too long for LMDB is cut so that order holds; pure.

    buckets            name                                    manifests   version sequence 8 | page 4
    account_buckets    arn:aws:s3::<account>:<name>             outcomes    write id 16
    current            incarnation 8 | key                     writes      place in the window 4
    versions           incarnation 8 | key 0 0 | ~sequence 8   blobs       blob 16
    uploads            incarnation 8 | key 0 0 | upload        degraded    survivors 1 | blob 16
    parts              upload 0 | number 2                     condemned   due 8 | blob 16 | index 8 | ordinal 4
    nodes              node 4                                  applied     "applied"
    leases, jobs       name of the job                         condemned_blobs   blob 16

Integers are big endian, so byte order is their order; a sequence is inverted where the newest comes first. In `key
0 0` a zero byte of the key is written 0 255: no such key is the beginning of another, and their order is the keys'.

A physical key has at most 511 bytes. A longer one is cut: its first HEAD_SIZE bytes and a zero byte make a signpost
(no short key has that length), in whose place, in order, stand all long keys that begin so. What is left follows
the hash of all that was cut off, in a region of its own, and is cut again where it is still too long.
"""

import hashlib
import re

from s3d.metadata.fields import OUTCOMES_WINDOW

HEAD_SIZE = 480  # bytes of a key, or of what is left of one, that stand in one physical key
HASH_SIZE = 20
SEQUENCE_MAX = (1 << 64) - 1
APPLIED = b"applied"

_VERSION_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)


def bucket_prefix(incarnation: int) -> bytes:
    """What all keys of `current`, `versions` and `uploads` of a bucket begin with."""
    return incarnation.to_bytes(8, "big")


def current_key(incarnation: int, key: bytes) -> bytes:
    """Where the live object of `key` stands."""
    return incarnation.to_bytes(8, "big") + key


def stack_prefix(incarnation: int, key: bytes) -> bytes:
    """What all versions of `key`, or all its uploads, begin with."""
    return incarnation.to_bytes(8, "big") + key.replace(b"\0", b"\0\xff") + b"\0\0"


def partial_prefix(incarnation: int, prefix: bytes) -> bytes:
    """What all versions, or uploads, of keys that begin with `prefix` begin with."""
    return incarnation.to_bytes(8, "big") + prefix.replace(b"\0", b"\0\xff")


def version_key(incarnation: int, key: bytes, sequence: int) -> bytes:
    """Where one version stands; newer ones come first."""
    return stack_prefix(incarnation, key) + (SEQUENCE_MAX - sequence).to_bytes(8, "big")


def upload_key(incarnation: int, key: bytes, upload: str) -> bytes:
    """Where an upload stands."""
    return stack_prefix(incarnation, key) + upload.encode()


def split_stack(raw: bytes) -> tuple[bytes, bytes]:
    """The key, and what follows it, of a key of `versions` or `uploads`."""
    end = raw.find(b"\0\0", 8)
    return raw[8:end].replace(b"\0\xff", b"\0"), raw[end + 2 :]


def version_id_of(sequence: int) -> str:
    """The id of the version that the command `sequence` made."""
    return f"{sequence:016x}"


def sequence_from(version_id: str) -> int:
    """The sequence that a version id tells; 0 where it is none of ours."""
    return int(version_id, 16) if _VERSION_ID.fullmatch(version_id) else 0


def part_key(upload: str, number: int) -> bytes:
    """Where a part stands; parts are in order of number."""
    return upload.encode() + b"\0" + number.to_bytes(2, "big")


def parts_prefix(upload: str) -> bytes:
    """What all parts of an upload begin with."""
    return upload.encode() + b"\0"


def manifest_key(sequence: int, page: int) -> bytes:
    """Where a page of the slices of a version stands."""
    return sequence.to_bytes(8, "big") + page.to_bytes(4, "big")


def account_prefix(account: str) -> bytes:
    """What all buckets of an account begin with (the ARN of a bucket has no region)."""
    return f"arn:aws:s3::{account}:".encode()


def account_bucket_key(account: str, bucket: str) -> bytes:
    """Where it stands that `account` owns `bucket`."""
    return account_prefix(account) + bucket.encode()


def write_key(index: int) -> bytes:
    """The place in the window of outcomes that the command of `index` takes."""
    return (index % OUTCOMES_WINDOW).to_bytes(4, "big")


def degraded_key(survivors: int, blob: bytes) -> bytes:
    """Where a degraded blob is filed: fewest survivors first."""
    return survivors.to_bytes(1, "big") + blob


def condemned_key(due_us: int, blob: bytes, index: int, ordinal: int) -> bytes:
    """Where condemned shards are filed: first due first. `ordinal` tells apart those of one command."""
    return due_us.to_bytes(8, "big") + blob + index.to_bytes(8, "big") + ordinal.to_bytes(4, "big")


def due_prefix(due_us: int) -> bytes:
    """What all condemned shards that are due at `due_us` begin with."""
    return due_us.to_bytes(8, "big")


def node_key(node: int) -> bytes:
    """Where a node stands."""
    return node.to_bytes(4, "big")


def after_prefix(prefix: bytes) -> bytes:
    """The first key that is greater than every key that begins with `prefix`; empty where there is none."""
    cut = prefix.rstrip(b"\xff")
    return cut[:-1] + bytes((cut[-1] + 1,)) if cut else b""


def region_of(begun: bytes) -> bytes:
    """What all physical keys begin with whose keys begin with `begun`, which was cut off; empty where nothing was."""
    return hashlib.blake2b(begun, digest_size=HASH_SIZE).digest() if begun else b""


def place_of(key: bytes) -> bytes:
    """The physical key of `key`."""
    cut = (len(key) - 1) // HEAD_SIZE * HEAD_SIZE
    return region_of(key[:cut]) + key[cut:] if cut else key


def signposts(key: bytes) -> list[tuple[bytes, bytes]]:
    """(physical key, region that it names) of the signposts that lead to a key that is cut, the outermost first."""
    return [
        (region_of(key[: cut - HEAD_SIZE]) + key[cut - HEAD_SIZE : cut] + b"\0", region_of(key[:cut]))
        for cut in range(HEAD_SIZE, len(key), HEAD_SIZE)
    ]


def first_place(rest: bytes) -> bytes:
    """Where, within its region, the first row at or after `rest` stands: in its own place, or behind its signpost."""
    return rest if len(rest) <= HEAD_SIZE else rest[:HEAD_SIZE] + b"\0"
