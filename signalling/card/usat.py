"""Proactive commands, their answers, and envelopes (ETSI TS 102 223; 3GPP TS 31.111).

A card cannot begin to speak. It answers some command with status 91xx, the phone fetches a proactive command, carries
it out with its user, and gives back a terminal response; by an envelope the phone tells of a choice in the card's menu
or of a message that came for the card.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, NamedTuple

from signalling.card import text as texts
from signalling.card.apdu import swap_digits, unswap_digits
from signalling.card.tlv import CardError, Tlv, TlvError, decode, decode_ber, encode, encode_ber, first, require

PROACTIVE, SMS_PP, MENU_SELECTION = 0xD0, 0xD1, 0xD3
MAX_COMMAND = 256
"""Bytes that a status word can announce, and so the longest proactive command."""


class Device(IntEnum):
    """Who speaks, to whom."""

    KEYPAD = 0x01
    DISPLAY = 0x02
    CARD = 0x81
    TERMINAL = 0x82
    NETWORK = 0x83


class Tag(IntEnum):
    """Tags of the objects, without the comprehension bit."""

    COMMAND_DETAILS = 0x01
    DEVICES = 0x02
    RESULT = 0x03
    ALPHA = 0x05
    ADDRESS = 0x06
    TPDU = 0x0B
    TEXT = 0x0D
    ITEM = 0x0F
    ITEM_ID = 0x10
    RESPONSE_LENGTH = 0x11
    FILES = 0x12
    LOCATION = 0x13
    IMEI = 0x14
    HELP = 0x15
    DEFAULT_TEXT = 0x17
    LANGUAGE = 0x2D


class Result(IntEnum):
    """General results of a command."""

    OK = 0x00
    PARTIAL = 0x01
    MISSING_INFORMATION = 0x02
    SESSION_ENDED = 0x10
    BACK = 0x11
    NO_RESPONSE = 0x12
    HELP = 0x13
    TERMINAL_BUSY = 0x20
    NETWORK_BUSY = 0x21
    USER_REFUSED = 0x22
    BEYOND_CAPABILITY = 0x30
    TYPE_NOT_UNDERSTOOD = 0x31
    DATA_NOT_UNDERSTOOD = 0x32
    NUMBER_UNKNOWN = 0x33
    SMS_ERROR = 0x35
    VALUES_MISSING = 0x36


RESULT_TEXTS = {
    0x00: "performed", 0x01: "performed, with partial comprehension", 0x02: "performed, with missing information",
    0x10: "the user ended the session", 0x11: "the user went back", 0x12: "no answer from the user",
    0x13: "the user asks for help", 0x20: "the phone is busy", 0x21: "the network is busy",
    0x22: "the user refused", 0x30: "beyond the phone's abilities", 0x31: "type of command not understood",
    0x32: "data not understood", 0x33: "number of command not known", 0x35: "the message was not sent",
    0x36: "values are missing",
}  # fmt: skip


class CommandError(CardError):
    """A command, an answer or an envelope that does not hold."""


class Item(NamedTuple):
    """A line of a menu; ``id`` from 1 to 255."""

    id: int
    text: str


class Command:
    """Base of the proactive commands: ``TYPE`` as in command details, ``to``: whom it addresses."""

    TYPE: ClassVar[int]
    NAME: ClassVar[str]
    to: ClassVar[Device] = Device.TERMINAL

    def qualifier(self) -> int:
        """The qualifier of its command details."""
        return 0

    def objects(self) -> list[Tlv]:
        """What follows details and devices. Raises :class:`CardError`."""
        return []


def _alpha(text: str) -> list[Tlv]:
    return [Tlv(Tag.ALPHA, texts.encode_alpha(text))] if text else []


def _items(items: tuple[Item, ...]) -> list[Tlv]:
    return [Tlv(Tag.ITEM, bytes((item.id,)) + texts.encode_alpha(item.text)) for item in items]


@dataclass(frozen=True, slots=True)
class SetUpMenu(Command):
    """Put the card's own lines into the phone's menu; no line takes the menu away."""

    TYPE, NAME = 0x25, "SET UP MENU"
    title: str
    items: tuple[Item, ...]
    help: bool = False

    def qualifier(self) -> int:
        return 0x80 if self.help else 0

    def objects(self) -> list[Tlv]:
        return [Tlv(Tag.ALPHA, texts.encode_alpha(self.title)), *(_items(self.items) or [Tlv(Tag.ITEM, b"")])]


@dataclass(frozen=True, slots=True)
class SelectItem(Command):
    """Let the user choose one line. ``default``: the line that is marked at first."""

    TYPE, NAME = 0x24, "SELECT ITEM"
    title: str
    items: tuple[Item, ...]
    default: int | None = None
    help: bool = False

    def qualifier(self) -> int:
        return 0x80 if self.help else 0

    def objects(self) -> list[Tlv]:
        marked = [] if self.default is None else [Tlv(Tag.ITEM_ID, bytes((self.default,)))]
        return [*_alpha(self.title), *_items(self.items), *marked]


@dataclass(frozen=True, slots=True)
class DisplayText(Command):
    """Show a text; ``wait``: until the user clears it. An urgent one may interrupt what the phone shows."""

    TYPE, NAME, to = 0x21, "DISPLAY TEXT", Device.DISPLAY
    text: str
    urgent: bool = False
    wait: bool = True
    packed: bool = False

    def qualifier(self) -> int:
        return (0x01 if self.urgent else 0) | (0x80 if self.wait else 0)

    def objects(self) -> list[Tlv]:
        return [Tlv(Tag.TEXT, texts.encode_text_string(self.text, packed=self.packed))]


@dataclass(frozen=True, slots=True)
class GetInkey(Command):
    """Ask for one key: a digit, a character, or yes and no."""

    TYPE, NAME = 0x22, "GET INKEY"
    text: str
    characters: bool = False
    yes_no: bool = False
    help: bool = False

    def qualifier(self) -> int:
        return (0x01 if self.characters else 0) | (0x04 if self.yes_no else 0) | (0x80 if self.help else 0)

    def objects(self) -> list[Tlv]:
        return [Tlv(Tag.TEXT, texts.encode_text_string(self.text))]


@dataclass(frozen=True, slots=True)
class GetInput(Command):
    """Ask for a line of ``least`` to ``most`` characters, digits alone unless ``characters``."""

    TYPE, NAME = 0x23, "GET INPUT"
    text: str
    least: int = 0
    most: int = 20
    characters: bool = False
    hide: bool = False
    packed: bool = False
    help: bool = False
    default: str = ""

    def qualifier(self) -> int:
        flags = ((0x01, self.characters), (0x04, self.hide), (0x08, self.packed), (0x80, self.help))
        return sum(bit for bit, wanted in flags if wanted)

    def objects(self) -> list[Tlv]:
        objects = [
            Tlv(Tag.TEXT, texts.encode_text_string(self.text)),
            Tlv(Tag.RESPONSE_LENGTH, bytes((self.least, self.most))),
        ]
        return objects + ([Tlv(Tag.DEFAULT_TEXT, texts.encode_text_string(self.default))] if self.default else [])


class Local(IntEnum):
    """What PROVIDE LOCAL INFORMATION asks for, as its qualifier."""

    LOCATION = 0x00
    IMEI = 0x01
    LANGUAGE = 0x04


@dataclass(frozen=True, slots=True)
class ProvideLocalInformation(Command):
    """Ask the phone for something that it knows itself."""

    TYPE, NAME = 0x26, "PROVIDE LOCAL INFORMATION"
    what: Local

    def qualifier(self) -> int:
        return self.what


@dataclass(frozen=True, slots=True)
class SendShortMessage(Command):
    """Send the SMS-SUBMIT ``tpdu``; ``alpha``: what the phone shows meanwhile."""

    TYPE, NAME, to = 0x13, "SEND SHORT MESSAGE", Device.NETWORK
    tpdu: bytes
    alpha: str = ""

    def objects(self) -> list[Tlv]:
        return [*_alpha(self.alpha), Tlv(Tag.TPDU, self.tpdu)]


@dataclass(frozen=True, slots=True)
class Refresh(Command):
    """Tell the phone to read again. ``mode``: 0 initialisation and full file change, 1 file change, 4 reset, ..."""

    TYPE, NAME = 0x01, "REFRESH"
    mode: int = 0

    def qualifier(self) -> int:
        return self.mode


@dataclass(frozen=True, slots=True)
class Fetched:
    """A proactive command as it was fetched. ``command`` is absent for a type that is not known here."""

    number: int
    type: int
    qualifier: int
    command: Command | None


def encode_command(command: Command, number: int = 1) -> bytes:
    """The bytes that the phone fetches. Raises :class:`CardError` for what does not fit."""
    body = encode(
        [
            Tlv(Tag.COMMAND_DETAILS, bytes((number, command.TYPE, command.qualifier()))),
            Tlv(Tag.DEVICES, bytes((Device.CARD, command.to))),
            *command.objects(),
        ]
    )
    data = encode_ber(PROACTIVE, body)
    if len(data) > MAX_COMMAND:
        raise CommandError(f"{command.NAME} has {len(data)} bytes, at most {MAX_COMMAND} can be fetched")
    return data


def decode_command(data: bytes) -> Fetched:
    """The command in these bytes. Raises :class:`CardError`."""
    objects = decode(_outer(data, PROACTIVE, "a proactive command"))
    number, kind, qualifier = require(objects, Tag.COMMAND_DETAILS, "command details", 3)[:3]
    require(objects, Tag.DEVICES, "device identities", 2)
    decoder = _DECODERS.get(kind)
    return Fetched(number, kind, qualifier, decoder(objects, qualifier) if decoder else None)


def _outer(data: bytes, tag: int, what: str) -> bytes:
    found, body, end = decode_ber(data)
    if found != tag:
        raise TlvError(f"tag {found:02X} does not begin {what}, {tag:02X} does")
    if end != len(data):
        raise TlvError(f"{len(data) - end} bytes follow {what}")
    return body


def _text(objects: list[Tlv]) -> str:
    return texts.decode_text_string(require(objects, Tag.TEXT, "text string"))


def _read_items(objects: list[Tlv]) -> tuple[Item, ...]:
    values = [each.value for each in objects if each.tag == Tag.ITEM]
    return tuple(Item(value[0], texts.decode_alpha(value[1:])) for value in values if value)


def _read_set_up_menu(objects: list[Tlv], qualifier: int) -> Command:
    title = texts.decode_alpha(require(objects, Tag.ALPHA, "alpha identifier"))
    return SetUpMenu(title, _read_items(objects), bool(qualifier & 0x80))


def _read_select_item(objects: list[Tlv], qualifier: int) -> Command:
    items = _read_items(objects)
    if not items:
        raise CommandError("SELECT ITEM has no item")
    marked = first(objects, Tag.ITEM_ID)
    title = texts.decode_alpha(first(objects, Tag.ALPHA) or b"")
    return SelectItem(title, items, marked[0] if marked else None, bool(qualifier & 0x80))


def _read_display_text(objects: list[Tlv], qualifier: int) -> Command:
    value = require(objects, Tag.TEXT, "text string")
    packed = bool(value) and value[0] == texts.PACKED
    return DisplayText(texts.decode_text_string(value), bool(qualifier & 1), bool(qualifier & 0x80), packed)


def _read_get_inkey(objects: list[Tlv], qualifier: int) -> Command:
    return GetInkey(_text(objects), bool(qualifier & 1), bool(qualifier & 4), bool(qualifier & 0x80))


def _read_get_input(objects: list[Tlv], qualifier: int) -> Command:
    least, most = require(objects, Tag.RESPONSE_LENGTH, "response length", 2)[:2]
    default = texts.decode_text_string(first(objects, Tag.DEFAULT_TEXT) or b"")
    characters, hide, packed, help = (bool(qualifier & bit) for bit in (0x01, 0x04, 0x08, 0x80))
    return GetInput(_text(objects), least, most, characters, hide, packed, help, default)


def _read_local(objects: list[Tlv], qualifier: int) -> Command:
    try:
        return ProvideLocalInformation(Local(qualifier))
    except ValueError:
        raise CommandError(f"local information {qualifier:02X} is not known") from None


def _read_send(objects: list[Tlv], qualifier: int) -> Command:
    alpha = texts.decode_alpha(first(objects, Tag.ALPHA) or b"")
    return SendShortMessage(require(objects, Tag.TPDU, "SMS TPDU"), alpha)


def _read_refresh(objects: list[Tlv], qualifier: int) -> Command:
    return Refresh(qualifier)


_DECODERS: dict[int, Callable[[list[Tlv], int], Command]] = {
    SetUpMenu.TYPE: _read_set_up_menu,
    SelectItem.TYPE: _read_select_item,
    DisplayText.TYPE: _read_display_text,
    GetInkey.TYPE: _read_get_inkey,
    GetInput.TYPE: _read_get_input,
    ProvideLocalInformation.TYPE: _read_local,
    SendShortMessage.TYPE: _read_send,
    Refresh.TYPE: _read_refresh,
}


class Location(NamedTuple):
    """Where the phone is. ``network``: country and network code, five or six digits; the cell may be unknown."""

    network: str
    area: int
    cell: int | None = None

    def encode(self) -> bytes:
        """The value of a location information object."""
        mcc, mnc = self.network[:3], self.network[3:]
        third = mnc[2] if len(mnc) == 3 else "F"
        plmn = bytes(int(pair, 16) for pair in (mcc[1] + mcc[0], third + mcc[2], mnc[1] + mnc[0]))
        return plmn + self.area.to_bytes(2, "big") + (b"" if self.cell is None else self.cell.to_bytes(2, "big"))


def decode_location(value: bytes) -> Location:
    """The location in an object's value. Raises :class:`CommandError`."""
    if len(value) < 5:
        raise CommandError(f"a location has at least 5 bytes, here are {len(value)}")
    nibbles = "".join(f"{byte & 0xF:x}{byte >> 4:x}" for byte in value[:3])
    network = (nibbles[:3] + nibbles[4:] + nibbles[3]).rstrip("f")
    if not network.isdigit() or len(network) < 5:
        raise CommandError(f"{value[:3].hex()} names no network")
    cell = int.from_bytes(value[5:7], "big") if len(value) >= 7 else None
    return Location(network, int.from_bytes(value[3:5], "big"), cell)


