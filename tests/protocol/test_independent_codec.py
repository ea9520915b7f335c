"""A codec written from docs/protocol.md alone reproduces its vectors and agrees with the product's codec."""

from __future__ import annotations

from typing import Any

import independent_codec as codec
import make_vectors
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from signalling.configuration import SECTIONS, Configuration, quantised_mib

VECTORS = make_vectors.written()
DOCUMENTS = VECTORS["documents"]
SIGNER = {"quote": "server", "delivery-grant": "server", "usage-grant": "server"}


def signed(purpose: str) -> dict[str, bytes]:
    return {name: bytes.fromhex(DOCUMENTS[purpose][name]) for name in ("document", "signature")}


def as_json(value: Any) -> Any:
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {key: as_json(item) for key, item in value.items()}
        case list():
            return [as_json(item) for item in value]
    return value


@pytest.mark.parametrize("vector", VECTORS["frames"], ids=lambda vector: vector["type"])
def test_frames(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["frame"])
    envelope = codec.unpack(raw[4:])
    assert int.from_bytes(raw[:4]) == len(raw) - 4
    assert {key: envelope[key] for key in ("id", "re", "exchange", "type")} == {
        key: vector[key] for key in ("id", "re", "exchange", "type")
    }
    assert codec.frame(codec.pack(envelope)) == raw


def test_amounts_of_memory() -> None:
    for mib, quantised in VECTORS["quantised_mib"].items():
        assert codec.quantised(int(mib)) == quantised


def test_the_configuration_code() -> None:
    vector = VECTORS["configuration"]
    canonical = {name: codec.canonical(entries) for name, entries in vector["sections"].items()}
    digests = {name: codec.section_digest(name, data) for name, data in canonical.items()}
    assert as_json(canonical) == vector["canonical"]
    assert as_json(digests) == vector["digests"]
    assert codec.configuration_code(digests).hex() == vector["code"]


def test_the_logon_proof() -> None:
    vector = VECTORS["logon"]
    nonce, data = bytes.fromhex(vector["nonce"]), bytes.fromhex(vector["binding_data"])
    document = codec.logon_document(nonce, vector["terminal"], vector["server"], vector["binding"], data)
    message = codec.to_sign("logon", document)
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["keys"]["terminal_private"]))
    assert message.hex() == vector["signed_bytes"]
    assert key.sign(message).hex() == vector["signature"]


@pytest.mark.parametrize("purpose", DOCUMENTS)
def test_signed_documents(purpose: str) -> None:
    public = bytes.fromhex(VECTORS["keys"][SIGNER.get(purpose, "terminal") + "_public"])
    assert as_json(codec.opened(public, purpose, signed(purpose))) == DOCUMENTS[purpose]["fields"]


def test_the_agreement_digest() -> None:
    digest = codec.agreement_digest(signed("quote"), signed("confirmation"))
    assert digest.hex() == VECTORS["agreement_digest"] == DOCUMENTS["delivery-order"]["fields"]["agreement_digest"]


def test_the_wrapped_key() -> None:
    vector = VECTORS["wrapped_key"]
    private = X25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["keys"]["wrap_private"]))
    assert codec.unwrap(bytes.fromhex(vector["wrapped"]), private, vector["agreement"]).hex() == vector["content_key"]


def test_the_sealed_package() -> None:
    vector = VECTORS["sealed_package"]
    key, sealed = bytes.fromhex(vector["content_key"]), bytes.fromhex(vector["sealed"])
    assert codec.key_id(key).hex() == vector["key_id"]
    assert codec.open_package(sealed, key).hex() == vector["plain"]
    for damaged in (sealed[:-1], sealed[:-24], sealed + b"\0", sealed[:50] + sealed[82:]):
        with pytest.raises(codec.Bad):
            codec.open_package(damaged, key)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=300) | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=8), inner, max_size=20),
    max_leaves=30,
)


@given(VALUES)
def test_both_codecs_read_each_other(value: Any) -> None:
    assert msgspec.msgpack.decode(codec.pack(value)) == value
    assert codec.unpack(msgspec.msgpack.encode(value)) == value


KEYS = st.text("ab09AZ_.+:/~@-", max_size=6).map("k{}".format)
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)


@given(st.dictionaries(KEYS, TEXTS, max_size=20))
def test_both_compute_the_same_code(entries: dict[str, str]) -> None:
    configuration = Configuration(base_software=entries)
    digests = {name: codec.section_digest(name, codec.canonical(configuration.section(name))) for name in SECTIONS}
    assert codec.configuration_code(dict(digests)) == configuration.code()


@given(st.integers(0, 2**24))
def test_both_quantise_alike(mib: int) -> None:
    assert codec.quantised(mib) == quantised_mib(mib)
