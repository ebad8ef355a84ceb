"""Owns the port through which the work behind the requests reads rows; never a row."""

from contextlib import AbstractContextManager
from typing import Protocol

from s3d.metadata.view import View


class States(Protocol):
    """Where rows are read: metadata.state.State."""

    def view(self) -> AbstractContextManager[View]:
        """One consistent state; nothing is awaited inside."""
