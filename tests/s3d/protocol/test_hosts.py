"""Which bucket a Host header names: domains, ports, case, dots; and that both styles mean the same object."""

import pytest
from hypothesis import given, strategies as st

from s3d.protocol.errors import S3Error
from s3d.protocol.hosts import Hosts
from s3d.protocol.routing import parse_target

HOSTS = Hosts(("s3.example.com", "example.com", "localhost"))


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("bucket.s3.example.com", "bucket"),
        ("bucket.s3.example.com:8080", "bucket"),
        ("bucket.s3.example.com:", "bucket"),
        ("bucket.s3.example.com.", "bucket"),
        ("bucket.s3.example.com.:8080", "bucket"),
        ("BUCKET.S3.Example.COM", "bucket"),
        (" bucket.localhost\t", "bucket"),
        ("with.dots.s3.example.com", "with.dots"),
        ("a.localhost.example.com", "a.localhost"),
        ("s3.example.com", ""),
        ("s3.example.com:8080", ""),
        ("S3.EXAMPLE.COM.", ""),
        ("example.com", ""),
        ("s3x.example.com", "s3x"),
        (".s3.example.com", ""),
        ("bucket.s3.example.com.evil.org", ""),
        ("buckets3.example.org", ""),
        ("xs3.example.com", "xs3"),
        ("bucket.s3.example.com..", ""),
        ("bucket.s3.example.com:80:80", ""),
        ("bucket.s3.example.com:8x", ""),
        ("bucket.s3.example.com@evil.org", ""),
        ("127.0.0.1:8081", ""),
        ("[::1]:8081", ""),
        ("", ""),
        ("b\u00fccket.localhost", "b\u00fccket"),
        ("a/b.localhost", "a/b"),
        ("-.localhost", "-"),
    ],
)
def test_hosts(host: str, bucket: str) -> None:
    raw = host.encode("latin-1")
    assert HOSTS.bucket_of([(b"Accept", b"x.localhost"), (b"hOsT", raw)]) == bucket


def test_no_host_is_path_style() -> None:
    assert HOSTS.bucket_of([(b"X-Host", b"b.localhost")]) == ""


@pytest.mark.parametrize("hosted", ["b\u00fccket", "a/b", "-", "..", "ab", "a" * 64, "127.0.0.1"])
def test_what_is_no_bucket_is_refused(hosted: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse_target("/key", hosted)
    assert caught.value.code == "InvalidBucketName"


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("/", ""),
        ("/k", "k"),
        ("//", "/"),
        ("/bucket/k", "bucket/k"),
        ("/%2Fa", "/a"),
        ("/-/health", "-/health"),
    ],
)
def test_the_whole_path_is_the_key(raw: str, key: str) -> None:
    target = parse_target(f"{raw}?acl", "bucket")
    assert (target.bucket, target.key, target.raw_path, target.query) == ("bucket", key, raw, {"acl": ""})
    assert target.scope == ("object" if key else "bucket")


@given(st.text("ab/%.2F-~ \u00e9", max_size=30))
def test_both_styles_mean_the_same_or_are_both_refused(path: str) -> None:
    def meant(raw: str, hosted: str) -> tuple[str, str, str] | str:
        try:
            target = parse_target(raw, hosted)
        except S3Error as error:
            return error.code
        return target.bucket, target.key, target.resource_path

    assert meant(f"/bucket/{path}", "") == meant(f"/{path}", "bucket")
