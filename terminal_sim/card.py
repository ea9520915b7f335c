"""A SIM card: its files, its keys and counters, and the commands that a phone may give it.

Bytes go in and out as over a card's contacts: :meth:`Card.transmit` takes a command and gives data and status word.
What the applet says goes out in secured packets by SEND SHORT MESSAGE, or by SEND USSD in a phone that has no other;
what comes for it in SMS-PP and USSD downloads is opened, checked against the counter, acknowledged, and handed on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

from signalling.card import apdu, commands, envelopes, responses, secured, sms, usat, ussd
from signalling.card.apdu import Apdu, Reply
from signalling.card.dialogue import TAR, CardMessage, decode_from_server, encode_message
from signalling.card.keys import CardKeys, decode_keys
from signalling.card.profile import Ability, Profile
from signalling.card.tlv import CardError
from signalling.tones.ringing import EF_RECORDING, EF_TONES, MAX_RECORDING, encode_file
from terminal_sim.applet.machine import Applet
from terminal_sim.applet.memory import AppletMemory
from terminal_sim.files import write_atomically

FIRMWARE = {"card": "1.0", "applet": "1.0"}
WITH_RECEIPT = (secured.Status.COUNTER_LOW, secured.Status.COUNTER_HIGH)
"""Refusals that the card tells. On packets that it cannot tell the sender of it keeps silent: an answer costs money."""


class CardFileError(ValueError):
    """A card file that cannot be read; the text says why."""


class CardMemory(msgspec.Struct):
    """What is in a card, and stays there without power.

    ``number``: where the applet's messages go. ``sent``, ``heard``: the counters of the last packet out and in.
    ``keys``: as :meth:`signalling.card.keys.CardKeys.encode` gives them. ``language``: of the applet's own words.
    """

    iccid: str
    imsi: str
    keys: bytes
    number: str = "+4900000"
    sent: int = 0
    heard: int = 0
    reference: int = 0
    language: str = "en"
    applet: AppletMemory = msgspec.field(default_factory=AppletMemory)

    def card_keys(self) -> CardKeys:
        """The keys. Raises :class:`signalling.card.tlv.CardError`."""
        return decode_keys(self.keys)


def load_card(path: Path) -> CardMemory:
    """The card in a file. Raises :class:`CardFileError`, ``OSError``."""
    try:
        memory = msgspec.json.decode(path.read_bytes(), type=CardMemory)
        memory.card_keys()
    except (msgspec.MsgspecError, UnicodeDecodeError, CardError) as error:
        raise CardFileError(f"{path}: not a card: {error}; `tollgate card keys` writes one") from None
    return memory


def save_card(path: Path, memory: CardMemory) -> None:
    """Write the card so that a crash leaves the old or the new one; nobody else may read it: it holds keys."""
    write_atomically(path, msgspec.json.encode(memory))


class Card:
    """A card in a phone, from power on. ``keep``: called when the memory changed, before what follows from it shows.

    ``watch``: told each message of the applet before it leaves, and each for it before it acts on it.
    """

    def __init__(
        self,
        memory: CardMemory,
        keep: Callable[[CardMemory], None] = lambda memory: None,
        watch: Callable[[CardMessage], None] = lambda message: None,
    ) -> None:
        self.memory = memory
        self.refused: list[secured.Status] = []
        self._keep, self._watch = keep, watch
        self._keys = memory.card_keys()
        self._selected: int | None = None
        self._reassembler = sms.Reassembler(most=4)
        self._outgoing: deque[commands.SendShortMessage | commands.SendUssd] = deque()
        self._recording = bytearray()
        self._pending: bytes | None = None
        self._fetched: commands.Command | None = None
        self._numbered: tuple[int, commands.Command] | None = None
        self._number = 0
        self.applet = Applet(
            memory.applet, memory.iccid, self._keys.agreement, FIRMWARE, self._send, self._changed, memory.language
        )

    def transmit(self, data: bytes) -> bytes:
        """One command and its answer. Never raises for what a phone sends."""
        try:
            return self._execute(apdu.decode_apdu(data)).encode()
        except apdu.ApduError:
            return Reply(b"", apdu.WRONG_LENGTH).encode()

    def _execute(self, command: Apdu) -> Reply:
        handler = _INSTRUCTIONS.get((command.cla, command.ins))
        if handler is None:
            known = command.cla in (apdu.CLA_ISO, apdu.CLA_CAT)
            return Reply(b"", apdu.NO_SUCH_INSTRUCTION if known else apdu.NO_SUCH_CLASS)
        try:
            return handler(self, command)
        except CardError:
            return Reply(b"", apdu.BAD_DATA)

    def _done(self) -> Reply:
        """Status of a command that went well: with a command to fetch, if one waits and none is carried out."""
        if self._fetched is None and self._pending is None:
            command: commands.Command | None
            if self._outgoing:
                command = self._outgoing[0]
            else:
                command = self.applet.wanted()
            if command is not None:
                self._number = self._number % 254 + 1
                self._pending = commands.encode_command(command, self._number)
                self._numbered = self._number, command
        if self._pending is None or self._fetched is not None:
            return Reply(b"", apdu.OK)
        return Reply(b"", 0x9100 | len(self._pending) & 0xFF)

    # The instructions.

    def _select(self, command: Apdu) -> Reply:
        self._selected = int.from_bytes(command.data, "big")
        if self._selected not in (apdu.EF_ICCID, EF_TONES, EF_RECORDING):
            self._selected = None
            return Reply(b"", apdu.NOT_FOUND)
        return self._done()

    def _read_binary(self, command: Apdu) -> Reply:
        if self._selected == apdu.EF_ICCID:
            content = apdu.swap_digits(self.memory.iccid, 10)
        elif self._selected == EF_TONES:
            content = encode_file(self.applet.tone_file())
        else:
            return Reply(b"", apdu.CONDITIONS_NOT_MET)
        start = command.p1 << 8 | command.p2
        return Reply(content[start : start + (command.expected or 256)], self._done().status)

    def _update_binary(self, command: Apdu) -> Reply:
        """What the phone recorded is written from its beginning, piece after piece; nothing else may be."""
        start = command.p1 << 8 | command.p2
        if self._selected != EF_RECORDING:
            return Reply(b"", apdu.CONDITIONS_NOT_MET)
        if start > len(self._recording) or start + len(command.data) > MAX_RECORDING:
            return Reply(b"", apdu.WRONG_PARAMETERS)
        self._recording[start:] = command.data
        return self._done()

    def _status(self, command: Apdu) -> Reply:
        return self._done()

    def _terminal_profile(self, command: Apdu) -> Reply:
        self._pending = self._fetched = None
        self._outgoing.clear()
        self.applet.started(Profile(command.data))
        return self._done()

    def _fetch(self, command: Apdu) -> Reply:
        if self._pending is None or self._numbered is None:
            return Reply(b"", apdu.CONDITIONS_NOT_MET)
        if command.expected != len(self._pending):
            return Reply(b"", 0x6C00 | len(self._pending) & 0xFF)
        data, self._pending = self._pending, None
        self._fetched = self._numbered[1]
        return Reply(data, apdu.OK)

    def _terminal_response(self, command: Apdu) -> Reply:
        if self._fetched is None or self._numbered is None:
            return Reply(b"", apdu.CONDITIONS_NOT_MET)
        response = responses.decode_response(command.data)
        asked, self._fetched = self._fetched, None
        if response.number != self._numbered[0] or response.type != asked.TYPE:
            response = responses.Response(self._numbered[0], asked.TYPE, 0, usat.Result.DATA_NOT_UNDERSTOOD)
        if isinstance(asked, commands.SendShortMessage | commands.SendUssd):
            self._sent(asked, response)
        else:
            self.applet.answered(response)
        return self._done()

    def _sent(self, asked: commands.SendShortMessage | commands.SendUssd, response: responses.Response) -> None:
        if self._outgoing and self._outgoing[0] == asked:
            self._outgoing.popleft()
        if response.result >= usat.Result.SESSION_ENDED:
            # The parts that follow are of no use to anybody.
            self._outgoing.clear()
            self.applet.not_sent()

    def _envelope(self, command: Apdu) -> Reply:
        envelope = envelopes.decode_envelope(command.data)
        match envelope:
            case envelopes.MenuSelection(item=item, help=asks_help):
                self.applet.selected(item, asks_help=asks_help)
            case envelopes.SmsDownload(tpdu=tpdu):
                message = sms.decode_deliver(tpdu)
                self._message(message.sender, message.content, message.at)
            case envelopes.UssdDownload(dcs=dcs, data=data):
                if not ussd.is_for_card(dcs):
                    raise ussd.UssdError(f"a string of coding {dcs:02X} is not for the card")
                # A session of the network has no sender's number and no time.
                self._message("ussd", ussd.card_content(data), None)
            case envelopes.EventDownload(event=commands.Happening.CALL_DISCONNECTED, cause=cause):
                size = int.from_bytes(self._recording[:2], "big")
                recorded = bytes(self._recording[2 : 2 + size]) if len(self._recording) == 2 + size else b""
                self._recording.clear()
                self.applet.call_ended(cause, recorded)
        return self._done()

    # Packets.

    def _message(self, sender: str, content: sms.UserData, at: datetime | None) -> None:
        whole = self._reassembler.add(sender, content)
        if whole is None or whole.element(sms.COMMAND_PACKET) is None:
            return
        packet = whole.data
        header = secured.read_command_header(packet)
        if header.tar != TAR:
            self.refused.append(secured.Status.TAR_UNKNOWN)
            return
        try:
            opened = secured.open_command(packet, self._keys.packets, self.memory.heard)
        except secured.PacketRefused as no:
            self.refused.append(no.status)
            if no.status in WITH_RECEIPT and header.security.receipt:
                self._acknowledge(no.status, no.counter, header.security)
            return
        self.memory.heard = opened.counter
        self._changed()
        if header.security.receipt == 1:
            self._acknowledge(secured.Status.OK, opened.counter, header.security)
        self._hand_on(opened.data, at)

    def _hand_on(self, data: bytes, at: datetime | None) -> None:
        message = decode_from_server(data)
        self._watch(message)
        self.applet.heard(message, at)

    def _acknowledge(self, status: int, counter: int, security: secured.Security) -> None:
        packet = secured.seal_response(status, counter, TAR, self._keys.packets, security)
        self._submit(sms.RESPONSE_PACKET, packet)

    def _send(self, message: CardMessage) -> int:
        """Seal a message of the applet; the counter is in the memory before the packet can leave the card."""
        self._watch(message)
        self.memory.sent += 1
        self._changed()
        security = secured.Security(receipt=0)
        packet = secured.seal_command(encode_message(message), self._keys.packets, TAR, self.memory.sent, security)
        self._submit(sms.COMMAND_PACKET, packet)
        return self.memory.sent

    def _submit(self, element: int, packet: bytes) -> None:
        self.memory.reference = (self.memory.reference + 1) & 0xFF
        profile = self.applet.profile
        by_ussd = not profile.can(Ability.SEND_SHORT_MESSAGE) and profile.can(Ability.SEND_USSD)
        for content in sms.split((sms.Element(element, b""),), packet, self.memory.reference):
            if by_ussd:
                self._outgoing.append(commands.SendUssd(ussd.FOR_CARD, content.encode()))
                continue
            submit = sms.Submit(self.memory.number, content, 0, sms.PID_SIM_DOWNLOAD, sms.DCS_CARD)
            self._outgoing.append(commands.SendShortMessage(submit.encode()))

    def _changed(self) -> None:
        self._keep(self.memory)


_INSTRUCTIONS: dict[tuple[int, int], Callable[[Card, Apdu], Reply]] = {
    (apdu.CLA_ISO, apdu.SELECT): Card._select,
    (apdu.CLA_ISO, apdu.READ_BINARY): Card._read_binary,
    (apdu.CLA_ISO, apdu.UPDATE_BINARY): Card._update_binary,
    (apdu.CLA_CAT, apdu.STATUS): Card._status,
    (apdu.CLA_CAT, apdu.TERMINAL_PROFILE): Card._terminal_profile,
    (apdu.CLA_CAT, apdu.FETCH): Card._fetch,
    (apdu.CLA_CAT, apdu.TERMINAL_RESPONSE): Card._terminal_response,
    (apdu.CLA_CAT, apdu.ENVELOPE): Card._envelope,
}