@dataclass(frozen=True, slots=True)
class Response:
    """A terminal response. ``item``, ``text``, ``location``, ``imei``, ``language``: what the command asked for.

    ``extra``: additional information on the result, such as why the phone is busy.
    """

    number: int
    type: int
    qualifier: int
    result: int
    item: int | None = None
    text: str | None = None
    location: Location | None = None
    imei: str | None = None
    language: str | None = None
    extra: bytes = b""

    def encode(self) -> bytes:
        """The data of TERMINAL RESPONSE. Raises :class:`CardError`."""
        objects = [
            Tlv(Tag.COMMAND_DETAILS, bytes((self.number, self.type, self.qualifier))),
            Tlv(Tag.DEVICES, bytes((Device.TERMINAL, Device.CARD))),
            Tlv(Tag.RESULT, bytes((self.result,)) + self.extra),
        ]
        if self.item is not None:
            objects.append(Tlv(Tag.ITEM_ID, bytes((self.item,))))
        if self.text is not None:
            objects.append(Tlv(Tag.TEXT, texts.encode_text_string(self.text)))
        if self.location is not None:
            objects.append(Tlv(Tag.LOCATION, self.location.encode()))
        if self.imei is not None:
            objects.append(Tlv(Tag.IMEI, encode_imei(self.imei)))
        if self.language is not None:
            objects.append(Tlv(Tag.LANGUAGE, self.language.encode("ascii")))
        return encode(objects)


