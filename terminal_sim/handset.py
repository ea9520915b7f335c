"""The phone around a card: it gives commands to the card, fetches what the card wants, draws it, and tells the result.

It knows nothing of offers. :attr:`Handset.screen` is what its user sees; :meth:`Handset.press` and the methods beside
it are what he can do. Messages of the card go to ``network``, messages for it come by :meth:`Handset.deliver`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from signalling.card import apdu, commands, envelopes
from signalling.card.apdu import Apdu, Reply
from signalling.card.commands import Command, Fetched, Item
from signalling.card.profile import Ability, Profile, make_profile
from signalling.card.responses import Location, Response
from signalling.card.tlv import CardError
from signalling.card.usat import Result
from signalling.tones import Tone, ToneError
from signalling.tones.messages import unpack
from signalling.tones.ringing import bound_tone
from terminal_sim.card_files import CardFault, read_iccid, read_tone_file, write_recording

Transmit = Callable[[bytes], bytes]
Network = Callable[[bytes], bool]
Trace = Callable[[str, bytes], None]
"""Told each command to the card (``>``) and each answer (``<``)."""

MODERN = make_profile(
    (
        Ability.PROFILE_DOWNLOAD, Ability.SMS_PP_DOWNLOAD, Ability.MENU_SELECTION, Ability.DISPLAY_TEXT,
        Ability.GET_INKEY, Ability.GET_INPUT, Ability.REFRESH, Ability.SELECT_ITEM, Ability.SEND_SHORT_MESSAGE,
        Ability.SET_UP_MENU, Ability.LOCAL_INFORMATION, Ability.SEND_USSD, Ability.USSD_DOWNLOAD, Ability.SET_UP_CALL,
        Ability.SET_UP_EVENT_LIST, Ability.CALL_DISCONNECTED,
    ),
    (8, 24),
)  # fmt: skip
IMEI = "352099001761481"

_NEEDS = {
    commands.SetUpMenu: Ability.SET_UP_MENU,
    commands.SelectItem: Ability.SELECT_ITEM,
    commands.DisplayText: Ability.DISPLAY_TEXT,
    commands.GetInkey: Ability.GET_INKEY,
    commands.GetInput: Ability.GET_INPUT,
    commands.ProvideLocalInformation: Ability.LOCAL_INFORMATION,
    commands.SendShortMessage: Ability.SEND_SHORT_MESSAGE,
    commands.Refresh: Ability.REFRESH,
    commands.SendUssd: Ability.SEND_USSD,
    commands.SetUpCall: Ability.SET_UP_CALL,
    commands.SetUpEventList: Ability.SET_UP_EVENT_LIST,
}


def without(profile: Profile, lacking: Iterable[str]) -> Profile:
    """The profile of a phone that cannot do this, by names such as ``send-short-message``. Raises ``LookupError``."""
    names = {each.name.lower().replace("_", "-"): each for each in Ability}
    unknown = sorted(set(lacking) - set(names))
    if unknown:
        raise LookupError(f"{unknown[0]!r} is nothing that phones can do; there are {', '.join(sorted(names))}")
    data = bytearray(profile.data)
    for name in lacking:
        byte, bit = names[name].value
        if byte <= len(data):
            data[byte - 1] &= 0xFF ^ (1 << (bit - 1))
    return Profile(bytes(data))


class Services:
    """What the network does for a phone beside short messages; this one does nothing.

    Answers come by :meth:`Handset.ussd_answered`, :meth:`Handset.call_connected` and :meth:`Handset.call_ended`.
    """

    def ussd(self, dcs: int, data: bytes) -> bool:
        """Begin a USSD session with this string; false where that is not possible now."""
        return False

    def call(self, number: str) -> bool:
        """Set up a call; false where that is not possible now."""
        return False


class Key(Enum):
    """Keys beside digits and letters."""

    UP = "up"
    DOWN = "down"
    OK = "ok"
    BACK = "back"
    RED = "red"
    HELP = "help"
    DELETE = "delete"
    REFUSE = "refuse"


@dataclass
class Screen:
    """What the user sees. ``kind``: idle, menu, list, text, call, key or input.

    ``lines``: to choose from; one is marked.
    """

    kind: str = "idle"
    title: str = ""
    lines: tuple[Item, ...] = ()
    marked: int = 0
    typed: str = ""
    least: int = 0
    most: int = 0
    digits: bool = False
    hidden: bool = False
    help: bool = False


class Handset:
    """A phone with a card in it. Make it, then :meth:`power_on`."""

    def __init__(
        self,
        transmit: Transmit,
        network: Network,
        *,
        services: Services | None = None,
        profile: Profile = MODERN,
        imei: str = IMEI,
        location: Location | None = None,
        language: str = "en",
        trace: Trace = lambda direction, data: None,
    ) -> None:
        self.profile, self.imei, self.location, self.language = profile, imei, location, language
        self.screen = Screen()
        self.iccid = ""
        self.menu: commands.SetUpMenu | None = None
        self.in_call = False
        self.said: str = ""
        self.ringing: Tone | None = None
        self.played: Tone | None = None
        self._transmit, self._network, self._trace = transmit, network, trace
        self._services = services or Services()
        self._asked: Fetched | None = None
        self._under_way: Fetched | None = None
        self._events: tuple[int, ...] = ()

    @property
    def asked(self) -> bool:
        """Whether the card waits for the user."""
        return self._asked is not None

    @property
    def waits(self) -> bool:
        """Whether a call stands, or the network is to answer the card."""
        return self.in_call or self._under_way is not None

    # Power and network.

    def power_on(self) -> None:
        """Read the card's number and tell it what this phone can do. Raises :class:`CardFault`."""
        self.screen, self.menu, self._asked, self._under_way = Screen(), None, None, None
        self.in_call, self._events = False, ()
        self.iccid = read_iccid(self._exchange)
        if self.profile.can(Ability.PROFILE_DOWNLOAD):
            self._go_on(self._exchange(Apdu(apdu.CLA_CAT, apdu.TERMINAL_PROFILE, data=self.profile.data)))

    def deliver(self, tpdu: bytes) -> bool:
        """A message for the card came; whether it has it. Raises :class:`CardFault`."""
        if not self.profile.can(Ability.SMS_PP_DOWNLOAD):
            return False
        self._go_on(self._envelope(envelopes.SmsDownload(tpdu, bytes.fromhex("914400")).encode()))
        return True

    def deliver_ussd(self, dcs: int, data: bytes) -> bool:
        """A USSD string for the card came; whether it has it. Raises :class:`CardFault`."""
        if not self.profile.can(Ability.USSD_DOWNLOAD):
            return False
        self._go_on(self._envelope(envelopes.UssdDownload(dcs, data).encode()))
        return True

    def ussd_answered(self, text: str | None) -> None:
        """The session that the card wanted is over; ``None`` where it failed."""
        self._network_answered(commands.SendUssd, Result.USSD_ERROR if text is None else Result.OK, text)

    def call_connected(self) -> None:
        """The call stands that the card wanted."""
        self.in_call = True
        self._network_answered(commands.SetUpCall, Result.OK)

    def call_ended(self, cause: int | None, recorded: bytes = b"") -> None:
        """A call is over, ``cause`` absent where the radio was lost; ``recorded``: what was heard in it, digitized."""
        stood, self.in_call = self.in_call, False
        if not stood:
            self._network_answered(commands.SetUpCall, Result.NETWORK_BUSY)
        elif commands.Happening.CALL_DISCONNECTED in self._events:
            if recorded:
                write_recording(self._exchange, recorded)
            event = envelopes.EventDownload(commands.Happening.CALL_DISCONNECTED, cause)
            self._go_on(self._envelope(event.encode()))

    def _network_answered(self, kind: type[Command], result: Result, text: str | None = None) -> None:
        asked = self._under_way
        if asked is not None and isinstance(asked.command, kind):
            self._under_way = None
            self._go_on(self._respond(Response(asked.number, asked.type, asked.qualifier, result, text=text)))

    # Tones.

    def incoming_call(self, caller: str, called: str = "") -> Tone | None:
        """Somebody calls: the tone that rings, of the card; ``None`` for the phone's own."""
        file = read_tone_file(self._exchange)
        product = bound_tone(file, caller, called)
        self.ringing = None
        if product is not None:
            try:
                self.ringing = unpack(file.tones[product])
            except ToneError:
                # Nobody misses a call because a tone is damaged.
                self.ringing = None
        return self.ringing

    def _play_sample(self) -> None:
        sample = read_tone_file(self._exchange).sample
        if sample:
            try:
                self.played = unpack(sample)
            except ToneError:
                self.played = None

    # The user.

    def press(self, key: Key | str) -> None:
        """A key, a digit or a letter."""
        screen = self.screen
        if key is Key.RED:
            self._leave(Result.SESSION_ENDED)
        elif key is Key.BACK:
            self._leave(Result.BACK)
        elif key is Key.REFUSE:
            self._leave(Result.USER_REFUSED)
        elif key is Key.HELP:
            self._help()
        elif key in (Key.UP, Key.DOWN) and screen.lines:
            screen.marked = (screen.marked + (1 if key is Key.DOWN else -1)) % len(screen.lines)
        elif key is Key.OK:
            self._ok()
        elif key is Key.DELETE:
            screen.typed = screen.typed[:-1]
        elif isinstance(key, str):
            self._typed(key)

    def enter(self, text: str) -> None:
        """Type a line and press OK."""
        for char in text:
            self._typed(char)
        self._ok()

    def choose(self, line: str) -> None:
        """Choose the first line that begins so. Raises ``LookupError`` where there is none."""
        for place, item in enumerate(self.screen.lines):
            if item.text.startswith(line):
                self.screen.marked = place
                self._ok()
                return
        raise LookupError(f"no line {line!r} among {[item.text for item in self.screen.lines]}")

    def wait(self) -> None:
        """The user does nothing until the phone gives up."""
        if self._asked is not None:
            self._answer(Result.NO_RESPONSE)

    def open_menu(self) -> None:
        """Open the card's menu in the phone's menu."""
        if self._asked is None and self.menu is not None and self.menu.items:
            self.screen = Screen("menu", self.menu.title, self.menu.items, help=self.menu.help)

    # What keys mean.

    def _leave(self, result: Result) -> None:
        if self._asked is not None:
            self._answer(result)
        else:
            self.screen = Screen()

    def _help(self) -> None:
        screen = self.screen
        if not screen.help:
            return
        if screen.kind == "menu":
            item = screen.lines[screen.marked].id
            self.screen = Screen()
            self._go_on(self._envelope(envelopes.MenuSelection(item, help=True).encode()))
        else:
            self._answer(Result.HELP, item=screen.lines[screen.marked].id if screen.lines else None)

    def _ok(self) -> None:
        screen = self.screen
        if screen.kind == "menu":
            item = screen.lines[screen.marked].id
            self.screen = Screen()
            self._go_on(self._envelope(envelopes.MenuSelection(item).encode()))
        elif screen.kind == "list":
            self._answer(Result.OK, item=screen.lines[screen.marked].id)
        elif screen.kind == "text":
            if self._asked is not None:
                self._answer(Result.OK)
            else:
                self.screen = Screen()
        elif screen.kind == "input" and len(screen.typed) >= screen.least:
            self._answer(Result.OK, text=screen.typed)
        elif screen.kind == "call":
            self._dial()

    def _typed(self, char: str) -> None:
        screen = self.screen
        if screen.digits and char not in "0123456789*#+":
            return
        if screen.kind == "key":
            self._answer(Result.OK, text=char)
        elif screen.kind == "input" and len(screen.typed) < screen.most:
            screen.typed += char
        elif screen.kind in ("list", "menu") and char.isdigit() and 1 <= int(char) <= len(screen.lines):
            screen.marked = int(char) - 1
            self._ok()

    def _dial(self) -> None:
        """The user does not mind that the card calls."""
        asked, self._asked = self._asked, None
        assert asked is not None
        assert isinstance(asked.command, commands.SetUpCall)
        self.screen, self._under_way = Screen(), asked
        if not self._services.call(asked.command.number):
            self._network_answered(commands.SetUpCall, Result.NETWORK_BUSY)

    # The card.

    def _exchange(self, command: Apdu) -> Reply:
        data = command.encode()
        self._trace(">", data)
        answer = self._transmit(data)
        self._trace("<", answer)
        reply = apdu.decode_reply(answer)
        if not reply.done:
            raise CardFault(
                f"the card answers {data[:5].hex()} with {reply.status:04X}: {apdu.status_text(reply.status)}"
            )
        return reply

    def _envelope(self, data: bytes) -> Reply:
        return self._exchange(Apdu(apdu.CLA_CAT, apdu.ENVELOPE, data=data))

    def _go_on(self, reply: Reply) -> None:
        """Fetch and carry out until the user or the network is asked, or the card has nothing more."""
        while reply.to_fetch is not None and self._asked is None and self._under_way is None:
            fetched = self._exchange(Apdu(apdu.CLA_CAT, apdu.FETCH, expected=reply.to_fetch))
            response = self._carry_out(fetched.data)
            if response is None:
                return
            reply = self._respond(response)

    def _respond(self, response: Response) -> Reply:
        return self._exchange(Apdu(apdu.CLA_CAT, apdu.TERMINAL_RESPONSE, data=response.encode()))

    def _answer(self, result: int, *, item: int | None = None, text: str | None = None) -> None:
        asked, self._asked = self._asked, None
        assert asked is not None
        self.screen = Screen()
        self._go_on(self._respond(Response(asked.number, asked.type, asked.qualifier, result, item=item, text=text)))

    def _carry_out(self, data: bytes) -> Response | None:
        """The answer, or ``None`` where the user or the network gives it."""
        try:
            asked = commands.decode_command(data)
        except CardError:
            return Response(1, 0, 0, Result.DATA_NOT_UNDERSTOOD)
        command = asked.command

        def told(result: int, **more: Any) -> Response:
            return Response(asked.number, asked.type, asked.qualifier, result, **more)

        if command is None:
            return told(Result.TYPE_NOT_UNDERSTOOD)
        if not self.profile.can(_NEEDS[type(command)]):
            return told(Result.BEYOND_CAPABILITY)
        match command:
            case commands.SetUpMenu():
                self.menu = command
                return told(Result.OK)
            case commands.ProvideLocalInformation(what=commands.Local.IMEI):
                return told(Result.OK, imei=self.imei) if self.imei else told(Result.TERMINAL_BUSY, extra=b"\x04")
            case commands.ProvideLocalInformation(what=commands.Local.LANGUAGE):
                return told(Result.OK, language=self.language)
            case commands.ProvideLocalInformation():
                place = self.location
                return told(Result.OK, location=place) if place else told(Result.TERMINAL_BUSY, extra=b"\x04")
            case commands.SendShortMessage(tpdu=tpdu):
                return told(Result.OK if self._network(tpdu) else Result.SMS_ERROR)
            case commands.SendUssd(dcs=dcs, data=data):
                self._under_way = asked
                if self._services.ussd(dcs, data):
                    return None
                self._under_way = None
                return told(Result.USSD_ERROR)
            case commands.SetUpEventList(events=events):
                self._events = events
                return told(Result.OK)
            case commands.Refresh(mode=mode):
                if mode == 1:
                    self._play_sample()
                return told(Result.OK)
        return self._draw(asked, command, told)

    def _draw(self, asked: Fetched, command: Command, told: Callable[..., Response]) -> Response | None:
        if self.in_call and not (isinstance(command, commands.DisplayText) and command.urgent):
            # 01: the screen is busy.
            return told(Result.TERMINAL_BUSY, extra=b"\x01")
        match command:
            case commands.DisplayText(text=shown, wait=waits):
                self.screen, self.said = Screen("text", shown), shown
                if not waits:
                    return told(Result.OK)
            case commands.SetUpCall(alpha=shown):
                self.screen = Screen("call", shown)
            case commands.SelectItem(title=title, items=items, default=default):
                marked = next((place for place, item in enumerate(items) if item.id == default), 0)
                self.screen = Screen("list", title, items, marked, help=command.help)
            case commands.GetInkey(text=shown):
                self.screen = Screen("key", shown, digits=not command.characters, help=command.help)
            case commands.GetInput(text=shown):
                self.screen = Screen(
                    "input", shown, (), 0, command.default, command.least, command.most,
                    not command.characters, command.hide, command.help,
                )  # fmt: skip
        self._asked = asked
        return None
