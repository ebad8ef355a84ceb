"""What the last record of a shard says of its blob comes back, and nothing else is taken for it."""

import pytest
from hypothesis import given, strategies as st

from s3d.blobs.identity import Identity, IdentityError, decode_identity, encode_identity

GOLDEN = "019ea66275636b6574c4036b657907a465746167020302a080a000a08000"

texts = st.text(max_size=20)
identities = st.builds(
    Identity,
    bucket=texts,
    key=st.binary(max_size=1_024),
    size=st.integers(0, 5 << 40),
    etag=texts,
    codec=st.integers(0, 255),
    k=st.integers(1, 255),
    m=st.integers(0, 255),
    content_type=texts,
    metadata=st.dictionaries(texts, texts, max_size=3),
    upload=texts,
    part=st.integers(0, 10_000),
    version_id=texts,
    headers=st.dictionaries(texts, texts, max_size=3),
    created_us=st.integers(0, 1 << 60),
)


@given(identities)
def test_an_identity_comes_back(identity: Identity) -> None:
    assert decode_identity(encode_identity(identity)) == identity


def test_the_bytes_stay_what_they_are() -> None:
    raw = encode_identity(Identity("bucket", b"key", 7, "etag", 2, 3, 2))
    assert raw.hex() == GOLDEN


@pytest.mark.parametrize("raw", [b"", b"\x01", b"\x02" + bytes.fromhex("90"), b"\x01\x90", b"\x01\xc1"])
def test_what_is_no_identity(raw: bytes) -> None:
    with pytest.raises(IdentityError):
        decode_identity(raw)
