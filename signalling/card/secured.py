"""Secured packets: data for and from a card that nobody between can read, alter or send again (ETSI TS 102 225).

A command packet, as it stands behind the user data header (lengths big-endian; the CC covers all but itself, with
the padding; what stands right of the bar is ciphered, AES-CBC with an IV of zeros)::

    CPL(2) CHL(1) SPI(2) KIc(1) KID(1) TAR(3) | CNTR(5) PCNTR(1) CC(8) data padding

A response packet is the proof of receipt; its CC covers ``027100``, the user data header in front of it, as well
(3GPP TS 31.115, 4.2)::

    RPL(2) RHL(1) TAR(3) | CNTR(5) PCNTR(1) status(1) CC(8) data padding
"""

from __future__ import annotations

import hmac
import zlib
from dataclasses import dataclass
from enum import IntEnum

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from signalling.card.tlv import CardError

AES = 0x02
"""Low half of KIc for AES in CBC mode, and of KID for AES-CMAC; the high half is the number of the key."""

BLOCK = 16
CC_BYTES, RC_BYTES = 8, 4
COUNTER_MAX = 2**40 - 1
_PLAIN_HEADER = 10
_RESPONSE_HEADER = 6
_RESPONSE_COVER = bytes.fromhex("027100")


class Check(IntEnum):
    """How integrity is kept (SPI, first byte, bits 1 and 2)."""

    NONE = 0
    RC = 1
    CC = 2
    DS = 3


class Counting(IntEnum):
    """How the counter is looked at (SPI, first byte, bits 4 and 5)."""

    NONE = 0
    UNCHECKED = 1
    HIGHER = 2
    NEXT = 3


class Status(IntEnum):
    """What became of a packet (response status code)."""

    OK = 0x00
    CC_FAILED = 0x01
    COUNTER_LOW = 0x02
    COUNTER_HIGH = 0x03
    COUNTER_BLOCKED = 0x04
    CIPHER_ERROR = 0x05
    UNKNOWN_ERROR = 0x06
    NO_MEMORY = 0x07
    MORE_TIME = 0x08
    TAR_UNKNOWN = 0x09
    SECURITY_LEVEL = 0x0A


class PacketError(CardError):
    """Bytes that are no secured packet."""


class PacketRefused(CardError):
    """A packet that is not accepted. ``status``: what the sender is told; ``counter``: the packet's, if it is known."""

    def __init__(self, status: Status, reason: str, counter: int = 0) -> None:
        super().__init__(reason)
        self.status = status
        self.counter = counter


@dataclass(frozen=True, slots=True)
class Security:
    """What the two bytes of the SPI say.

    ``receipt``: 0 no proof of receipt, 1 always, 2 on an error; ``receipt_check``, ``receipt_ciphered``: how it is
    secured; ``by_submit``: it comes as a message of its own.
    """

    check: Check = Check.CC
    ciphered: bool = True
    counting: Counting = Counting.HIGHER
    receipt: int = 1
    receipt_check: Check = Check.CC
    receipt_ciphered: bool = True
    by_submit: bool = True

    def encode(self) -> bytes:
        """The SPI."""
        one = self.check | (0x04 if self.ciphered else 0) | self.counting << 3
        two = self.receipt | self.receipt_check << 2
        return bytes((one, two | (0x10 if self.receipt_ciphered else 0) | (0x20 if self.by_submit else 0)))


def decode_security(spi: bytes) -> Security:
    """The meaning of an SPI. Raises :class:`PacketError`."""
    one, two = spi
    if one & 0xE0 or two & 0xC0 or two & 0x03 == 3:
        raise PacketError(f"SPI {spi.hex()} uses what is reserved")
    return Security(
        Check(one & 3), bool(one & 4), Counting(one >> 3 & 3), two & 3, Check(two >> 2 & 3), bool(two & 0x10),
        bool(two & 0x20),
    )  # fmt: skip


LEAST = Security()
"""What is asked of every packet here: cryptographic checksum, ciphered, a counter that rises."""


