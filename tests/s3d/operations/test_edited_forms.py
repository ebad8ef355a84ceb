"""T-F2 for forms: one with one to three edits is refused, asks for what was signed, or asks in nobody's name."""

import os
import random
from dataclasses import dataclass, field

from s3d.operations.posts import FormFile, open_form
from s3d.protocol.errors import S3Error
from s3d.protocol.signature import Verifier
from tests.s3d.forms import BOUNDARY, BUCKET, body_of, form, wire
from tests.s3d.live import SECRETS
from tests.s3d.protocol.signing import NOW_S, REGION

EDITED = int(os.environ.get("QUOIN_EDITED_FORMS", "10000"))
SIGNS = [bytes([each]) for each in range(256)] + [
    b"\r\n",
    b"--",
    BOUNDARY.encode(),
    b"${filename}",
    b"file",
    b"key",
]
VERIFIER = Verifier(REGION, SECRETS.get)
SAID = {
    "key": "a/b c",
    "acl": "private",
    "Content-Type": "text/plain",
    "x-amz-meta-a": "b",
    "success_action_redirect": "http://h/",
}
CONDITIONS = [
    BUCKET,
    ["eq", "$key", "a/b c"],
    {"acl": "private"},
    {"content-type": "text/plain"},
    {"x-amz-meta-a": "b"},
    ["eq", "$success_action_redirect", "http://h/"],
]
# A policy that lets everything pass, whose signature is not at hand.
ANYTHING = [BUCKET, *(["starts-with", f"${name}", ""] for name in (*SAID, "x-amz-meta-b"))]
FIELDS = (
    ("key", "other"),
    ("acl", "public-read"),
    ("Content-Type", "text/html"),
    ("x-amz-meta-b", "x"),
    ("success_action_redirect", "http://evil/"),
    ("policy", form({}, ANYTHING, version=4)["policy"]),
    ("policy", form({}, ANYTHING, version=2)["policy"]),
)
DELIMITER = f"--{BOUNDARY}\r\n".encode()


@dataclass
class Sent:
    """A body as it comes: in one piece, or cut."""

    pieces: list[bytes] = field(default_factory=list)

    async def piece(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


async def meaning(body: bytes, chance: random.Random) -> tuple[str, object]:
    """The access key in whose name a form asks, and what for; "" and nothing where it is refused, or nobody's."""
    cut = chance.randrange(len(body))
    request = wire().request()
    outer = VERIFIER.verify(request, now_s=NOW_S)
    sent = Sent([piece for piece in (body[:cut], body[cut:]) if piece])
    try:
        posted = await open_form(request, outer, sent, verifier=VERIFIER, now_s=NOW_S)
        assert isinstance(posted.body, FormFile)
        redirect = posted.body.fields.get("success_action_redirect")
        while await posted.body.piece():
            pass
    except S3Error:
        return "", None
    key = posted.verified.access_key
    return key, (posted.request, posted.verified, redirect) if key else None


def edited(body: bytes, chance: random.Random) -> bytes:
    """The form with one to three changes at random."""
    for _ in range(chance.randint(1, 3)):
        kind = chance.random()
        if kind < 0.4:
            body = with_field(body, chance)
            continue
        start = chance.randrange(len(body) + 1)
        stop = start + chance.randrange(4)
        if kind < 0.6:  # a stretch of the form once more, somewhere else
            taken = chance.randrange(len(body))
            new = body[taken : taken + chance.randrange(200)]
        else:
            new = b"".join(chance.choices(SIGNS, k=chance.randrange(3)))
        body = body[:start] + new + body[stop:]
    return body


def with_field(body: bytes, chance: random.Random) -> bytes:
    """The form with one more field, or with another in the place of the one of that name."""
    name, value = chance.choice(FIELDS)
    parts = body.split(DELIMITER)
    if chance.random() < 0.5:
        parts = [part for part in parts if f'name="{name}"\r'.encode() not in part]
    new = f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    parts.insert(chance.randrange(1, len(parts) + 1), new)
    return DELIMITER.join(parts)


async def test_edited_forms_are_never_taken_for_something_else() -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"{EDITED} forms with 1 to 3 edits, seed {seed}")
    chance, taken = random.Random(seed), 0
    originals = [body_of(form(SAID, CONDITIONS, version=version), b"body") for version in (4, 2)]
    meant = [await meaning(body, chance) for body in originals]
    assert all(key for key, _ in meant)
    for number in range(EDITED):
        which = number % 2
        body = edited(originals[which], chance)
        key, said = await meaning(body, chance)
        assert not key or (key, said) == meant[which], (seed, number, body)
        taken += bool(key)
    print(f"{taken} of them were taken: their edits are in the file, or change nothing")
    assert taken < EDITED // 2
