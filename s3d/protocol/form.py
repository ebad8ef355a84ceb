"""Owns the fields of a POST form and which part is its file, every limit on them; never what a field asks for.

Source: "POST Object", S3 API reference. Names of fields are taken in any case, as S3 does.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from s3d.protocol.errors import S3Error
from s3d.protocol.form_data import FormParser, Part, PartEnd, malformed

FIELDS_BYTES_MAX: Final = 20_480  # with the headers of their parts
FIELDS_MAX: Final = 100

FILE: Final = "file"
_FILENAME: Final = "${filename}"


class FormReader:
    """Bytes of a form in, the bytes of its file out; `fields` are complete once the file has begun.

    What follows the file is looked at for its form only: it is not in `fields`, as with S3.
    """

    def __init__(self, boundary: bytes) -> None:
        self._parser = FormParser(boundary)
        self._part: Part | None = None
        self._value: list[bytes] = []  # of the field that comes
        self._parts = 0
        self._size_bytes = 0  # of all that is not the file
        self._whole = False
        self.fields: dict[str, str] = {}
        self.begun = False
        self.filename = ""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The file's bytes in `data`, in pieces, all to be taken.

        Raises MalformedPOSTRequest, MaxPostPreDataLengthExceededError, IncorrectNumberOfFilesInPostRequest,
        InvalidArgument (a field twice).
        """
        for event in self._parser.feed(data):
            match event:
                case Part():
                    self._begin(event)
                case bytes():
                    if self._in_file:
                        yield event
                    else:
                        self._count(len(event))
                        self._value.append(event)
                case PartEnd.WHOLE:
                    self._end()

    def finish(self) -> None:
        """The body has come to its end. Raises MalformedPOSTRequest, IncorrectNumberOfFilesInPostRequest."""
        self._parser.finish()
        if not self._whole:
            raise S3Error("IncorrectNumberOfFilesInPostRequest")

    @property
    def _in_file(self) -> bool:
        return self.begun and not self._whole

    def _begin(self, part: Part) -> None:
        self._parts += 1
        if self._parts > FIELDS_MAX + 1:
            raise S3Error("MaxPostPreDataLengthExceededError", "Your POST request has too many fields.")
        self._count(part.size_bytes)
        if part.name.lower() == FILE:
            if self.begun:
                raise S3Error("IncorrectNumberOfFilesInPostRequest")
            self.begun = True
            self.filename = _last_name(part.filename or "")
            self.fields = expanded(self.fields, self.filename)
        self._part = part

    def _count(self, size_bytes: int) -> None:
        self._size_bytes += size_bytes
        if self._size_bytes > FIELDS_BYTES_MAX:
            raise S3Error("MaxPostPreDataLengthExceededError")

    def _end(self) -> None:
        assert self._part is not None
        value, self._value = b"".join(self._value), []
        if self._in_file:
            self._whole = True
        elif not self.begun:
            self._keep(self._part.name.lower(), value)

    def _keep(self, name: str, value: bytes) -> None:
        if name in self.fields:
            raise S3Error("InvalidArgument", "A field of the form appears more than once.", ArgumentName=name)
        try:
            self.fields[name] = value.decode()
        except UnicodeDecodeError as error:
            raise malformed("A field is not UTF-8.") from error


def expanded(fields: Mapping[str, str], filename: str) -> dict[str, str]:
    """`fields` with the name of the file wherever they ask for it."""
    return {name: value.replace(_FILENAME, filename) for name, value in fields.items()}


def _last_name(path: str) -> str:
    """What follows the last slash or backslash: some clients send the whole path."""
    return path.replace("\\", "/").rpartition("/")[2]
