"""Replies as they come from servers: whole, cut anywhere, chunked, without a body, and broken."""

import pytest

from bench.http1 import HEAD_SIZE_MAX, BrokenReplyError, ReplyReader, request_head

PLAIN = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "x"\r\n\r\nhello'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN


@pytest.mark.parametrize("reply", [PLAIN, CHUNKED, CONTINUED])
@pytest.mark.parametrize("step", [1, 2, 7, 1_000])
def test_reads_a_reply_in_any_pieces(reply: bytes, step: int):
    reader = ReplyReader()
    for at in range(0, len(reply), step):
        assert not reader.done
        reader.feed(reply[at : at + step])
    assert reader.done and reader.status == 200 and bytes(reader.body) == b"hello" and reader.body_size == 5


def test_a_reply_to_head_ends_with_its_headers():
    reader = ReplyReader(head_only=True)
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert reader.done and reader.headers["content-length"] == "5"


@pytest.mark.parametrize("status", [204, 304])
def test_these_have_no_body(status: int):
    reader = ReplyReader()
    reader.feed(f"HTTP/1.1 {status} X\r\nDate: now\r\n\r\n".encode())
    assert reader.done


def test_a_body_without_length_ends_with_the_connection():
    reader = ReplyReader()
    reader.feed(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhel")
    reader.feed(b"lo")
    assert not reader.done
    reader.end()
    assert reader.done and reader.closes and bytes(reader.body) == b"hello"


@pytest.mark.parametrize("cut", [0, 10, len(PLAIN) - 1])
def test_a_reply_cut_short_is_broken(cut: int):
    reader = ReplyReader()
    reader.feed(PLAIN[:cut])
    with pytest.raises(BrokenReplyError):
        reader.end()


@pytest.mark.parametrize(
    "garbage", [PLAIN + b"!", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"x" * (HEAD_SIZE_MAX + 1)]
)
def test_what_is_no_reply_is_refused(garbage: bytes):
    with pytest.raises(BrokenReplyError):
        ReplyReader().feed(garbage)


def test_a_request_is_written_as_given():
    assert (
        request_head("GET", "/a%20b?x", [("Host", "h"), ("X", "ü")])
        == b"GET /a%20b?x HTTP/1.1\r\nHost: h\r\nX: \xfc\r\n\r\n"
    )
