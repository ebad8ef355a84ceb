"""What our own clients sign is what botocore signs, and a gateway takes it."""

import pytest

from s3d.protocol.sigv4 import Key, signed_headers
from tests.s3d.protocol.signing import ACCESS_KEY, HOST, NOW_S, REGION, SECRET, Wire, signed


@pytest.mark.parametrize("query", ["", "a=1&b=%2F"])
@pytest.mark.parametrize("own", [{}, {"x-amz-meta-a": "b"}])
@pytest.mark.parametrize("body", [b"", b"some bytes"])
def test_our_clients_sign_as_aws_does(query: str, own: dict[str, str], body: bytes) -> None:
    target = f"/bucket/some%20key?{query}" if query else "/bucket/some%20key"
    ours = signed_headers(
        Key(ACCESS_KEY, SECRET, REGION),
        ("PUT", "/bucket/some%20key", query),
        headers=[("host", HOST), *own.items()],
        body=body,
        now_s=NOW_S,
    )
    wire = Wire("PUT", target, tuple(ours))
    assert wire.header("authorization") == signed("PUT", target, headers=own, body=body).header(
        "authorization"
    )
    assert wire.verify().access_key == ACCESS_KEY
