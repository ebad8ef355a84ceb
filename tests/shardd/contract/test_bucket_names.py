"""Which names a bucket may have, in a request and in cluster.toml alike."""

import pytest

from shardd.contract.bucket_names import valid_bucket_name

BAD_NAMES = """
ab a -ab ab- .ab ab. a..b a.-b a-.b Abc aBc a_b a@b äbc a\u0661c - .. ...
192.168.5.123 1.2.3.4 xn--abc sthree-a amzn-s3-demo-a s3d-internal
abc-s3alias abc--ol-s3 abc.mrap abc--x-s3 abc--table-s3
"""


@pytest.mark.parametrize(
    "name", ["abc", "a-b", "a.b", "1ab", "0" * 62 + "a", "a" * 63, "my.long-bucket.1", "aaa.111"]
)
def test_bucket_names(name: str) -> None:
    assert valid_bucket_name(name)


@pytest.mark.parametrize("name", [*BAD_NAMES.split(), "a" * 64, "abc\n", ""])
def test_bad_bucket_names(name: str) -> None:
    assert not valid_bucket_name(name)
