"""The bytes of docs/protocol.md, written from that text alone: nothing here comes from the product."""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Map = dict[str, Any]


class Bad(ValueError):
    """Bytes that break a rule of the protocol."""


def u32(number: int) -> bytes:
    return struct.pack(">I", number)


def prefixed(raw: bytes) -> bytes:
    return u32(len(raw)) + raw


# MessagePack, as much of it as the link uses.


def pack(value: Any) -> bytes:
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return _pack_int(value)
        case str():
            raw = value.encode()
            return _head(len(raw), ((31, 0xA0), (0xFF, 0xD9), (0xFFFF, 0xDA), (0xFFFFFFFF, 0xDB))) + raw
        case bytes():
            return _head(len(value), ((-1, 0), (0xFF, 0xC4), (0xFFFF, 0xC5), (0xFFFFFFFF, 0xC6))) + value
        case list():
            return _head(len(value), ((15, 0x90), (-1, 0), (0xFFFF, 0xDC), (0xFFFFFFFF, 0xDD))) + b"".join(
                map(pack, value)
            )
        case dict():
            head = _head(len(value), ((15, 0x80), (-1, 0), (0xFFFF, 0xDE), (0xFFFFFFFF, 0xDF)))
            return head + b"".join(pack(key) + pack(item) for key, item in value.items())
    raise Bad(f"{type(value).__name__} does not go over the link")


def _head(length: int, forms: tuple[tuple[int, int], ...]) -> bytes:
    """The shortest head: forms are the largest length and the tag of fix, 8, 16 and 32 bit."""
    for (most, tag), code in zip(forms, ("", ">B", ">H", ">I"), strict=True):
        if length <= most:
            return bytes([tag]) + struct.pack(code, length) if code else bytes([tag | length])
    raise Bad("too long")


def _pack_int(value: int) -> bytes:
    if -32 <= value <= 127:
        return struct.pack(">b", value) if value < 0 else bytes([value])
    for tag, code, low, high in (
        (0xCC, ">B", 0, 2**8), (0xCD, ">H", 0, 2**16), (0xCE, ">I", 0, 2**32), (0xCF, ">Q", 0, 2**64),
        (0xD0, ">b", -(2**7), 0), (0xD1, ">h", -(2**15), 0), (0xD2, ">i", -(2**31), 0), (0xD3, ">q", -(2**63), 0),
    ):  # fmt: skip
        if low <= value < high:
            return bytes([tag]) + struct.pack(code, value)
    raise Bad("an integer out of range")


def unpack(data: bytes) -> Any:
    value, end = _unpack(data, 0)
    if end != len(data):
        raise Bad("something follows")
    return value


