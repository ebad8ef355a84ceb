"""Owns what an operation answers: status, headers, and bytes or a stream of them; never how they reach the wire."""

from collections.abc import AsyncGenerator, Sequence


class Reply:
    """One answer. `headers` are (name, value) pairs as they are to be sent, without the ones of every reply.

    `body` is what is at hand: a list of pieces whose first byte is known to be right. `rest` goes on where the body
    stops, for objects larger than one read; a failure inside it cuts the connection; who sends the reply closes it.
    `length` is the Content-Length, in bytes, which a HEAD names without a body; -1 leaves the header out, as 204
    and 304 want it.
    """

    __slots__ = ("body", "headers", "length", "rest", "status")

    def __init__(
        self,
        status: int = 200,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: Sequence[bytes] = (),
        rest: AsyncGenerator[list[bytes], None] | None = None,
        length: int | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.rest = rest
        self.length = sum(map(len, body)) if length is None else length


def xml_reply(body: bytes, *, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> Reply:
    """An XML document as S3 sends it."""
    return Reply(status, headers=(("Content-Type", "application/xml"), *headers), body=(body,))


def no_content() -> Reply:
    """204: it is done, and there is nothing to say."""
    return Reply(204, length=-1)
