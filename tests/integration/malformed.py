"""Owns bytes that nearly are HTTP/1.1: right requests, one hidden in another's body, and the tricks that bend them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from bench.http1 import request_head

KEYS = 24
BUCKET = "/bucket"

Sign = Callable[[str, str, bytes], Sequence[tuple[str, str]]]


@dataclass(slots=True)
class Draft:
    """One request before it is bytes: every part of it may be bent."""

    line: bytes
    headers: list[bytes]
    body: bytes
    framing: list[bytes] = field(default_factory=list)
    end: bytes = b"\r\n"

    def encode(self) -> bytes:
        """The request on the wire."""
        lines = [self.line, *self.headers, *self.framing, b""]
        return self.end.join(lines) + self.end + self.body


class Forger:
    """Makes streams of requests. `sign` (method, path, body) gives the headers of a request that would be obeyed."""

    def __init__(self, chance: Random, sign: Sign) -> None:
        self._chance = chance
        self._signed = {
            (method, number): sign(method, f"{BUCKET}/{number}", self._body(method, number))
            for method in ("PUT", "GET", "HEAD", "DELETE")
            for number in range(KEYS)
        }
        self._hidden = [
            _wire("PUT", f"{BUCKET}/hidden-{number}", sign("PUT", f"{BUCKET}/hidden-{number}", b"x"), b"x")
            for number in range(KEYS)
        ]

    def stream(self) -> tuple[bytes, list[str]]:
        """What one connection sends, and the names of the tricks in it: none in one of ten, which ends by itself."""
        chance = self._chance
        drafts = [self._draft() for _ in range(chance.randint(1, 3))]
        names = list[str]()
        for _ in range(0 if chance.random() < 0.1 else chance.randint(1, 3)):
            trick = chance.choice(TRICKS)
            names.append(trick.__name__)
            trick(chance.choice(drafts), chance)
        if not names:
            drafts[-1].headers.append(b"Connection: close")
        data = b"".join(draft.encode() for draft in drafts)
        if names and chance.random() < 0.2:
            names.append("flips")
            data = _flipped(data, chance)
        return data, names

    @staticmethod
    def _body(method: str, number: int) -> bytes:
        return b"what %d holds" % number * (1 + number * 40) if method == "PUT" else b""

    def _draft(self) -> Draft:
        chance = self._chance
        method, number = chance.choice(("PUT", "PUT", "GET", "HEAD", "DELETE")), chance.randrange(KEYS)
        headers = [f"{name}: {value}".encode() for name, value in self._signed[method, number]]
        body = self._body(method, number)
        if (
            chance.random() < 0.5
        ):  # a request in the body, for whoever mistakes its length; no hash agrees with it
            body = body[: chance.choice((0, 3))] + chance.choice(self._hidden)
        draft = Draft(f"{method} {BUCKET}/{number} HTTP/1.1".encode(), headers, body)
        if chance.random() < 0.4:
            _chunk(draft, chance)
        else:
            draft.framing = [b"Content-Length: %d" % len(body)]
        return draft


def _wire(method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    return request_head(method, path, [*headers, ("Content-Length", str(len(body)))]) + body


def _chunk(draft: Draft, chance: Random) -> None:
    """The body in chunks, as HTTP has them."""
    pieces, left = list[bytes](), draft.body
    while left:
        size = chance.choice((1, 7, 100, 4_096))
        pieces.append(b"%x\r\n%s\r\n" % (len(left[:size]), left[:size]))
        left = left[size:]
    draft.body = b"".join(pieces) + b"0\r\n\r\n"
    draft.framing = [b"Transfer-Encoding: chunked"]


def both_framings(draft: Draft, chance: Random) -> None:
    other = b"Content-Length: %d" % chance.choice((0, 3, len(draft.body)))
    draft.framing = [b"Transfer-Encoding: chunked", other]
    chance.shuffle(draft.framing)


def two_lengths(draft: Draft, chance: Random) -> None:
    draft.framing.append(b"Content-Length: %d" % chance.choice((0, 3, len(draft.body))))


def wrong_length(draft: Draft, chance: Random) -> None:
    value = chance.choice(
        (b"+3", b"-1", b"0x3", b"1_0", b"3, 3", b"", b"3 3", b"9" * 30, b"\xd9\xa3", b"\x0b3")
    )
    draft.framing = [b"Content-Length: " + value]


def other_length(draft: Draft, chance: Random) -> None:
    draft.framing = [b"Content-Length: %d" % max(0, len(draft.body) + chance.choice((-7, -1, 1, 7, 10**6)))]


def no_framing(draft: Draft, chance: Random) -> None:
    draft.framing = []


def other_coding(draft: Draft, chance: Random) -> None:
    value = chance.choice(
        (
            b"gzip, chunked",
            b"chunked, identity",
            b"identity",
            b"xchunked",
            b"chunked\x0b",
            b"\x0bchunked",
            b"",
            b"CHUNKED",
            b"chunked;q=1",
            b'"chunked"',
            b"chunked,",
            b"chunked\r\nTransfer-Encoding: chunked",
            b"chunked\r\nTransfer-Encoding: identity",
        )
    )
    draft.framing = [b"Transfer-Encoding: " + value, *draft.framing[: chance.randrange(2)]]


def odd_name(draft: Draft, chance: Random) -> None:
    name = chance.choice(
        (b"Transfer-Encoding ", b" Transfer-Encoding", b"Transfer_Encoding", b"Transfer-Encoding\t")
    )
    draft.framing.insert(chance.randrange(2), name + b": chunked")


def folded(draft: Draft, chance: Random) -> None:
    draft.headers.insert(
        chance.randint(0, len(draft.headers)), b"x-folded: a\r\n" + chance.choice((b" b", b"\tb"))
    )


def folded_framing(draft: Draft, chance: Random) -> None:
    draft.framing = [b"Transfer-Encoding:\r\n chunked", *draft.framing]


def bare_line_feeds(draft: Draft, chance: Random) -> None:
    draft.end = chance.choice((b"\n", b"\r", b"\r\r\n", b"\n\r"))


def a_bare_line_feed(draft: Draft, chance: Random) -> None:
    at = chance.randrange(len(draft.headers))
    draft.headers[at] += chance.choice((b"\n", b"\r")) + b"x-more: 1"


def control_in_header(draft: Draft, chance: Random) -> None:
    at = chance.randrange(len(draft.headers))
    value = draft.headers[at]
    cut = chance.randrange(len(value))
    draft.headers[at] = value[:cut] + chance.choice((b"\0", b"\x01", b"\x7f", b"\x0b", b"\xff")) + value[cut:]


def no_colon(draft: Draft, chance: Random) -> None:
    draft.headers.insert(
        chance.randrange(len(draft.headers)), chance.choice((b"nonsense", b": empty", b"a b: c"))
    )


def other_host(draft: Draft, chance: Random) -> None:
    draft.headers.insert(0, chance.choice((b"Host: other", b"host:", b"Host: a, b", b"Host: a/b")))


def no_host(draft: Draft, chance: Random) -> None:
    draft.headers = [line for line in draft.headers if not line.lower().startswith(b"host")]


def other_version(draft: Draft, chance: Random) -> None:
    version = chance.choice(
        (b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.1 ", b"")
    )
    draft.line = draft.line.rpartition(b" ")[0] + b" " + version


def other_method(draft: Draft, chance: Random) -> None:
    method = chance.choice(
        (b"get", b"CONNECT", b"OPTIONS", b"TRACE", b"POST", b"PRI", b"G\0T", b"PURGE", b"QUERY")
    )
    draft.line = method + b" " + draft.line.partition(b" ")[2]


def other_target(draft: Draft, chance: Random) -> None:
    method, target, version = draft.line.split(b" ", 2)
    other = (
        b"http://h" + target,
        b"//h" + target,
        b"*",
        b"h:80",
        target + b"#x",
        target + b"\0",
        target + b"\xff",
        target + b" ",
        b" " + target,
        target + b"%0d%0aHost:%20x",
        target + b"\tx",
        target + b"?" + b"a" * 20_000,
        target.replace(b"/", b"\\"),
        b"/-/health",
    )
    draft.line = b" ".join((method, chance.choice(other), version))


def chunk_size(draft: Draft, chance: Random) -> None:
    first = b"%x" % len(draft.body)
    size = chance.choice(
        (
            b"-1",
            b"0x3",
            b"1_0",
            b"",
            b" 3",
            b"3 ",
            b"F" * 16,
            b"F" * 17,
            b"1" + b"0" * 16 + b"3",
            b"0" * 30 + first,
            b"\xd9\xa3",
            b"3\n",
            b"8000000000000000",
        )
    )
    draft.body = size + b"\r\n" + draft.body + b"\r\n0\r\n\r\n"
    draft.framing = [b"Transfer-Encoding: chunked"]


def chunk_extension(draft: Draft, chance: Random) -> None:
    extension = chance.choice(
        (b";a", b";a=b", b';a="b;c"', b";a\nb", b";\x01", b";" + b"x" * 20_000, b" ; a", b";a\rb")
    )
    draft.body = b"%x%s\r\n%s\r\n0%s\r\n\r\n" % (len(draft.body), extension, draft.body, extension)
    draft.framing = [b"Transfer-Encoding: chunked"]


def chunk_end(draft: Draft, chance: Random) -> None:
    end = chance.choice(
        (b"0\r\n\r\n", b"\r\n0\r\n", b"\r\n0\n\n", b"xx0\r\n\r\n", b"\n0\r\n\r\n", b"\r\n00\r\n\r\n", b"\r\n")
    )
    draft.body = b"%x\r\n%s%s" % (len(draft.body), draft.body, end)
    draft.framing = [b"Transfer-Encoding: chunked"]


def trailers(draft: Draft, chance: Random) -> None:
    trailer = chance.choice(
        (
            b"A: b",
            b"Content-Length: 40",
            b"Transfer-Encoding: chunked",
            b"Host: x",
            b"nonsense",
            b"A: b\r\n c",
            b"A: b\nC: d",
        )
    )
    draft.body = b"%x\r\n%s\r\n0\r\n%s\r\n\r\n" % (len(draft.body), draft.body, trailer)
    draft.framing = [b"Transfer-Encoding: chunked"]


def expectation(draft: Draft, chance: Random) -> None:
    draft.headers.append(
        b"Expect: " + chance.choice((b"100-continue", b"100-Continue", b"magic", b"", b"100-continue, x"))
    )


def connection_option(draft: Draft, chance: Random) -> None:
    option = chance.choice(
        (
            b"close",
            b"keep-alive",
            b"upgrade\r\nUpgrade: websocket",
            b"upgrade\r\nUpgrade: h2c",
            b"content-length",
            b"close, keep-alive",
            b"transfer-encoding",
            b"Close\r\nConnection: keep-alive",
        )
    )
    draft.headers.append(b"Connection: " + option)


def many_headers(draft: Draft, chance: Random) -> None:
    draft.headers += [b"x-many: 1"] * chance.choice((100, 128, 129, 500))


def long_header(draft: Draft, chance: Random) -> None:
    draft.headers.append(b"x-long: " + b"a" * chance.choice((16_000, 16_384, 17_000, 100_000)))


def noise_before(draft: Draft, chance: Random) -> None:
    draft.line = (
        chance.choice((b"\r\n", b"\n", b"\r\n\r\n", b"\0", b" ", b"\x16\x03\x01", b"\xef\xbb\xbf"))
        + draft.line
    )


def cut_short(draft: Draft, chance: Random) -> None:
    draft.body = draft.body[: chance.randint(0, len(draft.body))]


def _flipped(data: bytes, chance: Random) -> bytes:
    """One to three bytes other than they were, more or fewer."""
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data))
        new = chance.choice((b"", chance.randbytes(1), b"\r", b"\n", b" ", data[at : at + 1] * 2))
        data = data[:at] + new + data[at + 1 :]
    return data


TRICKS: Sequence[Callable[[Draft, Random], None]] = (
    both_framings,
    two_lengths,
    wrong_length,
    other_length,
    no_framing,
    other_coding,
    odd_name,
    folded,
    folded_framing,
    bare_line_feeds,
    a_bare_line_feed,
    control_in_header,
    no_colon,
    other_host,
    no_host,
    other_version,
    other_method,
    other_target,
    chunk_size,
    chunk_extension,
    chunk_end,
    trailers,
    expectation,
    connection_option,
    many_headers,
    long_header,
    noise_before,
    cut_short,
)