@dataclass(frozen=True, slots=True)
class PacketKeys:
    """The two keys of one number (1 to 15), 16 or 32 bytes each: for ciphering (KIc) and for checksums (KID)."""

    number: int
    kic: bytes
    kid: bytes

    def key_bytes(self) -> tuple[int, int]:
        """KIc and KID as they stand in a header."""
        return self.number << 4 | AES, self.number << 4 | AES


@dataclass(frozen=True, slots=True)
class CommandHeader:
    """What can be read of a command packet without keys: where it is for, and which keys open it."""

    security: Security
    kic: int
    kid: int
    tar: bytes

    @property
    def key_number(self) -> int:
        """The number of the keys."""
        return self.kid >> 4


@dataclass(frozen=True, slots=True)
class CommandPacket:
    """A command packet, opened."""

    header: CommandHeader
    counter: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ResponsePacket:
    """A proof of receipt, opened. ``counter`` is that of the packet which it answers."""

    tar: bytes
    counter: int
    status: int
    data: bytes


def seal_command(data: bytes, keys: PacketKeys, tar: bytes, counter: int, security: Security = LEAST) -> bytes:
    """A command packet. Raises :class:`PacketError` for what has no coding."""
    kic, kid = keys.key_bytes()
    return _seal(_command_head(security, kic, kid, tar), counter, b"", data, keys, security.check, security.ciphered)


def _command_head(security: Security, kic: int, kid: int, tar: bytes) -> bytes:
    if len(tar) != 3:
        raise PacketError("a TAR has 3 bytes")
    header_length = 13 + _check_length(security.check)
    return bytes((header_length,)) + security.encode() + bytes((kic, kid)) + tar


def read_command_header(packet: bytes) -> CommandHeader:
    """What stands in clear at the beginning of a command packet. Raises :class:`PacketError`."""
    if len(packet) < _PLAIN_HEADER:
        raise PacketError(f"a command packet has at least {_PLAIN_HEADER} bytes, here are {len(packet)}")
    length = int.from_bytes(packet[:2], "big")
    if length != len(packet) - 2:
        raise PacketError(f"{length} bytes are announced, {len(packet) - 2} are there")
    security = decode_security(packet[3:5])
    if packet[2] != 13 + _check_length(security.check):
        raise PacketError(f"a header of {packet[2]} bytes does not go with SPI {packet[3:5].hex()}")
    return CommandHeader(security, packet[5], packet[6], packet[7:10])


def open_command(packet: bytes, keys: PacketKeys, last_counter: int, least: Security = LEAST) -> CommandPacket:
    """The packet, checked: security level, cipher, checksum, and a counter above ``last_counter``.

    Raises :class:`PacketError` for what is no packet, :class:`PacketRefused` for one that is not accepted.
    """
    header = read_command_header(packet)
    security = header.security
    weak = (
        security.check < least.check
        or security.check is Check.DS
        or (least.ciphered and not security.ciphered)
        or security.counting < least.counting
    )
    wanted = keys.key_bytes()
    if weak or (security.ciphered and header.kic != wanted[0]) or (security.check and header.kid != wanted[1]):
        raise PacketRefused(
            Status.SECURITY_LEVEL, f"SPI {packet[3:5].hex()}, KIc {header.kic:02X}, KID {header.kid:02X} do not do here"
        )
    counter, _, data = _open(packet, _PLAIN_HEADER, 0, keys, security.check, security.ciphered)
    if security.counting >= Counting.HIGHER:
        if counter <= last_counter:
            raise PacketRefused(Status.COUNTER_LOW, f"counter {counter} came after {last_counter}", counter)
        if security.counting is Counting.NEXT and counter != last_counter + 1:
            raise PacketRefused(Status.COUNTER_HIGH, f"counter {counter} does not follow {last_counter}", counter)
        if counter == COUNTER_MAX:
            raise PacketRefused(Status.COUNTER_BLOCKED, "the counter has come to its end")
    return CommandPacket(header, counter, data)


def seal_response(
    status: int, counter: int, tar: bytes, keys: PacketKeys, security: Security = LEAST, data: bytes = b""
) -> bytes:
    """The proof of receipt of the packet with this counter, secured as its ``security`` asks."""
    head = bytes((10 + _check_length(security.receipt_check),)) + tar
    return _seal(head, counter, bytes((status,)), data, keys, security.receipt_check, security.receipt_ciphered)


