"""Commands to a card and its status words (ETSI TS 102 221, clauses 10 and 11)."""

from __future__ import annotations

from typing import NamedTuple

from signalling.card.tlv import CardError

CLA_ISO, CLA_CAT = 0x00, 0x80
SELECT, READ_BINARY, UPDATE_BINARY, STATUS = 0xA4, 0xB0, 0xD6, 0xF2
TERMINAL_PROFILE, FETCH, TERMINAL_RESPONSE, ENVELOPE = 0x10, 0x12, 0x14, 0xC2

EF_ICCID = 0x2FE2

OK = 0x9000
BUSY = 0x9300
WRONG_LENGTH = 0x6700
NO_PRECISE_DIAGNOSIS = 0x6F00
CONDITIONS_NOT_MET = 0x6985
NOT_FOUND = 0x6A82
WRONG_PARAMETERS = 0x6A86
BAD_DATA = 0x6A80
NO_SUCH_INSTRUCTION = 0x6D00
NO_SUCH_CLASS = 0x6E00

MEANINGS = {
    OK: "done",
    BUSY: "the card is busy with a dialogue",
    WRONG_LENGTH: "wrong length",
    NO_PRECISE_DIAGNOSIS: "no precise diagnosis",
    CONDITIONS_NOT_MET: "conditions of use are not met",
    NOT_FOUND: "file not found",
    WRONG_PARAMETERS: "wrong parameters",
    BAD_DATA: "wrong data",
    NO_SUCH_INSTRUCTION: "no such instruction",
    NO_SUCH_CLASS: "no such class",
}


class ApduError(CardError):
    """Bytes that are no command."""


class Apdu(NamedTuple):
    """A command. ``expected``: how many bytes may come back, absent for none; 256 is coded as 00."""

    cla: int
    ins: int
    p1: int = 0
    p2: int = 0
    data: bytes = b""
    expected: int | None = None

    def encode(self) -> bytes:
        """The bytes on the interface (short form). Raises :class:`ApduError`."""
        if len(self.data) > 0xFF:
            raise ApduError(f"{len(self.data)} bytes of data do not fit into a short command")
        out = bytes((self.cla, self.ins, self.p1, self.p2))
        if self.data:
            out += bytes((len(self.data),)) + self.data
        if self.expected is not None:
            out += bytes((self.expected & 0xFF,))
        return out


def decode_apdu(data: bytes) -> Apdu:
    """The command in these bytes. Raises :class:`ApduError`."""
    if len(data) < 4:
        raise ApduError(f"a command has at least 4 bytes, here are {len(data)}")
    head, body = (data[0], data[1], data[2], data[3]), data[4:]
    if not body:
        return Apdu(*head)
    length = body[0]
    if len(body) == 1:
        return Apdu(*head, expected=length or 256)
    if length == 0 or len(body) not in (1 + length, 2 + length):
        raise ApduError(f"{length} bytes of data are announced, {len(body) - 1} bytes follow")
    expected = (body[-1] or 256) if len(body) == 2 + length else None
    return Apdu(*head, body[1 : 1 + length], expected)


class Reply(NamedTuple):
    """What a card answers: data and status word."""

    data: bytes
    status: int

    @property
    def to_fetch(self) -> int | None:
        """How many bytes of a proactive command wait to be fetched; 91 00 announces 256."""
        return (self.status & 0xFF or 256) if self.status >> 8 == 0x91 else None

    @property
    def done(self) -> bool:
        """Whether the command was carried out."""
        return self.status == OK or self.status >> 8 == 0x91

    def encode(self) -> bytes:
        """The bytes on the interface."""
        return self.data + self.status.to_bytes(2, "big")


def decode_reply(data: bytes) -> Reply:
    """The answer in these bytes. Raises :class:`ApduError`."""
    if len(data) < 2:
        raise ApduError(f"an answer has at least 2 bytes, here are {len(data)}")
    return Reply(data[:-2], int.from_bytes(data[-2:], "big"))


def status_text(status: int) -> str:
    """What a status word means, in words."""
    if status >> 8 == 0x91:
        return f"done; a command of {status & 0xFF or 256} bytes waits to be fetched"
    return MEANINGS.get(status, "unknown status")


def swap_digits(digits: str, length: int | None = None) -> bytes:
    """Digits two a byte, low half first, filled with F, as ICCID, IMSI and numbers are stored."""
    if not digits.isascii() or not digits.isdigit():
        raise ApduError(f"{digits!r} has other characters than digits")
    padded = digits + "F" * ((2 * length if length else len(digits) + len(digits) % 2) - len(digits))
    return bytes(int(padded[at + 1] + padded[at], 16) for at in range(0, len(padded), 2))


def unswap_digits(data: bytes) -> str:
    """The digits again; an F ends them. Raises :class:`ApduError`."""
    text = "".join(f"{byte & 0xF:x}{byte >> 4:x}" for byte in data)
    digits, _, rest = text.partition("f")
    if rest.strip("f") or (digits and not digits.isdigit()):
        raise ApduError(f"{data.hex()} holds no digits")
    return digits