def decode_response(data: bytes) -> Response:
    """The terminal response in these bytes. Raises :class:`CardError`."""
    objects = decode(data)
    number, kind, qualifier = require(objects, Tag.COMMAND_DETAILS, "command details", 3)[:3]
    result = require(objects, Tag.RESULT, "result", 1)
    item, text, place = first(objects, Tag.ITEM_ID), first(objects, Tag.TEXT), first(objects, Tag.LOCATION)
    imei, language = first(objects, Tag.IMEI), first(objects, Tag.LANGUAGE)
    return Response(
        number, kind, qualifier, result[0],
        item=item[0] if item else None,
        text=None if text is None else texts.decode_text_string(text),
        location=None if place is None else decode_location(place),
        imei=None if imei is None else decode_imei(imei),
        language=None if language is None else language.decode("ascii", "replace"),
        extra=result[1:],
    )  # fmt: skip


def encode_imei(imei: str) -> bytes:
    """15 digits as a mobile identity: first digit and type, then pairs (3GPP TS 24.008, 10.5.1.4)."""
    if len(imei) != 15 or not imei.isascii() or not imei.isdigit():
        raise CommandError(f"IMEI {imei!r} has not 15 digits")
    return bytes((int(imei[0]) << 4 | 0x0A,)) + swap_digits(imei[1:])


