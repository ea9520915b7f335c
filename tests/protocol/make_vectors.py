"""Writes the test vectors of docs/protocol.md, from the product's code and fixed keys: ``python make_vectors.py``."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from signalling import sealing
from signalling.configuration import SECTIONS, Configuration, quantised_mib
from signalling.documents import (
    NO_REPORT,
    Confirmation,
    CounterReport,
    DeliveryGrant,
    DeliveryOrder,
    DeliveryReceipt,
    Document,
    Quote,
    UsageGrant,
    agreement_digest,
    document_digest,
)
from signalling.envelope import encode
from signalling.framing import frame
from signalling.messages import Challenge, Inquiry, ModeTerms, Ping, Signed
from signalling.proof import logon_statement, sign

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
_BLOCK = re.compile(r"(<!-- vectors begin -->\n).*?(<!-- vectors end -->)", re.DOTALL)
_JSON = re.compile(r"```json\n(.*?)```", re.DOTALL)

TERMINAL_KEY, SERVER_KEY, WRAP_KEY = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
CONTENT_KEY = bytes(range(96, 128))
TERMINAL, SERVER, AGREEMENT = "T-1001", "tollgate.example", "0199a3c0-0000-7000-8000-000000000002"
NOW = 1_793_491_200_000_000
PACKAGE = b"A package of forty bytes, in three chunks"[:40]
CONFIGURATION = Configuration(
    hardware={"model": "aurora-7", "memory_mib": "3072", "display": "1080x2400"},
    firmware={"modem": "4.2.1"},
    base_software={"libc6": "2.36-9+deb12u10", "app-a": "2.0 “β”", "app-B": "1", "app": ""},
)


def documents(wrapped: bytes, sealed: bytes) -> dict[str, Signed]:
    """One document of each purpose, each fitting to those before."""
    server, terminal = (
        Ed25519PrivateKey.from_private_bytes(SERVER_KEY),
        Ed25519PrivateKey.from_private_bytes(TERMINAL_KEY),
    )
    made: dict[str, Signed] = {}

    def make(key: Ed25519PrivateKey, document: Document) -> Signed:
        signed = made[document.PURPOSE] = sign(key, document.PURPOSE, document.encode())
        return signed

    mode = ModeTerms(
        "per-use", "per_use", "Pay per game", "0.10 EUR a game", "EUR", 100_000, "S", 1900, unit="game", included=10,
        included_per="month", counter="game", tariff_version="games@1",
    )  # fmt: skip
    quote = make(
        server,
        Quote(
            quote="0199a3c0-0000-7000-8000-000000000001", server=SERVER, subscriber="A-1001", terminal=TERMINAL,
            offer="chess", offer_version="v1", product="chess", release="1.2.0", digest=document_digest(PACKAGE),
            length=len(sealed), mode=mode, amount=0, tax=0, currency="EUR",
            tariff_version="games@1", terms="Billed by the month.", issued=NOW, expires=NOW + 900_000_000,
            spending_limit=5_000_000,
        ),
    )  # fmt: skip
    confirmation = make(
        terminal,
        Confirmation(
            AGREEMENT, "0199a3c0-0000-7000-8000-000000000001", document_digest(quote.document), "per-use", NOW + 1,
            5_000_000,
        ),
    )  # fmt: skip
    wrap = X25519PrivateKey.from_private_bytes(WRAP_KEY).public_key().public_bytes_raw()
    make(terminal, DeliveryOrder(AGREEMENT, agreement_digest(quote, confirmation), wrap, NOW + 2))
    make(
        server,
        DeliveryGrant(
            AGREEMENT, "i-1", "chess", "1.2.0", "chess/1.2.0/chess.sealed", document_digest(sealed), len(sealed), True,
            wrapped, NOW + 3, NOW + 604_800_000_000,
        ),
    )  # fmt: skip
    make(terminal, DeliveryReceipt(AGREEMENT, "i-1", "installed", "", NOW + 4))
    report = CounterReport("i-1", "game", 0, 1, 312, [(NOW + 5, 3), (NOW + 6, 300)], NO_REPORT, NOW + 7)
    make(terminal, report)
    make(server, UsageGrant("g-1", "i-1", "game", 0, 562, NOW, NOW + 9, NOW + 8))
    return made


def vectors(kept: dict[str, Any]) -> dict[str, Any]:
    """All vectors in JSON's types. What is random is kept where it still holds, else made anew."""
    wrapped = _wrapped(kept.get("wrapped_key", {}).get("wrapped", ""))
    sealed = _sealed(kept.get("sealed_package", {}).get("sealed", ""))
    made = documents(wrapped, sealed)
    nonce = bytes([0xA5]) * 32
    statement = logon_statement(nonce, TERMINAL, SERVER, "tls-server-end-point", bytes([0x5A]) * 32)
    key = Ed25519PrivateKey.from_private_bytes(TERMINAL_KEY)
    challenge = encode(Challenge(1, SERVER, nonce, NOW), id=1)
    inquiry = encode(Inquiry("logon"), id=3, exchange=2)
    ping = encode(Ping(), id=300, re=7)
    return {
        "keys": {
            "terminal_private": TERMINAL_KEY.hex(),
            "terminal_public": key.public_key().public_bytes_raw().hex(),
            "server_private": SERVER_KEY.hex(),
            "server_public": Ed25519PrivateKey.from_private_bytes(SERVER_KEY).public_key().public_bytes_raw().hex(),
            "wrap_private": WRAP_KEY.hex(),
            "wrap_public": X25519PrivateKey.from_private_bytes(WRAP_KEY).public_key().public_bytes_raw().hex(),
        },
        "frames": [
            {"id": 1, "re": None, "exchange": 0, "type": "challenge", "frame": frame(challenge).hex()},
            {"id": 3, "re": None, "exchange": 2, "type": "inquiry", "frame": frame(inquiry).hex()},
            {"id": 300, "re": 7, "exchange": 0, "type": "ping", "frame": frame(ping).hex()},
        ],
        "quantised_mib": {str(mib): quantised_mib(mib) for mib in (0, 1, 2, 5, 7, 1000, 1281, 3072, 7823, 15_900)},
        "configuration": {
            "sections": {name: CONFIGURATION.section(name) for name in SECTIONS},
            "canonical": {name: data.hex() for name, data in CONFIGURATION.canonical().items()},
            "digests": {name: digest.hex() for name, digest in CONFIGURATION.digests().items()},
            "code": CONFIGURATION.code().hex(),
        },
        "logon": {
            "nonce": nonce.hex(), "terminal": TERMINAL, "server": SERVER, "binding": "tls-server-end-point",
            "binding_data": (bytes([0x5A]) * 32).hex(), "signed_bytes": statement.hex(),
            "signature": key.sign(statement).hex(),
        },
        "documents": {
            purpose: {
                "fields": _plain(signed.document),
                "document": signed.document.hex(),
                "signature": signed.signature.hex(),
            }
            for purpose, signed in made.items()
        },
        "agreement_digest": agreement_digest(made["quote"], made["confirmation"]).hex(),
        "wrapped_key": {
            "agreement": AGREEMENT,
            "content_key": CONTENT_KEY.hex(),
            "wrapped": wrapped.hex(),
        },
        "sealed_package": {
            "content_key": CONTENT_KEY.hex(),
            "key_id": sealing.key_id(CONTENT_KEY).hex(),
            "plain": PACKAGE.hex(),
            "sealed": sealed.hex(),
        },
    }  # fmt: skip


