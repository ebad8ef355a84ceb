"""T-F2: requests with one to three edits are refused, or mean what was signed."""

import os
import random
from dataclasses import replace

from s3d.protocol.errors import S3Error
from tests.s3d.protocol.signing import Wire, presigned, presigned_v2_of, signed, signed_v2

EDITED = int(os.environ.get("QUOIN_EDITED_REQUESTS", "10000"))
SIGNS = "".join(map(chr, range(33, 127)))
NAMES = (
    "x-amz-acl",
    "x-amz-copy-source",
    "x-amz-date",
    "x-amz-meta-b",
    "Host",
    "Authorization",
    "x-amz-security-token",
)


def edited(wire: Wire, chance: random.Random) -> Wire:
    """The request with one thing changed at random."""
    kind = chance.randrange(8 if wire.headers else 3)
    if kind == 0:
        return replace(wire, target=_respelled(wire.target, chance))
    if kind < 3:
        return replace(wire, target=_edited_text(wire.target, chance))
    if kind < 6:
        at = chance.randrange(len(wire.headers))
        name, value = wire.headers[at]
        changed = (name, _edited_text(value, chance))
        return replace(wire, headers=(*wire.headers[:at], changed, *wire.headers[at + 1 :]))
    if kind == 6:
        return replace(wire, method=chance.choice(("GET", "PUT", "POST", "HEAD", "DELETE")))
    if chance.random() < 0.5:
        return wire.with_header(chance.choice(wire.headers)[0], None)
    return replace(wire, headers=(*wire.headers, (chance.choice(NAMES), _edited_text("value", chance))))


def _respelled(target: str, chance: random.Random) -> str:
    """The target with one of its characters percent-encoded, which may be one that means something."""
    at = chance.choice(
        [at for at, sign in enumerate(target) if sign in "&=?/"] + [chance.randrange(len(target))]
    )
    return f"{target[:at]}%{ord(target[at]):02X}{target[at + 1 :]}"


def _edited_text(text: str, chance: random.Random) -> str:
    start = chance.randrange(len(text) + 1)
    stop = start + chance.randrange(3)
    return text[:start] + "".join(chance.choices(SIGNS, k=chance.randrange(3))) + text[stop:]


def test_edited_requests_are_never_taken_for_something_else() -> None:
    """T-F2: whatever is edited, a request that is taken means what was signed."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"{EDITED} requests with 1 to 3 edits, seed {seed}")
    chance = random.Random(seed)
    headers = {"x-amz-meta-a": "b", "x-amz-acl": "private", "content-type": "text/plain"}
    originals = [
        signed("PUT", "/bucket/a/../b%20c?tagging&versionId=null", headers=headers),
        signed("GET", "/bucket?list-type=2&prefix=a%2Fb&delimiter=%2F"),
        presigned("PUT", "/bucket/some/key", headers={"x-amz-acl": "private"}),
        presigned("GET", "/bucket/%E2%82%AC?response-content-type=a%2Fb"),
        presigned_v2_of(),
        presigned_v2_of("GET", "/bucket/%E2%82%AC?acl", headers={}),
        signed_v2(),
        signed_v2("GET", "/bucket/%E2%82%AC?response-content-type=a%2Fb&versionId=v1", headers={}),
        signed_v2("DELETE", "/bucket/key", headers={"x-amz-meta-a": "b"}),
    ]
    taken = 0
    for _ in range(EDITED):
        original = wire = chance.choice(originals)
        for _ in range(chance.randint(1, 3)):
            wire = edited(wire, chance)
        if accepted(wire):
            taken += 1
            names = _signed_names(original)
            assert _signed_part(wire, names) == _signed_part(original, names), (seed, wire)
    print(f"{taken} of them taken, with nothing changed that counts")
    assert taken < EDITED // 4


def accepted(wire: Wire) -> bool:
    """Whether somebody is believed to have sent it; nobody may send anything, and is allowed next to nothing."""
    try:
        return wire.verify().access_key != ""
    except S3Error:
        return False


def _signed_names(wire: Wire) -> list[str]:
    query = wire.request().target.query
    if "X-Amz-SignedHeaders" in query:
        return query["X-Amz-SignedHeaders"].split(";")
    if "AWSAccessKeyId" in query:
        return ["content-type", "content-md5"]
    if wire.header("Authorization").startswith("AWS "):
        return ["content-type", "content-md5", "date"]
    return wire.header("Authorization").split("SignedHeaders=")[1].split(",")[0].split(";")


def _signed_part(wire: Wire, names: list[str]) -> object:
    """All of a request that anything believes, without what may be written in several ways."""
    request = wire.request()
    target = request.target
    values = {
        name: " ".join(value.split())
        for name, value in request.headers.items()
        if name in names or name.startswith("x-amz-")
    }
    authorization = request.headers.get("authorization", "").replace(" ", "")
    return request.method, target.bucket, target.key, dict(target.query), values, authorization
