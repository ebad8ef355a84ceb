"""Errors of S3: a body that clients can read, whatever is in it."""

from xml.etree import ElementTree

import pytest

from s3d.protocol.errors import ERRORS, RETRY_AFTER_S, S3Error


def test_body_of_an_error() -> None:
    error = S3Error("NoSuchKey", Key="a<b>&\x0c", BucketName="bucket")
    body = error.to_xml(resource="/bucket/a", request_id="R1", host_id="H1")
    assert body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code>')
    root = ElementTree.fromstring(body.replace(b"&#xc;", b""))
    assert {child.tag: child.text for child in root} == {
        "Code": "NoSuchKey",
        "Message": "The specified key does not exist.",
        "Key": "a<b>&",
        "BucketName": "bucket",
        "Resource": "/bucket/a",
        "RequestId": "R1",
        "HostId": "H1",
    }
    assert error.status == 404


def test_message_of_its_own_and_headers() -> None:
    error = S3Error("InvalidRequest", "Because.", headers={"X-A": "1"})
    assert (error.message, error.headers, str(error)) == (
        "Because.",
        {"X-A": "1"},
        "('InvalidRequest', 'Because.')",
    )


@pytest.mark.parametrize("code", [code for code, kind in ERRORS.items() if kind.status == 503])
def test_who_is_turned_away_is_told_when_to_come_back(code: str) -> None:
    assert S3Error(code).headers == {"Retry-After": str(RETRY_AFTER_S)}


def test_unknown_code_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        S3Error("NoSuchCode")


@pytest.mark.parametrize("code", ERRORS)
def test_every_kind_is_whole(code: str) -> None:
    kind = ERRORS[code]
    assert 300 < kind.status < 600
    assert kind.message