def _plain(document: bytes) -> dict[str, Any]:
    """The fields as JSON shows them: bytes in hexadecimal."""
    fields: dict[str, Any] = json.loads(json.dumps(msgspec.msgpack.decode(document), default=lambda value: value.hex()))
    return fields


def _wrapped(kept: str) -> bytes:
    private, info = X25519PrivateKey.from_private_bytes(WRAP_KEY), sealing.grant_info(AGREEMENT)
    try:
        if sealing.unwrap_key(bytes.fromhex(kept), private, info) == CONTENT_KEY:
            return bytes.fromhex(kept)
    except sealing.SealError:
        pass
    return sealing.wrap_key(CONTENT_KEY, private.public_key().public_bytes_raw(), info)


def _sealed(kept: str) -> bytes:
    opened = io.BytesIO()
    try:
        sealing.open_seal(io.BytesIO(bytes.fromhex(kept)), opened, CONTENT_KEY)
        if opened.getvalue() == PACKAGE:
            return bytes.fromhex(kept)
    except sealing.SealError:
        pass
    sealed = io.BytesIO()
    sealing.seal(io.BytesIO(PACKAGE), sealed, CONTENT_KEY, chunk_bytes=16)
    return sealed.getvalue()


def written() -> dict[str, Any]:
    """The vectors as they stand in the document; empty where there are none."""
    block = _BLOCK.search(PROTOCOL.read_text(encoding="utf-8"))
    found = _JSON.search(block[0]) if block else None
    vectors: dict[str, Any] = json.loads(found[1]) if found else {}
    return vectors


def write() -> None:
    """Put the vectors into the document."""
    text = json.dumps(vectors(written()), indent=1, ensure_ascii=False)
    document = PROTOCOL.read_text(encoding="utf-8")
    block = _BLOCK.sub(lambda found: f"{found[1]}```json\n{text}\n```\n{found[2]}", document)
    PROTOCOL.write_text(block, encoding="utf-8")


if __name__ == "__main__":
    write()
