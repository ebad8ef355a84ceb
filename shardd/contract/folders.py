"""Owns the step that makes the names in a folder durable; never knows what they name."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Returns when what was made, renamed or unlinked in `folder` outlives a power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
