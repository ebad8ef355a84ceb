"""Owns trees of files whose names and sizes are hard on a client: planted, read back, compared byte for byte."""

import os
import random
from pathlib import Path

MIB = 1 << 20
# What URLs, shells, XML and sorting each have their own ideas about.
NAMES = (
    "plain",
    "with space",
    "ünï/cödé ☃ 𝄞.txt",
    "plus+plus",
    "percent%20%2F",
    "ampersand&<tag>'quote\"",
    "hash#question?semi;equals=at@comma,colon:",
    "star*[brackets]{braces}$dollar!~`^|",
    ".hidden/..double",
    "dir/file",
    "dir.txt",
    "dir-a/file",
    "deep/er/and/deep/er/still/x",
    "n" * 200,
)
WRITTEN_S = 1_700_000_000  # programs compare times with those of objects, which are whole seconds
SIZES_BYTES = (0, 1, 65_535, 65_536, 65_537, 196_608, 196_609, 1_000_003)


def plant(folder: Path, *, seed: int, big_bytes: int = 0) -> dict[str, bytes]:
    """Writes a tree, with one file of `big_bytes` where that is not 0; name -> bytes."""
    chance = random.Random(seed)
    made = {name: chance.randbytes(SIZES_BYTES[at % len(SIZES_BYTES)]) for at, name in enumerate(NAMES)}
    if big_bytes:
        made["big.bin"] = chance.randbytes(big_bytes)
    for name, body in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        os.utime(path, (WRITTEN_S, WRITTEN_S))
    return made


def read(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; name -> bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def differences(found: dict[str, bytes], planted: dict[str, bytes]) -> list[str]:
    """The names that are missing, too many or other: a list that a person can read, unlike megabytes of bytes."""
    return sorted(name for name in found.keys() | planted.keys() if found.get(name) != planted.get(name))
