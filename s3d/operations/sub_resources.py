"""Owns GET, PUT and DELETE of a bucket's sub-resource that is one document; never what such a document says.

A sub-resource is declared where its document is read and written, and named in the table of handlers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from s3d.metadata.rows import BucketRow
from s3d.operations.bodies import read_document
from s3d.operations.call import Call
from s3d.operations.reply import Reply, no_content, xml_reply
from s3d.operations.settings import keep
from s3d.protocol.errors import S3Error
from s3d.protocol.routing import Handler


@dataclass(frozen=True, slots=True)
class SubResource:
    """A document that a bucket keeps under `name`.

    `read`: what to keep of a body, None for nothing; it raises S3Error. Without it, S3's PUT is not built, and what
    the others answer is true: there is none. `show`: the answer to GET. `absent`: the code of the error where there
    is none; without it GET shows b"". `done`: the answer to PUT. `left`: what stays after DELETE.
    """

    name: str
    read: Callable[[bytes, BucketRow], bytes | None] | None = None
    show: Callable[[bytes], Reply] = xml_reply
    absent: str = ""
    done: Callable[[], Reply] = Reply
    left: bytes | None = None

    def handlers(self, noun: str) -> Iterator[tuple[str, Handler]]:
        """The operations on it by their names, of which S3 may lack one."""
        yield f"Get{noun}", self.get
        yield f"Delete{noun}", self.delete
        if self.read is not None:
            yield f"Put{noun}", self.put

    async def get(self, call: Call) -> Reply:
        """The document, or the error of its absence."""
        kept = call.bucket.settings.get(self.name) or b""
        if self.absent and not kept:
            raise S3Error(self.absent, BucketName=call.bucket.name)
        return self.show(kept)

    async def put(self, call: Call) -> Reply:
        """Keep another document, whole or not at all."""
        assert self.read is not None, "only what can be read is put"
        await keep(call, self.name, self.read(await read_document(call), call.bucket))
        return self.done()

    async def delete(self, call: Call) -> Reply:
        """Forget the document, also where there is none."""
        if call.bucket.settings.get(self.name):
            await keep(call, self.name, self.left)
        return no_content()
