"""Owns what most tests of the machine begin with."""

import pytest

from tests.s3d.metadata.machine.story import Story


@pytest.fixture
def story() -> Story:
    """Tables with one bucket, `b`, and nothing in it."""
    made = Story()
    made.bucket()
    return made
