"""Proves that a gateway does without most of aiohttp, and that who needs all of it can have it beside."""

import subprocess
import sys

import pytest

from tests.integration.cluster import ROOT

BESIDE = (
    "import s3d.http_parser, aiohttp.web, aiohttp; aiohttp.ClientSession; s3d.http_parser.HttpRequestParser"
)
BEFORE = "import aiohttp.web, s3d.http_parser, aiohttp; aiohttp.ClientSession"
ALONE = "import sys, s3d.http_parser; assert not {'aiohttp', 'aiohttp.client', 'aiohttp.web'} & sys.modules.keys()"


@pytest.mark.parametrize("program", [BESIDE, BEFORE, ALONE])
def test_the_parser_alone_or_the_whole_library_beside_it(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
