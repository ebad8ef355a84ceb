"""Owns what the model of S3 knows: buckets, versions, uploads in dicts and lists; never what a request does."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import md5, sha1, sha256
from zlib import crc32

import anycrc

from tests.integration.semantics_values import Chosen, Expected, When, refused

NULL = "null"


class Refused(Exception):
    """What is asked for does not happen."""

    def __init__(self, status: int, code: str, **headers: str | Chosen) -> None:
        super().__init__(code)
        self.expected: Expected = refused(status, code, **headers)


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum of an object or a part: its algorithm, its type and its base64."""

    algorithm: str
    kind: str
    value: str

    def headers(self, *, typed: bool = True) -> dict[str, str]:
        """As replies say it."""
        said = {f"x-amz-checksum-{self.algorithm.lower()}": self.value}
        return said | {"x-amz-checksum-type": self.kind} if typed else said


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an upload, or of the object that it became."""

    number: int
    body: bytes
    when: When
    checksum: Checksum | None = None

    @property
    def etag(self) -> str:
        """Without quotes."""
        return md5(self.body, usedforsecurity=False).hexdigest()


@dataclass(slots=True)
class Version:
    """A version of a key, or a delete marker (no body). `about`: the headers that a reader is told."""

    id: str | Chosen
    when: When
    body: bytes | None = None
    etag: str = ""
    about: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    checksum: Checksum | None = None
    parts: tuple[Part, ...] = ()
    upload: str = ""

    @property
    def data(self) -> bytes:
        """The bytes of what is no delete marker."""
        assert self.body is not None, "a delete marker has no bytes"
        return self.body

    @property
    def storage_class(self) -> str:
        """As lists show it."""
        return self.about.get("x-amz-storage-class", "STANDARD")


@dataclass(slots=True)
class Upload:
    """A multipart upload that is neither completed nor aborted."""

    id: Chosen
    key: str
    when: When
    about: Mapping[str, str]
    tags: Mapping[str, str]
    algorithm: str = ""
    kind: str = ""
    parts: dict[int, Part] = field(default_factory=dict)


@dataclass(slots=True)
class Bucket:
    """A bucket: each key's versions newest first, and the uploads in order of key and of when they began."""

    name: str
    when: When
    versioning: str = ""
    keys: dict[str, list[Version]] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)

    def newest(self, key: str) -> Version | None:
        """The newest version of a key, which may be a delete marker."""
        return self.keys[key][0] if key in self.keys else None

    def live(self, key: str) -> Version | None:
        """The object that a read without a version finds."""
        version = self.newest(key)
        return None if version is None or version.body is None else version

    def find(self, key: str, version_id: str) -> Version | None:
        """A version by its id."""
        return next((each for each in self.keys.get(key, ()) if str(each.id) == version_id), None)

    def add(self, key: str, version: Version) -> None:
        """Make a version the newest; "null" takes the place of the one that has that id."""
        if version.id == NULL:
            self.drop(key, self.find(key, NULL))
        self.keys.setdefault(key, []).insert(0, version)

    def drop(self, key: str, version: Version | None) -> None:
        """Remove a version for good; a key without any is none."""
        if version is not None:
            self.keys[key].remove(version)
            if not self.keys[key]:
                del self.keys[key]

    def live_keys(self) -> list[str]:
        """What lists show, in the order of UTF-8."""
        return [key for key in in_order(self.keys) if self.live(key) is not None]

    def upload(self, key: str, upload_id: str) -> Upload:
        """An upload of a key. Refused where there is none."""
        for each in self.uploads:
            if each.key == key and str(each.id) == upload_id:
                return each
        raise Refused(404, "NoSuchUpload")


def in_order(names: Mapping[str, object]) -> Iterator[str]:
    """Keys of S3 as their lists have them: by the bytes of their UTF-8."""
    return iter(sorted(names, key=str.encode))


def _crc(calculate: Callable[[bytes], int], size: int) -> Callable[[bytes], bytes]:
    return lambda data: calculate(data).to_bytes(size, "big")


# The checksums of S3: algorithm -> the digest of bytes.
DIGESTS: Mapping[str, Callable[[bytes], bytes]] = {
    "CRC32": _crc(crc32, 4),
    "CRC64NVME": _crc(anycrc.Model("CRC64-NVME").calc, 8),
    "SHA1": lambda data: sha1(data, usedforsecurity=False).digest(),
    "SHA256": lambda data: sha256(data).digest(),
}
