"""Texts on cards and in messages: the GSM 7-bit default alphabet with its extension (3GPP TS 23.038), UCS2, and alpha
identifiers (ETSI TS 102 221, annex A)."""

from __future__ import annotations

import codecs

from signalling.card.tlv import CardError

ESCAPE = 0x1B
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = {
    0x0A: "\f", 0x14: "^", 0x28: "{", 0x29: "}", 0x2F: "\\", 0x3C: "[", 0x3D: "~", 0x3E: "]", 0x40: "|", 0x65: "€",
}  # fmt: skip
_SEPTETS: dict[str, bytes] = {
    **{char: bytes((code,)) for code, char in enumerate(_BASIC) if code != ESCAPE},
    **{char: bytes((ESCAPE, code)) for code, char in _EXTENSION.items()},
}

_ENCODE = codecs.charmap_build(_BASIC.replace("\x1b", "\ufffe") + "\ufffe" * 128)
"""The basic table alone, for the library's own loop: most texts need no more."""

PACKED, UNPACKED, UCS2 = 0x00, 0x04, 0x08
"""Data coding schemes of a text string: 7-bit packed, 8-bit (the default alphabet, a byte a septet), UCS2."""


class TextError(CardError):
    """A text that has no coding here, or bytes that are no text."""


def in_alphabet(text: str) -> bool:
    """Whether the GSM default alphabet with its extension has every character."""
    return all(char in _SEPTETS for char in text)


def to_septets(text: str) -> bytes:
    """A byte a septet. Raises :class:`TextError` for a character that the alphabet does not have."""
    try:
        return codecs.charmap_encode(text, "strict", _ENCODE)[0]
    except UnicodeEncodeError:
        pass
    try:
        return b"".join([_SEPTETS[char] for char in text])
    except KeyError as missing:
        raise TextError(f"the GSM default alphabet has no {missing.args[0]!r}") from None


def from_septets(septets: bytes) -> str:
    """The text of these septets; what the extension table does not have shows as the basic table's character."""
    if ESCAPE not in septets and septets.isascii():
        return codecs.charmap_decode(septets, "strict", _BASIC)[0]
    out: list[str] = []
    escaped = False
    for code in septets:
        if code > 0x7F:
            raise TextError(f"byte {code:02X} is no septet")
        if escaped:
            out.append(" " if code == ESCAPE else _EXTENSION.get(code, _BASIC[code]))
            escaped = False
        elif code == ESCAPE:
            escaped = True
        else:
            out.append(_BASIC[code])
    return "".join(out) + (" " if escaped else "")


def pack(septets: bytes, fill: int = 0) -> bytes:
    """Septets seven bits each, after ``fill`` bits of zero."""
    bits = 0
    for number, septet in enumerate(septets):
        bits |= septet << (fill + 7 * number)
    return bits.to_bytes((fill + 7 * len(septets) + 7) // 8, "little")


def unpack(data: bytes, count: int, fill: int = 0) -> bytes:
    """``count`` septets after ``fill`` bits. Raises :class:`TextError` where fewer are there."""
    if fill + 7 * count > 8 * len(data):
        raise TextError(f"{count} septets are announced, {len(data)} bytes are there")
    bits = int.from_bytes(data, "little") >> fill
    return bytes([(bits >> (7 * number)) & 0x7F for number in range(count)])


def encode_text_string(text: str, *, packed: bool = False) -> bytes:
    """A text string object's value: coding scheme and text; UCS2 where the default alphabet does not do.

    Seven spare bits of a packed text are filled with a carriage return, so that they do not read as ``@``.
    """
    if not text:
        return b""
    if not in_alphabet(text):
        return bytes((UCS2,)) + _ucs2(text)
    septets = to_septets(text)
    if not packed:
        return bytes((UNPACKED,)) + septets
    if len(septets) % 8 == 7 or (len(septets) % 8 == 0 and septets.endswith(b"\r")):
        septets += b"\r"
    return bytes((PACKED,)) + pack(septets)


def decode_text_string(value: bytes) -> str:
    """The text of a text string object. Raises :class:`TextError`."""
    if not value:
        return ""
    scheme, data = value[0], value[1:]
    alphabet = scheme & 0x0C if scheme < 0x40 or scheme >= 0xF0 else -1
    if alphabet == PACKED:
        septets = unpack(data, len(data) * 8 // 7)
        if septets and len(septets) % 8 == 0 and septets.endswith(b"\r"):
            septets = septets[:-1]
        return from_septets(septets)
    if alphabet == UNPACKED:
        return from_septets(data)
    if alphabet == UCS2:
        return _from_ucs2(data)
    raise TextError(f"coding scheme {scheme:02X} is not used for texts")


def encode_alpha(text: str) -> bytes:
    """An alpha identifier: the default alphabet, or the shortest of the three UCS2 forms. Raises :class:`TextError`."""
    try:
        return to_septets(text)
    except TextError:
        pass
    forms = [b"\x80" + _ucs2(text)]
    # Of the default alphabet the shorter forms have the basic table alone: a character is to be a byte in them.
    others = [ord(char) for char in text if len(_SEPTETS.get(char, b"12")) > 1]
    low, high = min(others), max(others)
    if len(text) <= 0xFF and high <= 0xFFFF:
        if low >> 7 == high >> 7 and low >> 7 <= 0xFF:
            forms.append(bytes((0x81, len(text), low >> 7)) + _based(text, (low >> 7) << 7))
        if high - low < 0x80:
            forms.append(bytes((0x82, len(text), low >> 8, low & 0xFF)) + _based(text, low))
    return min(forms, key=len)


def decode_alpha(value: bytes) -> str:
    """The text of an alpha identifier; trailing FF is padding. Raises :class:`TextError`."""
    if not value or value[0] not in (0x80, 0x81, 0x82):
        return from_septets(value.rstrip(b"\xff"))
    if value[0] == 0x80:
        data = value[1:]
        return _from_ucs2(data[: len(data) & ~1])
    start = 3 if value[0] == 0x81 else 4
    if len(value) < start:
        raise TextError(f"an alpha identifier of form {value[0]:02X} has at least {start} bytes, here are {len(value)}")
    base = value[2] << 7 if value[0] == 0x81 else value[2] << 8 | value[3]
    count, data = value[1], value[start:]
    if count > len(data):
        raise TextError(f"{count} characters are announced, {len(data)} are there")
    out: list[str] = []
    plain = bytearray()
    for code in data[:count]:
        if code < 0x80:
            plain.append(code)
            continue
        out.append(from_septets(bytes(plain)))
        plain.clear()
        out.append(_character(base + (code & 0x7F)))
    return "".join(out) + from_septets(bytes(plain))


def _based(text: str, base: int) -> bytes:
    plain = {char: code for char, code in _SEPTETS.items() if len(code) == 1}
    return b"".join([plain.get(char) or bytes((0x80 | ord(char) - base,)) for char in text])


def _character(code: int) -> str:
    return "\ufffd" if 0xD800 <= code < 0xE000 or code > 0xFFFF else chr(code)


def _ucs2(text: str) -> bytes:
    return text.encode("utf-16-be", "replace")


def _from_ucs2(data: bytes) -> str:
    if len(data) % 2:
        raise TextError(f"{len(data)} bytes are no UCS2 text, which has two a character")
    return data.decode("utf-16-be", "replace")
