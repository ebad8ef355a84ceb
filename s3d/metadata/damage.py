"""Owns the mark of a state that was found damaged, which all processes of the machine see; never finds the damage.

A damaged state is not served: what it still says may be wrong in what it no longer says.
"""

import os
from pathlib import Path
from typing import Final

MARK: Final = "DAMAGED"
ADVICE: Final = (
    "The store does not serve it. When all of it is stopped, `s3ctl restore --newest --salvage` makes the metadata "
    "anew, from the newest snapshot and from the shards; the damaged one is kept beside it."
)
UNKNOWN: Final = "for an unknown cause"
OLDER: Final = (
    "stands at command {}, and the snapshot {} at {}: it is an older copy of itself, and lacks what was acknowledged. "
    "`s3ctl restore --newest --salvage` makes it anew, `s3ctl restore FILE` goes back on purpose."
)
GONE: Final = (
    "is gone, and {} is of a store that had it. Nothing is begun anew, or all shards would be without a name. "
    "`s3ctl restore --newest --salvage` makes it from the newest snapshot and the shards, `s3ctl salvage` from the "
    "shards alone; a store that is to begin empty begins without the folders of its nodes."
)


def mark(state: Path, cause: object) -> None:
    """Say, for all processes and for the next start, that the state in the folder `state` is damaged."""
    path = state / MARK
    if path.exists():
        return
    with path.open("w") as file:
        file.write(f"{cause}\n")
        file.flush()
        os.fsync(file.fileno())


def cause(state: Path) -> str:
    """What was found, in words; "" where the state is not marked. A process that can open no file more may ask too."""
    path = state / MARK
    if not path.exists():
        return ""
    try:
        return path.read_text().strip() or UNKNOWN
    except OSError:
        return UNKNOWN
