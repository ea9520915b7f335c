"""The operator's TLS files: made once, renewed when they must be, never against the operator's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from operator_server import keys
from operator_server.keys import OperatorKeys, UnusableKey, load_or_create_keys


def made(folder: Path, *hosts: str) -> OperatorKeys:
    return load_or_create_keys(folder / "keys", "op.example", list(hosts), datetime.now(UTC))


def leaf(made: OperatorKeys) -> x509.Certificate:
    """The certificate, issued by the authority and fitting its key."""
    authority = x509.load_pem_x509_certificate(made.authority.read_bytes())
    certificate = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    certificate.verify_directly_issued_by(authority)
    private = serialization.load_pem_private_key(made.private_key.read_bytes(), password=None)
    assert certificate.public_key() == private.public_key()
    return certificate


def hosts(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


def test_the_certificate_is_made_once(tmp_path: Path) -> None:
    first = leaf(made(tmp_path, "a.example"))
    assert hosts(first) == ["a.example", "localhost"]
    assert leaf(made(tmp_path, "a.example")) == first


def test_a_host_that_the_settings_name_since_gets_into_the_certificate_under_the_same_authority(tmp_path: Path) -> None:
    before = made(tmp_path, "a.example")
    first, authority = leaf(before), before.authority.read_bytes()
    after = made(tmp_path, "b.example")
    assert hosts(leaf(after)) == ["b.example", "localhost"]
    assert leaf(after) != first
    assert after.authority.read_bytes() == authority
    assert after.public_key() == before.public_key()


def test_a_certificate_that_ends_soon_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(keys, "_LEAF_DAYS", 20)
        soon = leaf(made(tmp_path, "a.example"))
    renewed = leaf(made(tmp_path, "a.example"))
    assert renewed.not_valid_after_utc - soon.not_valid_after_utc > timedelta(days=700)


def test_the_certificate_holds_by_the_machines_clock_whatever_the_business_clock_says(tmp_path: Path) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = leaf(load_or_create_keys(tmp_path, "op.example", ["a.example"], past))
    assert certificate.not_valid_before_utc < past
    assert certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=700)


def test_a_start_that_was_cut_off_is_mended_by_the_next(tmp_path: Path) -> None:
    first = made(tmp_path, "a.example")
    authority = first.authority.read_bytes()
    first.certificate.unlink()
    assert hosts(leaf(made(tmp_path, "a.example"))) == ["a.example", "localhost"]
    assert first.authority.read_bytes() == authority


def test_a_certificate_of_another_authority_is_left_alone(tmp_path: Path) -> None:
    ours = made(tmp_path / "ours", "a.example")
    foreign_server = tmp_path / "other"
    load_or_create_keys(foreign_server / "keys", "another.example", ["public.example"], datetime.now(UTC))
    for name in ("tls_server.pem", "tls_server.key"):
        (tmp_path / "ours" / "keys" / name).write_bytes((foreign_server / "keys" / name).read_bytes())
    put = ours.certificate.read_bytes()
    assert made(tmp_path / "ours", "c.example").certificate.read_bytes() == put


def test_tls_files_that_were_damaged_are_told(tmp_path: Path) -> None:
    made(tmp_path, "a.example").certificate.write_text("nothing")
    with pytest.raises(UnusableKey, match="TLS files cannot be used; restore them"):
        made(tmp_path, "a.example")
