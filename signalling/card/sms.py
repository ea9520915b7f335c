"""Short messages (3GPP TS 23.040): what a phone submits and is delivered, user data headers, concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

from signalling.card import text as texts
from signalling.card.apdu import swap_digits
from signalling.card.tlv import CardError

MAX_USER_DATA = 140
CONCAT_8, CONCAT_16, PORTS_8, PORTS_16 = 0x00, 0x08, 0x04, 0x05
COMMAND_PACKET, RESPONSE_PACKET = 0x70, 0x71
PID_SIM_DOWNLOAD, DCS_CARD = 0x7F, 0xF6
"""Protocol identifier of data for the card, and the coding of 8-bit data of class 2."""

DIGITS = "0123456789*#abc"
INTERNATIONAL = 0x91
_ALPHANUMERIC = 0x50


class SmsError(CardError):
    """A message that does not hold."""


class Element(NamedTuple):
    """An information element of a user data header."""

    id: int
    value: bytes


@dataclass(frozen=True, slots=True)
class UserData:
    """Header elements and data, as bytes."""

    elements: tuple[Element, ...] = ()
    data: bytes = b""

    def element(self, id: int) -> bytes | None:
        """The value of the last element of this kind, which counts where one comes twice."""
        return next((each.value for each in reversed(self.elements) if each.id == id), None)

    def header(self) -> bytes:
        """The header with its length; empty where there is no element. Raises :class:`SmsError`."""
        body = b"".join(bytes((each.id, len(each.value))) + each.value for each in self.elements)
        if len(body) > 0xFF:
            raise SmsError(f"a header of {len(body)} bytes does not fit")
        return bytes((len(body),)) + body if self.elements else b""

    def encode(self) -> bytes:
        """Header and data, at most 140 bytes. Raises :class:`SmsError`."""
        out = self.header() + self.data
        if len(out) > MAX_USER_DATA:
            raise SmsError(f"{len(out)} bytes do not fit into one message of {MAX_USER_DATA}")
        return out

    @property
    def part(self) -> Part | None:
        """Which part of a longer message this is; nonsense counts as none (TS 23.040, 9.2.3.24.1)."""
        for id, size in ((CONCAT_8, 1), (CONCAT_16, 2)):
            value = self.element(id)
            if value is not None and len(value) == size + 2:
                part = Part(int.from_bytes(value[:size], "big"), value[size], value[size + 1])
                if 1 <= part.number <= part.total:
                    return part
        return None

    @property
    def ports(self) -> tuple[int, int] | None:
        """Destination and origin port."""
        for id, size in ((PORTS_16, 2), (PORTS_8, 1)):
            value = self.element(id)
            if value is not None and len(value) == 2 * size:
                return int.from_bytes(value[:size], "big"), int.from_bytes(value[size:], "big")
        return None


class Part(NamedTuple):
    """Part ``number`` of ``total`` of the message with this reference."""

    reference: int
    total: int
    number: int


def ports_element(destination: int, origin: int) -> Element:
    """Application ports: 8 bits where both are of 240 to 255, else 16."""
    if 240 <= destination <= 255 and 240 <= origin <= 255:
        return Element(PORTS_8, bytes((destination, origin)))
    return Element(PORTS_16, destination.to_bytes(2, "big") + origin.to_bytes(2, "big"))


def decode_user_data(data: bytes, *, has_header: bool) -> UserData:
    """Header elements and data. Raises :class:`SmsError`."""
    if not has_header:
        return UserData((), data)
    if not data or 1 + data[0] > len(data):
        raise SmsError("the user data header is longer than the user data")
    header, elements, offset = data[1 : 1 + data[0]], [], 0
    while offset < len(header):
        if offset + 2 > len(header) or offset + 2 + header[offset + 1] > len(header):
            raise SmsError(f"the element at byte {offset} of the user data header is cut short")
        end = offset + 2 + header[offset + 1]
        elements.append(Element(header[offset], header[offset + 2 : end]))
        offset = end
    return UserData(tuple(elements), data[1 + data[0] :])


def split(elements: Sequence[Element], data: bytes, reference: int, *, wide: bool = False) -> list[UserData]:
    """One message, or as many as ``data`` needs; ``elements`` go with the first alone (TS 31.115, 4.1).

    ``reference`` binds the parts, 8 bits or with ``wide`` 16. Raises :class:`SmsError` for more than 255 parts.
    """
    whole = UserData(tuple(elements), data)
    if len(whole.header()) + len(data) <= MAX_USER_DATA:
        return [whole]
    blank = Element(CONCAT_16, bytes(4)) if wide else Element(CONCAT_8, bytes(3))
    first = MAX_USER_DATA - len(UserData((blank, *elements)).header())
    other = MAX_USER_DATA - len(UserData((blank,)).header())
    pieces = [data[:first], *(data[at : at + other] for at in range(first, len(data), other))]
    if len(pieces) > 0xFF:
        raise SmsError(f"{len(data)} bytes need {len(pieces)} messages, at most 255 can be joined")
    mark = reference.to_bytes(2, "big") if wide else bytes((reference & 0xFF,))
    return [
        UserData((Element(blank.id, mark + bytes((len(pieces), number))), *(elements if number == 1 else ())), piece)
        for number, piece in enumerate(pieces, 1)
    ]


class Reassembler:
    """Joins the parts of longer messages, by sender and reference.

    At most ``most`` messages wait at a time; the one that waits longest goes first. A part that does not agree with
    those before begins the message anew, since references come again.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._waiting: dict[tuple[str, int, int], dict[int, UserData]] = {}

    def add(self, sender: str, user_data: UserData) -> UserData | None:
        """The whole message where this part completes it."""
        part = user_data.part
        if part is None or part.total == 1:
            return user_data
        key = (sender, part.reference, part.total)
        parts = self._waiting.setdefault(key, {})
        if part.number in parts and parts[part.number] != user_data:
            parts.clear()
        parts[part.number] = user_data
        if len(parts) < part.total:
            while len(self._waiting) > self._most:
                del self._waiting[next(iter(self._waiting))]
            return None
        del self._waiting[key]
        ordered = [parts[number] for number in sorted(parts)]
        kept = tuple(each for each in ordered[0].elements if each.id not in (CONCAT_8, CONCAT_16))
        return UserData(kept, b"".join(each.data for each in ordered))


