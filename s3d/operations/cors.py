"""Owns CORS: its configuration, the answers to preflights, and what it adds to other replies; never the rules.

A preflight is the one request that nobody signs: browsers send it by themselves. It reads nothing but the rules.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from s3d.metadata.rows import BucketRow
from s3d.metadata.state import State
from s3d.operations.call import Call
from s3d.operations.documents import document, element
from s3d.operations.reply import Reply, xml_reply
from s3d.operations.sub_resources import SubResource
from s3d.protocol.cors import (
    REQUEST_HEADERS,
    REQUEST_METHOD,
    Rule,
    answer,
    decode_rules,
    encode_rules,
    find_rule,
    read_rules,
    requested_headers,
)
from s3d.protocol.errors import S3Error
from s3d.protocol.routing import parse_target

CORS: Final = "cors"


def _read(raw: bytes, _: BucketRow) -> bytes:
    return encode_rules(read_rules(raw))


def _show(kept: bytes) -> Reply:
    return xml_reply(document("CORSConfiguration", *map(_written, decode_rules(kept))))


def _written(rule: Rule) -> str:
    lists = (
        ("AllowedMethod", rule.methods),
        ("AllowedOrigin", rule.origins),
        ("AllowedHeader", rule.headers),
        ("ExposeHeader", rule.exposed),
    )
    listed = "".join(element(name, text) for name, texts in lists for text in texts)
    name = element("ID", rule.name) if rule.name else ""
    age = element("MaxAgeSeconds", rule.age_s) if rule.age_s >= 0 else ""
    return f"<CORSRule>{name}{listed}{age}</CORSRule>"


RULES: Final = SubResource(CORS, _read, _show, absent="NoSuchCORSConfiguration")


async def preflight(call: Call) -> Reply:
    """What a script of another origin may send. Raises BadRequest, AccessForbidden, NoSuchBucket."""
    origin, method = call.header("origin"), call.header(REQUEST_METHOD)
    if not origin:
        raise S3Error("BadRequest", "Insufficient information. Origin request header needed.")
    if not method:
        raise S3Error("BadRequest", "Invalid Access-Control-Request-Method: null")
    name = call.request.target.bucket
    with call.store.state.view() as view:
        row = view.bucket(name)
    if row is None:
        raise S3Error("NoSuchBucket", BucketName=name)
    raw, asked = row.settings.get(CORS), requested_headers(call.header(REQUEST_HEADERS))
    if raw is None:
        raise S3Error("AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.")
    rule = find_rule(decode_rules(raw), origin, method, asked)
    if rule is None:
        raise S3Error("AccessForbidden")
    headers = [("Access-Control-Allow-Headers", ", ".join(asked))] if asked else []
    return Reply(headers=[*answer(rule, origin), *headers])


def shared_with(
    state: State, method: str, target: str, raw_headers: Sequence[tuple[bytes, bytes]], *, hosted: str = ""
) -> list[tuple[str, str]]:
    """What a reply, be it an error, says to a browser; nothing where no script of another origin asked.

    It looks at every request, so it looks for the one header first. `hosted`: the bucket that Host names.
    """
    if not any(len(name) == 6 and name.lower() == b"origin" for name, _ in raw_headers):
        return []
    headers = {name.lower(): value for name, value in raw_headers}
    try:
        name = parse_target(target, hosted).bucket
    except S3Error:
        return []
    with state.view() as view:
        row = view.bucket(name) if name else None
    raw = None if row is None else row.settings.get(CORS)
    return [] if raw is None else _shared(decode_rules(raw), headers, method)


def _shared(rules: Sequence[Rule], headers: Mapping[bytes, bytes], method: str) -> list[tuple[str, str]]:
    origin = headers[b"origin"].decode("ascii", "replace")
    wanted = headers.get(REQUEST_METHOD.encode(), b"").decode("ascii", "replace") or method
    rule = find_rule(rules, origin, wanted)
    return [] if rule is None else answer(rule, origin)
