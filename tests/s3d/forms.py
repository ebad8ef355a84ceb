"""Owns POST forms for tests: the policy and the body written here, the signature made by botocore's own signers."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from unittest import mock

from botocore.auth import HmacV1PostAuth, S3SigV4PostAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.s3d.live import SECRETS, Answer, Live
from tests.s3d.protocol.signing import ACCESS_KEY, HOST, NOW_S, REGION, Wire

BOUNDARY = "----quoin0123456789"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
BUCKET = {"bucket": "bucket"}
Conditions = Iterable[Any]


def signed_fields(
    policy: Mapping[str, Any],
    *,
    version: int = 4,
    keys: tuple[str, str] = (ACCESS_KEY, SECRETS[ACCESS_KEY]),
) -> dict[str, str]:
    """The fields that sign a policy at NOW_S, in Version 4 or 2; those of Version 4 are added to its conditions."""
    request = AWSRequest("POST", f"http://{HOST}/bucket")
    request.context["s3-presign-post-policy"] = {**policy, "conditions": list(policy["conditions"])}
    signer: Any = (
        S3SigV4PostAuth(Credentials(*keys), "s3", REGION)
        if version == 4
        else HmacV1PostAuth(Credentials(*keys))
    )
    moment = datetime.fromtimestamp(NOW_S, UTC)
    with mock.patch("botocore.auth.get_current_datetime", lambda *_, **__: moment):
        signer.add_auth(request)
    fields: dict[str, str] = request.context["s3-presign-post-fields"]
    return fields


def form(
    fields: Mapping[str, str],
    conditions: Conditions | None = None,
    *,
    key: str = ACCESS_KEY,
    version: int = 4,
    late_s: int = -3_600,
) -> dict[str, str]:
    """Fields with the signature of a policy that expired `late_s` ago.

    Its conditions are those given, or that each field is as it is, as a client's library asks for.
    """
    if conditions is None:
        conditions = [BUCKET, *({name: value} for name, value in fields.items())]
    expires = datetime.fromtimestamp(NOW_S - late_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    policy = {"expiration": expires, "conditions": conditions}
    return {**fields, **signed_fields(policy, version=version, keys=(key, SECRETS[key]))}


def body_of(
    fields: Mapping[str, str],
    file: bytes | None,
    *,
    filename: str = "f.txt",
    after: Mapping[str, str] | None = None,
) -> bytes:
    """The body of a form: its fields, the file (None: no file), and what follows it."""
    said = [_field(name, value) for name, value in fields.items()]
    if file is not None:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        said.append(f"{head}Content-Type: text/html\r\n\r\n".encode() + file + b"\r\n")
    said += [_field(name, value) for name, value in (after or {}).items()]
    return b"".join(said) + f"--{BOUNDARY}--\r\n".encode()


def _field(name: str, value: str) -> bytes:
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def wire(path: str = "/bucket", **headers: str) -> Wire:
    """The head of a form's request; underscores stand for dashes."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Wire("POST", path, (("Host", HOST), *({"Content-Type": CONTENT_TYPE} | sent).items()))


async def post(
    live: Live,
    fields: Mapping[str, str],
    file: bytes | None = b"body",
    *,
    path: str = "/bucket",
    **options: Any,
) -> Answer:
    """The answer to a form. Options: those of body_of."""
    return await live.send(wire(path), body_of(fields, file, **options))


async def stored(live: Live, bucket: str = "bucket") -> list[str]:
    """The keys of a bucket."""
    return (await live.ok("GET", f"/{bucket}", query="list-type=2")).texts("Contents/Key")


async def open_form(
    live: Live, head: Wire, beginning: bytes, *, length: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which a form of `length` bytes has begun."""
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    lines = "".join(
        f"{name}: {value}\r\n" for name, value in (*head.headers, ("Content-Length", str(length)))
    )
    writer.write(f"{head.method} {head.target} HTTP/1.1\r\n{lines}\r\n".encode() + beginning)
    return reader, writer