_NUMBERS = {
    0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_LENGTHS = {
    0xD9: (">B", "str"), 0xDA: (">H", "str"), 0xDB: (">I", "str"), 0xC4: (">B", "bin"), 0xC5: (">H", "bin"),
    0xC6: (">I", "bin"), 0xDC: (">H", "array"), 0xDD: (">I", "array"), 0xDE: (">H", "map"), 0xDF: (">I", "map"),
}  # fmt: skip


def _unpack(data: bytes, at: int) -> tuple[Any, int]:
    try:
        tag, at = data[at], at + 1
        if tag <= 0x7F or tag >= 0xE0:
            return tag if tag <= 0x7F else tag - 256, at
        if tag in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[tag], at
        if tag in _NUMBERS:
            code = _NUMBERS[tag]
            return struct.unpack_from(code, data, at)[0], at + struct.calcsize(code)
        if tag in _LENGTHS:
            code, kind = _LENGTHS[tag]
            length, at = struct.unpack_from(code, data, at)[0], at + struct.calcsize(code)
        elif tag <= 0xBF:
            kind = "map" if tag <= 0x8F else "array" if tag <= 0x9F else "str"
            length = tag & (0x1F if kind == "str" else 0x0F)
        else:
            raise Bad(f"tag {tag:#x} does not go over the link")
    except (IndexError, struct.error):
        raise Bad("cut off") from None
    return _unpack_many(data, at, kind, length)


def _unpack_many(data: bytes, at: int, kind: str, length: int) -> tuple[Any, int]:
    if kind in ("str", "bin"):
        raw = data[at : at + length]
        if len(raw) < length:
            raise Bad("cut off")
        return raw.decode() if kind == "str" else raw, at + length
    items = []
    for _ in range(length * (2 if kind == "map" else 1)):
        item, at = _unpack(data, at)
        items.append(item)
    if kind == "array":
        return items, at
    if len(set(items[::2])) < length:
        raise Bad("a key comes twice")
    return dict(zip(items[::2], items[1::2], strict=True)), at


def frame(payload: bytes) -> bytes:
    if not 1 <= len(payload) <= 65536:
        raise Bad("no frame")
    return prefixed(payload)


# The configuration code.

SECTIONS = ("hardware", "firmware", "base_software", "catalogue_items")


def quantised(mib: int) -> int:
    steps = sorted({0, *(2**n for n in range(40)), *(3 * 2**n for n in range(40))})
    return min(steps, key=lambda step: (abs(step - mib), -step)) if mib else 0


def canonical(entries: dict[str, str]) -> bytes:
    pairs = sorted((key.encode(), value.encode()) for key, value in entries.items())
    return b"TGS1" + b"".join(prefixed(key) + prefixed(value) for key, value in pairs)


def section_digest(name: str, data: bytes) -> bytes:
    return hashlib.sha256(prefixed(name.encode()) + data).digest()


def configuration_code(digests: dict[str, bytes]) -> bytes:
    whole = b"TGC1" + b"".join(prefixed(name.encode()) + digests[name] for name in SECTIONS)
    return hashlib.sha256(whole).digest()


# Signatures.


def to_sign(purpose: str, document: bytes) -> bytes:
    return b"tollgate " + purpose.encode() + b" 1\0" + document


def logon_document(nonce: bytes, terminal: str, server: str, binding: str, data: bytes) -> bytes:
    return nonce + b"".join(prefixed(part) for part in (terminal.encode(), server.encode(), binding.encode(), data))


def signed(key: Ed25519PrivateKey, purpose: str, document: Map) -> Map:
    raw = pack(document)
    return {"document": raw, "signature": key.sign(to_sign(purpose, raw))}


def opened(public_key: bytes, purpose: str, what: Map) -> Map:
    """The document of a signed one, once its signature holds; else ``InvalidSignature``."""
    key = Ed25519PublicKey.from_public_bytes(public_key)
    key.verify(what["signature"], to_sign(purpose, what["document"]))
    document: Map = unpack(what["document"])
    return document


def agreement_digest(quote: Map, confirmation: Map) -> bytes:
    parts = (quote["document"], quote["signature"], confirmation["document"], confirmation["signature"])
    return hashlib.sha256(b"TGA1" + b"".join(map(prefixed, parts))).digest()


# HPKE (RFC 9180): base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.

_KEM = b"KEM" + struct.pack(">H", 0x0020)
_SUITE = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, 0x0001)


def _extract(salt: bytes, suite: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + material, "sha256")


def _expand(secret: bytes, suite: bytes, label: bytes, info: bytes, length: int) -> bytes:
    # One block of HKDF is enough: nothing here is longer than 32 bytes.
    labelled = struct.pack(">H", length) + b"HPKE-v1" + suite + label + info
    return hmac.digest(secret, labelled + b"\1", "sha256")[:length]


def unwrap(wrapped: bytes, private: X25519PrivateKey, agreement: str) -> bytes:
    sent, ciphertext = wrapped[:32], wrapped[32:]
    shared = private.exchange(X25519PublicKey.from_public_bytes(sent))
    context = sent + private.public_key().public_bytes_raw()
    secret = _expand(_extract(b"", _KEM, b"eae_prk", shared), _KEM, b"shared_secret", context, 32)
    info = b"tollgate content key 1" + agreement.encode()
    schedule = b"\0" + _extract(b"", _SUITE, b"psk_id_hash", b"") + _extract(b"", _SUITE, b"info_hash", info)
    inner = _extract(secret, _SUITE, b"secret", b"")
    key, nonce = (_expand(inner, _SUITE, label, schedule, n) for label, n in ((b"key", 16), (b"base_nonce", 12)))
    return AESGCM(key).decrypt(nonce, ciphertext, b"")


# Sealed packages.


def key_id(content_key: bytes) -> bytes:
    return hashlib.sha256(b"tollgate content key id 1" + content_key).digest()


def open_package(package: bytes, content_key: bytes) -> bytes:
    header, body = package[:50], package[50:]
    magic, version, size, named, prefix = struct.unpack(">6sBI32s7s", header)
    if magic != b"TGSEAL" or version != 1 or not 1 <= size <= 4194304 or named != key_id(content_key):
        raise Bad("no package for this key")
    chunks = [body[start : start + size + 16] for start in range(0, len(body), size + 16)]
    if not chunks or (len(chunks) > 1 and len(chunks[-1]) == 16):
        raise Bad("no last chunk")
    cipher, plain = AESGCM(content_key), b""
    for number, chunk in enumerate(chunks):
        last = number == len(chunks) - 1
        try:
            plain += cipher.decrypt(prefix + u32(number) + bytes([last]), chunk, header)
        except (InvalidTag, ValueError):
            raise Bad(f"chunk {number} does not open") from None
    return plain