def encode_address(number: str) -> bytes:
    """An address field: length in digits, type, digits. ``+`` begins an international number. Raises an error."""
    digits = number.removeprefix("+")
    if not digits or len(digits) > 20 or any(char not in DIGITS for char in digits):
        raise SmsError(f"{number!r} is no number of 1 to 20 digits")
    kind = INTERNATIONAL if number.startswith("+") else 0x81
    if digits.isdigit():
        return bytes((len(digits), kind)) + swap_digits(digits)
    codes = [DIGITS.index(char) for char in digits] + ([0xF] if len(digits) % 2 else [])
    return bytes((len(digits), kind, *(codes[at + 1] << 4 | codes[at] for at in range(0, len(codes), 2))))


def _read_address(data: bytes, offset: int) -> tuple[str, int]:
    if offset + 2 > len(data):
        raise SmsError(f"the address at byte {offset} is cut short")
    length, kind = data[offset], data[offset + 1]
    end = offset + 2 + (length + 1) // 2
    if length > 20 or end > len(data):
        raise SmsError(f"the address at byte {offset} is cut short or longer than 20 digits")
    raw = data[offset + 2 : end]
    if kind & 0x70 == _ALPHANUMERIC:
        return texts.from_septets(texts.unpack(raw, length * 4 // 7)), end
    codes = [half for byte in raw for half in (byte & 0xF, byte >> 4)][:length]
    if 0xF in codes:
        raise SmsError(f"the address at byte {offset} has {codes.index(0xF)} digits, {length} are announced")
    return ("+" if kind & 0x70 == 0x10 else "") + "".join(DIGITS[code] for code in codes), end


@dataclass(frozen=True, slots=True)
class Submit:
    """SMS-SUBMIT: what a phone sends. ``dcs`` tells how ``content`` is coded."""

    to: str
    content: UserData
    reference: int = 0
    pid: int = 0
    dcs: int = 0xF6
    receipt: bool = False

    def encode(self) -> bytes:
        """The TPDU. Raises :class:`CardError`."""
        flags = 0x01 | (0x40 if self.content.elements else 0) | (0x20 if self.receipt else 0)
        data = self.content.encode()
        head = bytes((flags, self.reference)) + encode_address(self.to) + bytes((self.pid, self.dcs))
        return head + _with_length(data, self.content, self.dcs)


@dataclass(frozen=True, slots=True)
class Deliver:
    """SMS-DELIVER: what a phone receives. ``at``: when the service centre took it, to the second."""

    sender: str
    content: UserData
    at: datetime
    pid: int = 0
    dcs: int = 0xF6
    more: bool = False

    def encode(self) -> bytes:
        """The TPDU. Raises :class:`CardError`."""
        flags = (0x40 if self.content.elements else 0) | (0 if self.more else 0x04)
        data = self.content.encode()
        head = bytes((flags,)) + encode_address(self.sender) + bytes((self.pid, self.dcs)) + encode_time(self.at)
        return head + _with_length(data, self.content, self.dcs)


def _is_seven_bit(dcs: int) -> bool:
    if dcs & 0xC0 == 0:
        return dcs & 0x0C == 0
    return dcs & 0xF0 in (0xC0, 0xD0) or (dcs & 0xF0 == 0xF0 and not dcs & 0x04)


def _with_length(data: bytes, content: UserData, dcs: int) -> bytes:
    if not _is_seven_bit(dcs):
        return bytes((len(data),)) + data
    # The septets are in ``content.data`` already packed behind the header's fill bits; their number is the length.
    return bytes((len(data) * 8 // 7,)) + data


def text_content(text: str, elements: tuple[Element, ...] = ()) -> tuple[UserData, int]:
    """A text as user data and the coding that it needs: 7-bit packed, or UCS2 in UserData's 8-bit form.

    Raises :class:`CardError` where it does not fit into one message.
    """
    if not texts.in_alphabet(text):
        content = UserData(elements, text.encode("utf-16-be", "replace"))
        content.encode()
        return content, 0x08
    septets = texts.to_septets(text)
    header = len(UserData(elements).header())
    fill = -8 * header % 7
    if (8 * header + fill) // 7 + len(septets) > 160:
        raise SmsError(f"{len(septets)} septets do not fit into one message")
    return UserData(elements, texts.pack(septets, fill)), 0x00


def content_text(message: Submit | Deliver) -> str:
    """The text of a message. Raises :class:`CardError` for data."""
    content, dcs = message.content, message.dcs
    if _is_seven_bit(dcs):
        fill = -8 * len(content.header()) % 7
        septets = texts.unpack(content.data, (8 * len(content.data) - fill) // 7, fill)
        spare = 8 * len(content.data) - fill - 7 * len(septets)
        return texts.from_septets(septets[:-1] if septets.endswith(b"\x00") and spare == 0 else septets)
    if dcs & 0x0C == 0x08 and dcs & 0xC0 == 0:
        return texts.decode_text_string(b"\x08" + content.data)
    raise SmsError(f"coding {dcs:02X} is data, not text")


def encode_time(at: datetime) -> bytes:
    """A service centre time stamp, to the second, in the zone of ``at``."""
    offset = at.utcoffset() or timedelta()
    quarters = abs(int(offset.total_seconds())) // 900
    fields = (at.year % 100, at.month, at.day, at.hour, at.minute, at.second, quarters)
    out = bytearray((value % 10) << 4 | value // 10 for value in fields)
    if offset < timedelta():
        out[6] |= 0x08
    return bytes(out)


def decode_time(data: bytes) -> datetime:
    """The instant of a time stamp of 7 bytes; years from 2000. Raises :class:`SmsError`."""
    try:
        year, month, day, hour, minute, second = ((byte & 0xF) * 10 + (byte >> 4) for byte in data[:6])
        quarters = (data[6] & 0x7) * 10 + (data[6] >> 4)
        sign = -1 if data[6] & 0x08 else 1
        zone = timezone(sign * timedelta(minutes=15 * quarters))
        return datetime(2000 + year, month, day, hour, minute, second, tzinfo=zone).astimezone(UTC)
    except (ValueError, IndexError, OverflowError):
        raise SmsError(f"{data.hex()} is no time stamp") from None


def decode_submit(tpdu: bytes) -> Submit:
    """The SMS-SUBMIT in these bytes. Raises :class:`CardError`."""
    if len(tpdu) < 2 or tpdu[0] & 0x03 != 0x01:
        raise SmsError("this is no SMS-SUBMIT")
    to, offset = _read_address(tpdu, 2)
    pid, dcs, offset = _read_codes(tpdu, offset)
    offset += {0x00: 0, 0x10: 1, 0x08: 7, 0x18: 7}[tpdu[0] & 0x18]
    content = _read_user_data(tpdu, offset, dcs, has_header=bool(tpdu[0] & 0x40))
    return Submit(to, content, tpdu[1], pid, dcs, bool(tpdu[0] & 0x20))


def decode_deliver(tpdu: bytes) -> Deliver:
    """The SMS-DELIVER in these bytes. Raises :class:`CardError`."""
    if not tpdu or tpdu[0] & 0x03 != 0x00:
        raise SmsError("this is no SMS-DELIVER")
    sender, offset = _read_address(tpdu, 1)
    pid, dcs, offset = _read_codes(tpdu, offset)
    at = decode_time(tpdu[offset : offset + 7])
    content = _read_user_data(tpdu, offset + 7, dcs, has_header=bool(tpdu[0] & 0x40))
    return Deliver(sender, content, at, pid, dcs, not tpdu[0] & 0x04)


def _read_codes(tpdu: bytes, offset: int) -> tuple[int, int, int]:
    if offset + 2 > len(tpdu):
        raise SmsError("the message ends before its coding")
    return tpdu[offset], tpdu[offset + 1], offset + 2


def _read_user_data(tpdu: bytes, offset: int, dcs: int, *, has_header: bool) -> UserData:
    if offset >= len(tpdu):
        raise SmsError("the message ends before its user data")
    length = tpdu[offset]
    size = (length * 7 + 7) // 8 if _is_seven_bit(dcs) else length
    data = tpdu[offset + 1 : offset + 1 + size]
    if len(data) != size or size > MAX_USER_DATA or offset + 1 + size != len(tpdu):
        raise SmsError(f"{size} bytes of user data are announced, {len(tpdu) - offset - 1} are there")
    content = decode_user_data(data, has_header=has_header)
    return replace(content)
