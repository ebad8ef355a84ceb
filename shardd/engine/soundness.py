"""Owns whether an index file may be opened, and the marks beside it that tell; never a row of it.

lmdb.verify walks the pages before liblmdb maps them, because damaged pages would take the process down with them.
"""

import contextlib
import logging
from pathlib import Path

import lmdb.verify

VERIFY_SIZE_MAX = (
    64 << 20
)  # the walk takes about 1 s for so much; a bigger file has its row CRCs, and a trial
CONDEMNED = "condemned"
UNPROVEN = "unproven"  # opened without a walk, and no start has come to its end with it since
LIVES = "lives"  # how many processes in a row opened it and did not close it
LIVES_MAX = 2  # may have been killed; where one more was, damaged pages are looked for, however long it takes

log = logging.getLogger(__name__)


def may_be_opened(folder: Path) -> bool:
    """Whether the index in `folder`, if there is one, is neither condemned nor found damaged."""
    data = folder / "data.mdb"
    if (folder / CONDEMNED).exists():
        return False
    try:
        if data.stat().st_size > VERIFY_SIZE_MAX and _lives(folder) < LIVES_MAX:
            return _may_be_tried(folder)
        problems = lmdb.verify.verify(str(folder))  # type: ignore[no-untyped-call]
    except (OSError, lmdb.verify.VerifyError) as fault:
        problems = [str(fault)] if data.exists() else []
    if problems:
        log.warning("the index in %s is damaged (%s): it is rebuilt", folder, problems[0])
    else:
        note_closed(folder)
    return not problems


def _may_be_tried(folder: Path) -> bool:
    """Whether an index too big to be walked may be used: not twice where the first start did not come to its end.

    Damaged pages may have ended it, and would end every other.
    """
    if (folder / UNPROVEN).exists():
        log.warning("a start with the index in %s did not come to its end: it is rebuilt", folder)
        return False
    (folder / UNPROVEN).touch()
    return True


def vouch(folder: Path) -> None:
    """A start has come to its end with this index: it need not be made anew because nothing walked it."""
    (folder / UNPROVEN).unlink(missing_ok=True)


def condemn(folder: Path) -> None:
    """The next start shall not open it."""
    (folder / CONDEMNED).touch()


def note_opened(folder: Path) -> None:
    """Another process has it open; on a full disk that is not counted."""
    with contextlib.suppress(OSError):
        (folder / LIVES).write_text(str(_lives(folder) + 1))


def note_closed(folder: Path) -> None:
    """Whoever opened it closed it, or its pages were walked."""
    (folder / LIVES).unlink(missing_ok=True)


def _lives(folder: Path) -> int:
    try:
        return int((folder / LIVES).read_text())
    except (OSError, ValueError):
        return 0