def decode_imei(value: bytes) -> str:
    """The digits of an IMEI. Raises :class:`CardError`."""
    if len(value) != 8 or value[0] & 0x0F != 0x0A:
        raise CommandError(f"{value.hex()} is no IMEI")
    digits = f"{value[0] >> 4:x}" + unswap_digits(value[1:])
    if len(digits) != 15 or not digits.isdigit():
        raise CommandError(f"{value.hex()} is no IMEI")
    return digits


@dataclass(frozen=True, slots=True)
class MenuSelection:
    """Envelope: the user chose a line of the card's menu, or asks for help about it."""

    item: int
    help: bool = False

    def encode(self) -> bytes:
        """The data of ENVELOPE."""
        objects = [Tlv(Tag.DEVICES, bytes((Device.KEYPAD, Device.CARD))), Tlv(Tag.ITEM_ID, bytes((self.item,)))]
        return encode_ber(MENU_SELECTION, encode(objects + ([Tlv(Tag.HELP, b"")] if self.help else [])))


@dataclass(frozen=True, slots=True)
class SmsDownload:
    """Envelope: a message came for the card. ``tpdu``: the SMS-DELIVER; ``service_centre``: its address, coded."""

    tpdu: bytes
    service_centre: bytes = b""

    def encode(self) -> bytes:
        """The data of ENVELOPE."""
        objects = [Tlv(Tag.DEVICES, bytes((Device.NETWORK, Device.CARD)))]
        if self.service_centre:
            objects.append(Tlv(Tag.ADDRESS, self.service_centre))
        return encode_ber(SMS_PP, encode([*objects, Tlv(Tag.TPDU, self.tpdu)]))


def decode_envelope(data: bytes) -> MenuSelection | SmsDownload:
    """The envelope in these bytes. Raises :class:`CardError`."""
    tag, body, end = decode_ber(data)
    if end != len(data):
        raise TlvError(f"{len(data) - end} bytes follow the envelope")
    objects = decode(body)
    if tag == MENU_SELECTION:
        item = require(objects, Tag.ITEM_ID, "item identifier", 1)[0]
        return MenuSelection(item, first(objects, Tag.HELP) is not None)
    if tag == SMS_PP:
        return SmsDownload(require(objects, Tag.TPDU, "SMS TPDU"), first(objects, Tag.ADDRESS) or b"")
    raise CommandError(f"envelope {tag:02X} is not known")
