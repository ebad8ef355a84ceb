"""Owns the prepared requests of the bench: S3 operations as signed bytes for the driver; never sends one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256

from bench.drive import Address, Job
from bench.http1 import request_head
from bench.signing import (
    EMPTY_SHA256,
    STREAMING,
    Credentials,
    Signed,
    chunk_digests,
    chunked_body,
    chunked_length,
    encode_path,
    sign,
)


class Body:
    """One object's bytes with their digests, worked out once and before any clock runs."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @cached_property
    def chunks(self) -> list[str]:
        """SHA-256 of each 64 KiB chunk."""
        return chunk_digests(self.data)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the whole."""
        return sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class Target:
    """The server under measurement: where it listens, and who asks."""

    addresses: Sequence[Address]
    credentials: Credentials
    bucket: str

    def put(self, number: int, key: str, body: Body, *, chunked: bool) -> Job:
        """A PUT of `body`, in signed 64 KiB chunks as Go clients sign it, or with its whole SHA-256 as boto3 does."""
        size = len(body.data)
        length = chunked_length(size) if chunked else size
        extra = [("Content-Length", str(length))]
        if chunked:
            extra += [("Content-Encoding", "aws-chunked"), ("x-amz-decoded-content-length", str(size))]
        signed = self._sign("PUT", number, key, headers=extra, payload=STREAMING if chunked else body.digest)
        pieces = chunked_body(signed, body.data, digests=body.chunks) if chunked else [memoryview(body.data)]
        return self._job(number, signed, pieces)

    def get(self, number: int, key: str, body_size: int) -> Job:
        """A GET of the whole object, which has that many bytes."""
        head = _bytes_of(self._sign("GET", number, key))
        return Job(self._endpoint(number), (head,), body_size=body_size)

    def head(self, number: int, key: str) -> Job:
        """A HEAD of the object."""
        signed = self._sign("HEAD", number, key)
        return Job(self._endpoint(number), (_bytes_of(signed),), head_only=True)

    def delete(self, number: int, key: str) -> Job:
        """A DELETE of the object."""
        return self._job(number, self._sign("DELETE", number, key), expected=204)

    def page(self, number: int, prefix: str, after: str) -> Job:
        """One page of 1,000 keys behind `after`, by ListObjectsV2."""
        query = [("list-type", "2"), ("prefix", prefix), ("max-keys", "1000"), ("start-after", after)]
        return self.listed(number, query)

    def listed(self, number: int, query: Sequence[tuple[str, str]]) -> Job:
        """A page of any list of the bucket."""
        return self._job(number, self._sign("GET", number, "", query=query))

    def create_bucket(self) -> Job:
        """A CreateBucket of the bench's bucket."""
        return self._job(0, self._sign("PUT", 0, "", headers=[("Content-Length", "0")]))

    def delete_bucket(self) -> Job:
        """A DeleteBucket of it."""
        return self._job(0, self._sign("DELETE", 0, ""), expected=204)

    def _endpoint(self, number: int) -> int:
        return number % len(self.addresses)

    def _sign(
        self,
        method: str,
        number: int,
        key: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        query: Sequence[tuple[str, str]] = (),
        payload: str = EMPTY_SHA256,
    ) -> Signed:
        host, port = self.addresses[self._endpoint(number)]
        path = encode_path(f"/{self.bucket}/{key}" if key else f"/{self.bucket}")
        return sign(
            self.credentials,
            method,
            path,
            headers=[("Host", f"{host}:{port}"), *headers],
            when=datetime.now(UTC),
            query=query,
            payload=payload,
        )

    def _job(
        self, number: int, signed: Signed, pieces: Sequence[bytes | memoryview] = (), expected: int = 200
    ) -> Job:
        head = _bytes_of(signed)
        if pieces and len(pieces) < 4:  # small bodies leave in one piece with their head
            return Job(self._endpoint(number), (b"".join((head, *pieces)),), expected)
        return Job(self._endpoint(number), (head, *pieces), expected)


def _bytes_of(signed: Signed) -> bytes:
    return request_head(signed.method, signed.target, signed.headers)