def open_response(packet: bytes, keys: PacketKeys, security: Security = LEAST) -> ResponsePacket:
    """The proof of receipt, checked. Raises :class:`PacketError` and :class:`PacketRefused`."""
    if len(packet) < _RESPONSE_HEADER:
        raise PacketError(f"a response packet has at least {_RESPONSE_HEADER} bytes, here are {len(packet)}")
    length = int.from_bytes(packet[:2], "big")
    if length != len(packet) - 2 or packet[2] != 10 + _check_length(security.receipt_check):
        raise PacketError("the lengths of a response packet do not hold")
    counter, status, data = _open(packet, _RESPONSE_HEADER, 1, keys, security.receipt_check, security.receipt_ciphered)
    return ResponsePacket(packet[3:6], counter, status[0], data)


def _cover(extra: bytes) -> bytes:
    """What a checksum covers in front of the packet; ``extra``: the status, which a response alone has."""
    return _RESPONSE_COVER if extra else b""


def _check_length(check: Check) -> int:
    return {Check.NONE: 0, Check.RC: RC_BYTES, Check.CC: CC_BYTES, Check.DS: CC_BYTES}[check]


def _seal(
    head: bytes, counter: int, extra: bytes, data: bytes, keys: PacketKeys, check: Check, ciphered: bool
) -> bytes:
    """``head`` without the packet's length, then what may be ciphered."""
    if not 0 <= counter <= COUNTER_MAX:
        raise PacketError(f"counter {counter} has more than five bytes")
    if check is Check.DS:
        raise PacketError("digital signatures are not made here")
    size = 6 + len(extra) + _check_length(check) + len(data)
    padding = -size % BLOCK if ciphered else 0
    total = len(head) + size + padding
    if total > 0xFFFF:
        raise PacketError(f"{len(data)} bytes do not fit into one packet")
    head = total.to_bytes(2, "big") + head
    front, rest = counter.to_bytes(5, "big") + bytes((padding,)) + extra, data + bytes(padding)
    body = front + _checksum(check, keys.kid, _cover(extra) + head + front + rest) + rest
    return head + (_cipher(keys.kic, body, decrypt=False) if ciphered else body)


def _open(
    packet: bytes, start: int, extra: int, keys: PacketKeys, check: Check, ciphered: bool
) -> tuple[int, bytes, bytes]:
    """Counter, what stands between it and the checksum, data."""
    head, body = packet[:start], packet[start:]
    if ciphered:
        if len(body) % BLOCK or not body:
            raise PacketRefused(Status.CIPHER_ERROR, f"{len(body)} ciphered bytes are no whole blocks")
        body = _cipher(keys.kic, body, decrypt=True)
    begin = 6 + extra
    behind = begin + _check_length(check)
    if len(body) < behind:
        raise PacketError(f"{len(body)} bytes are too few for counter and checksum")
    front, given, rest = body[:begin], body[begin:behind], body[behind:]
    if not hmac.compare_digest(given, _checksum(check, keys.kid, _cover(front[6:]) + head + front + rest)):
        raise PacketRefused(Status.CC_FAILED, "the checksum does not hold")
    padding = front[5]
    if padding > len(rest) or padding >= BLOCK:
        raise PacketRefused(Status.CIPHER_ERROR, f"{padding} bytes of padding are announced")
    return int.from_bytes(front[:5], "big"), front[6:], rest[: len(rest) - padding]


def _checksum(check: Check, key: bytes, covered: bytes) -> bytes:
    if check is Check.CC:
        mac = CMAC(algorithms.AES(key))
        mac.update(covered)
        return mac.finalize()[:CC_BYTES]
    return zlib.crc32(covered).to_bytes(RC_BYTES, "big") if check is Check.RC else b""


def _cipher(key: bytes, data: bytes, *, decrypt: bool) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CBC(bytes(BLOCK)))
    work = cipher.decryptor() if decrypt else cipher.encryptor()
    return work.update(data) + work.finalize()
