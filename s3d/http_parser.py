"""Owns how aiohttp's HTTP parser is loaded: without its client, which would cost each gateway 7 MB and its start 0.3 s.

The home of the library `aiohttp` in a gateway. Its package file imports everything it has; an empty package in its
place leaves the modules below it importable, and they need nothing else of it. It is gone again once they are there:
a process that wants all of the library, as a drill does, still gets it.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from typing import Final

_NAME: Final = "aiohttp"


def _place_empty_package() -> None:
    found = find_spec(_NAME)
    assert found is not None
    empty = ModuleSpec(_NAME, None, origin=found.origin, is_package=True)
    empty.submodule_search_locations = found.submodule_search_locations
    sys.modules[_NAME] = module_from_spec(empty)


_loaded = _NAME in sys.modules
if not _loaded:
    _place_empty_package()

from aiohttp.base_protocol import BaseProtocol  # noqa: E402 - after the package has been emptied
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError, LineTooLong  # noqa: E402
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage  # noqa: E402
from aiohttp.http_writer import HttpVersion10, HttpVersion11  # noqa: E402
from aiohttp.streams import StreamReader  # noqa: E402

if not _loaded:
    del sys.modules[_NAME]

__all__ = [
    "BadHttpMessage",
    "BaseProtocol",
    "HttpProcessingError",
    "HttpRequestParser",
    "HttpVersion10",
    "HttpVersion11",
    "LineTooLong",
    "RawRequestMessage",
    "StreamReader",
]
