"""The certificate of a gateway: what is a pair, and files that are replaced while clients are served."""

from pathlib import Path

import pytest

from s3d.certificate import Certificate
from shardd.contract.errors import QuoinError
from tests.s3d.talking import HEAD, echo, reply_of, talking
from tests.s3d.web_certificates import Files, WebAuthority


@pytest.fixture
def authority(tmp_path: Path) -> WebAuthority:
    return WebAuthority(tmp_path)


async def test_a_renewed_certificate_is_shown_to_whoever_connects_next(
    authority: WebAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    files = authority.files()
    certificate = Certificate(files.certificate, files.key)
    first = await _serial(authority, certificate)
    async with talking(echo, certificate=certificate) as talk:
        reader, writer = await talk.client(authority.client())
        renewed = authority.issue(files)
        certificate.refresh()
        assert "see the new certificate" in caplog.text
        writer.write(HEAD % 1)
        assert (await reply_of(reader))[1] == b"/1"
        writer.close()
    assert await _serial(authority, certificate) == renewed != first


async def _serial(authority: WebAuthority, certificate: Certificate) -> int:
    async with talking(echo, certificate=certificate) as talk:
        _, writer = await talk.client(authority.client())
        shown = writer.get_extra_info("peercert")
        writer.close()
        return int(shown["serialNumber"], 16)


async def test_half_a_pair_changes_nothing_until_it_is_whole(
    authority: WebAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    files, other = authority.files(), authority.files()
    certificate = Certificate(files.certificate, files.key)
    before, context = await _serial(authority, certificate), certificate.context
    for broken in (other.certificate.read_bytes(), b"", b"-----BEGIN CERTIFICATE-----\nMII"):
        files.certificate.write_bytes(broken)
        certificate.refresh()
        assert certificate.context is context
    files.certificate.unlink()
    certificate.refresh()
    assert [record.message.startswith("the certificate in use stays: ") for record in caplog.records] == [
        True
    ] * 4
    certificate.refresh()
    assert len(caplog.records) == 4  # it is said once
    other.certificate.rename(files.certificate)
    other.key.rename(files.key)
    certificate.refresh()
    assert await _serial(authority, certificate) != before


def test_a_link_to_other_files_is_a_change(authority: WebAuthority, tmp_path: Path) -> None:
    """As the links of certbot and, here, of Kubernetes: the files stay links to a link that points elsewhere."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        authority.issue(Files(tmp_path / name / "cert.pem", tmp_path / name / "key.pem"))
    live, data = Files(tmp_path / "cert.pem", tmp_path / "key.pem"), tmp_path / "data"
    data.symlink_to(tmp_path / "old")
    live.certificate.symlink_to(data / "cert.pem")
    live.key.symlink_to(data / "key.pem")
    certificate = Certificate(live.certificate, live.key)
    context = certificate.context
    certificate.refresh()
    assert certificate.context is context
    data.unlink()
    data.symlink_to(tmp_path / "new")
    certificate.refresh()
    assert certificate.context is not context


def test_a_wrong_pair_is_refused_with_place_and_path(authority: WebAuthority, tmp_path: Path) -> None:
    files, other, gone = authority.files(), authority.files(), tmp_path / "gone"
    locked = Files(tmp_path / "locked.pem", tmp_path / "locked.key")
    authority.issue(locked, passphrase=b"a passphrase")
    for certificate, key, expected in (
        (gone, files.key, f"gateway.tls_certificate: {gone}: No such file or directory"),
        (files.certificate, gone, f"gateway.tls_key: {gone}: No such file or directory"),
        (files.key, files.key, f"gateway.tls_certificate: {files.key}: no certificate in PEM"),
        (files.certificate, files.certificate, f"gateway.tls_key: {files.certificate}: no private key"),
        (
            files.certificate,
            other.key,
            f"gateway.tls_key: {other.key}: is not the key of {files.certificate}",
        ),
        (
            locked.certificate,
            locked.key,
            f"gateway.tls_key: {locked.key}: no private key without a passphrase",
        ),
    ):
        with pytest.raises(QuoinError) as caught:
            Certificate(certificate, key)
        assert str(caught.value).startswith(expected)
