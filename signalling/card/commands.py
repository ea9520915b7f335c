"""Proactive commands: what the card wants the phone to do (ETSI TS 102 223, 6.4 and 6.6)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, NamedTuple, Self

from signalling.card import text as texts
from signalling.card.sms import DIGITS, INTERNATIONAL, encode_address
from signalling.card.tlv import Tlv, TlvError, decode, decode_ber, encode, encode_ber, first, require
from signalling.card.usat import PROACTIVE, CommandError, Device, Tag

MAX_COMMAND = 256
"""Bytes that a status word can announce, and so the longest proactive command."""


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
        """What follows details and devices. Raises :class:`signalling.card.tlv.CardError`."""
        return []

    @classmethod
    def read(cls, objects: list[Tlv], qualifier: int) -> Self:
        """The command that these objects and this qualifier say. Raises :class:`signalling.card.tlv.CardError`."""
        raise NotImplementedError


def _alpha(text: str) -> list[Tlv]:
    return [Tlv(Tag.ALPHA, texts.encode_alpha(text))] if text else []


def _items(items: tuple[Item, ...]) -> list[Tlv]:
    return [Tlv(Tag.ITEM, bytes((item.id,)) + texts.encode_alpha(item.text)) for item in items]


def _read_items(objects: list[Tlv]) -> tuple[Item, ...]:
    values = [each.value for each in objects if each.tag == Tag.ITEM]
    return tuple(Item(value[0], texts.decode_alpha(value[1:])) for value in values if value)


def _read_text(objects: list[Tlv]) -> str:
    return texts.decode_text_string(require(objects, Tag.TEXT, "text string"))


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

    @classmethod
    def read(cls, objects: list[Tlv], qualifier: int) -> Self:
        title = texts.decode_alpha(require(objects, Tag.ALPHA, "alpha identifier"))
        return cls(title, _read_items(objects), bool(qualifier & 0x80))


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

    @classmethod
    def read(cls, objects: list[Tlv], qualifier: int) -> Self:
        items = _read_items(objects)
        if not items:
            raise CommandError("SELECT ITEM has no item")
        marked = first(objects, Tag.ITEM_ID)
        title = texts.decode_alpha(first(objects, Tag.ALPHA) or b"")
        return cls(title, items, marked[0] if marked else None, bool(qualifier & 0x80))


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

    @classmethod
    def read(cls, objects: list[Tlv], qualifier: int) -> Self:
        value = require(objects, Tag.TEXT, "text string")
        packed = bool(value) and value[0] == texts.PACKED
        return cls(texts.decode_text_string(value), bool(qualifier & 1), bool(qualifier & 0x80), packed)


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

    @classmethod
    def read(cls, objects: list[Tlv], qualifier: int) -> Self:
        return cls(_read_text(objects), bool(qualifier & 1), bool(qualifier & 4), bool(qualifier & 0x80))


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

    @classmethod
    def read(cls, objects: list[Tlv], qualifier: int) -> Self:
        least, most = require(objects, Tag.RESPONSE_LENGTH, "response length", 2)[:2]
        default = texts.decode_text_string(first(objects, Tag.DEFAULT_TEXT) or b"")
        characters, hide, packed, help = (bool(qualifier & bit) for bit in (0x01, 0x04, 0x08, 0x80))
        return cls(_read_text(objects), least, most, characters, hide, packed, help, default)


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

    @classmethod
    def read(cls, objects: list[Tlv], qualifier: int) -> Self:
        try:
            return cls(Local(qualifier))
        except ValueError:
            raise CommandError(f"local information {qualifier:02X} is not known") from None


@dataclass(frozen=True, slots=True)
class SendShortMessage(Command):
    """Send the SMS-SUBMIT ``tpdu``; ``alpha``: what the phone shows meanwhile."""

    TYPE, NAME, to = 0x13, "SEND SHORT MESSAGE", Device.NETWORK
    tpdu: bytes
    alpha: str = ""

    def objects(self) -> list[Tlv]:
        return [*_alpha(self.alpha), Tlv(Tag.TPDU, self.tpdu)]

    @classmethod
    def read(cls, objects: list[Tlv], qualifier: int) -> Self:
        alpha = texts.decode_alpha(first(objects, Tag.ALPHA) or b"")
        return cls(require(objects, Tag.TPDU, "SMS TPDU"), alpha)


@dataclass(frozen=True, slots=True)
class Refresh(Command):
    """Tell the phone to read again. ``mode``: 0 initialisation and full file change, 1 file change, 4 reset, ..."""

    TYPE, NAME = 0x01, "REFRESH"
    mode: int = 0

    def qualifier(self) -> int:
        return self.mode

    @classmethod
    def read(cls, objects: list[Tlv], qualifier: int) -> Self:
        return cls(qualifier)


@dataclass(frozen=True, slots=True)
class SendUssd(Command):
    """Send a USSD string in a session of its own (3GPP TS 31.111, 6.4.11); what is answered is in the response."""

    TYPE, NAME, to = 0x12, "SEND USSD", Device.NETWORK
    dcs: int
    data: bytes
    alpha: str = ""

    def objects(self) -> list[Tlv]:
        return [*_alpha(self.alpha), Tlv(Tag.USSD, bytes((self.dcs,)) + self.data)]

    @classmethod
    def read(cls, objects: list[Tlv], qualifier: int) -> Self:
        value = require(objects, Tag.USSD, "USSD string", 1)
        return cls(value[0], value[1:], texts.decode_alpha(first(objects, Tag.ALPHA) or b""))


@dataclass(frozen=True, slots=True)
class SetUpCall(Command):
    """Call ``number``, when the user has read ``alpha`` and does not mind."""

    TYPE, NAME, to = 0x10, "SET UP CALL", Device.NETWORK
    number: str
    alpha: str = ""

    def objects(self) -> list[Tlv]:
        # The address of TS 23.040 without its first byte, the number of digits.
        return [*_alpha(self.alpha), Tlv(Tag.ADDRESS, encode_address(self.number)[1:])]

    @classmethod
    def read(cls, objects: list[Tlv], qualifier: int) -> Self:
        value = require(objects, Tag.ADDRESS, "address", 2)
        digits = "".join(DIGITS[half] if half < 15 else "" for byte in value[1:] for half in (byte & 0xF, byte >> 4))
        international = "+" if value[0] == INTERNATIONAL else ""
        return cls(international + digits, texts.decode_alpha(first(objects, Tag.ALPHA) or b""))


class Happening(IntEnum):
    """Events that a card can be told of."""

    INCOMING_CALL = 0x00
    CALL_CONNECTED = 0x01
    CALL_DISCONNECTED = 0x02


@dataclass(frozen=True, slots=True)
class SetUpEventList(Command):
    """Tell of these events from now on, and of no others."""

    TYPE, NAME = 0x05, "SET UP EVENT LIST"
    events: tuple[int, ...]

    def objects(self) -> list[Tlv]:
        return [Tlv(Tag.EVENTS, bytes(self.events))]

    @classmethod
    def read(cls, objects: list[Tlv], qualifier: int) -> Self:
        return cls(tuple(require(objects, Tag.EVENTS, "event list")))


COMMANDS: dict[int, type[Command]] = {
    each.TYPE: each
    for each in (
        SetUpMenu,
        SelectItem,
        DisplayText,
        GetInkey,
        GetInput,
        ProvideLocalInformation,
        SendShortMessage,
        Refresh,
        SendUssd,
        SetUpCall,
        SetUpEventList,
    )
}
"""Those that are known here, by type."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A proactive command as it was fetched. ``command`` is absent for a type that is not known here."""

    number: int
    type: int
    qualifier: int
    command: Command | None


def encode_command(command: Command, number: int = 1) -> bytes:
    """The bytes that the phone fetches. Raises :class:`signalling.card.tlv.CardError` for what does not fit."""
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
    """The command in these bytes. Raises :class:`signalling.card.tlv.CardError`."""
    tag, body, end = decode_ber(data)
    if tag != PROACTIVE:
        raise TlvError(f"tag {tag:02X} does not begin a proactive command, {PROACTIVE:02X} does")
    if end != len(data):
        raise TlvError(f"{len(data) - end} bytes follow a proactive command")
    objects = decode(body)
    number, kind, qualifier = require(objects, Tag.COMMAND_DETAILS, "command details", 3)[:3]
    require(objects, Tag.DEVICES, "device identities", 2)
    known = COMMANDS.get(kind)
    return Fetched(number, kind, qualifier, known.read(objects, qualifier) if known else None)
