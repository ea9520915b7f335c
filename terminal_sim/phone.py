"""A card, a phone and a carrier put together for a person: ``tollgate-terminal run --applet``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

from signalling.card import sms
from signalling.card.profile import Profile
from signalling.card.tlv import CardError
from signalling.card.ussd import FOR_CARD
from signalling.clock import Clock
from terminal_sim import state as states
from terminal_sim.air import AirPhone, attach_at, for_card
from terminal_sim.card import Card, CardFileError, load_card, save_card
from terminal_sim.card_files import CardFault
from terminal_sim.carrier import LinkCarrier, Radio, attach
from terminal_sim.handset import MODERN, Handset, Services, without
from terminal_sim.phone_console import PhoneConsole, Tracer


@dataclass(frozen=True)
class PhoneOptions:
    """``radio``: of a short message centre, ``node``: of a serving node, as host:port; else a terminal's link.

    ``number``: the card's, needed on the air. ``lacks``: what the phone cannot do.
    """

    trace: bool = False
    radio: str = ""
    node: str = ""
    number: str = ""
    lacks: Sequence[str] = ()


def run_phone(folder: Path, clock: Clock, console: Console, options: PhoneOptions) -> None:
    """Until the user quits. Raises :class:`CardFileError` and what the terminal's state raises."""
    path = folder / "card.json"
    if not path.exists():
        raise CardFileError(f"{path}: there is no card; `tollgate card keys TERMINAL --out {path}` writes one")
    if (options.radio or options.node) and not options.number:
        raise CardFileError("--radio and --node: say the card's telephone number with --number")
    try:
        profile = without(MODERN, options.lacks)
    except LookupError as error:
        raise CardFileError(f"--lacks: {error.args[0]}") from None
    card = Card(load_card(path), lambda memory: save_card(path, memory))
    from twisted.internet import reactor

    _Phone(card, profile, folder, clock, console, reactor, options).run()


class _Phone:
    def __init__(
        self, card: Card, profile: Profile, folder: Path, clock: Clock, console: Console, reactor: Any,
        options: PhoneOptions,
    ) -> None:  # fmt: skip
        self._folder, self._clock, self._reactor, self._options = folder, clock, reactor, options
        self._send: Any = lambda tpdu: False
        self._own = card.memory.number
        tracer = Tracer(console, on=options.trace)
        self._air = AirPhone(options.number, self._told, self._trouble, self._changed) if options.node else None
        self._carrier: LinkCarrier | None = None
        services: Services | None = self._air
        if self._air is None and not options.radio:
            services = self._carrier = LinkCarrier(
                lambda: self._keeper.client, lambda: self.handset.iccid, clock, self._arrived
            )
        self.handset = Handset(
            card.transmit, lambda tpdu: bool(self._send(tpdu)), services=services, profile=profile, trace=tracer
        )
        if self._air is not None:
            self._air.handset = self.handset
        if self._carrier is not None:
            self._carrier.answered = self.handset.ussd_answered
        self.console = PhoneConsole(self.handset, console, self._call, self._do)
        self._ready = threading.Event()
        self._failure: list[BaseException] = []

    def _call(self, work: Any) -> Any:
        return blockingCallFromThread(self._reactor, work)

    def run(self) -> None:
        options = self._options
        if self._air is not None:
            leave = self._over_node(self._air, options.node)
        else:
            leave = self._over_radio(options.radio, options.number) if options.radio else self._over_link()
        self._reactor.callWhenRunning(threading.Thread(target=self._play, args=(leave,), daemon=True).start)
        self._reactor.run()
        if self._failure:
            raise self._failure[0]

    def _play(self, leave: Any) -> None:
        try:
            self._ready.wait(20)
            self._call(self.handset.power_on)
            self.console.run()
        except CardFault as fault:
            self._failure.append(CardFileError(str(fault)))
        except BaseException as error:  # noqa: BLE001 - a thread's failure is raised again by the main thread
            self._failure.append(error)
        finally:
            self._reactor.callFromThread(leave)

    def _arrived(self, tpdu: bytes) -> None:
        try:
            message = sms.decode_deliver(tpdu)
            if not for_card(message):
                self._told(sms.content_text(message))
                return
        except CardError:
            self._trouble("the network sends what is no message")
            return
        # Where the phone takes no messages for the card, the link's words come as from a USSD session.
        self.handset.deliver(tpdu) or self.handset.deliver_ussd(FOR_CARD, message.content.encode())
        self.console.changed()

    def _told(self, text: str) -> None:
        """A text for the user, by short message or in his USSD session."""
        self.console.text = text
        self.console.changed()

    def _changed(self) -> None:
        self.console.changed()

    def _do(self, word: str, rest: str) -> str:
        """What the user does beside the card; what is wrong with it, empty for nothing."""
        air = self._air
        try:
            if word == "sms":
                content, dcs = sms.text_content(rest)
                return "" if self._send(sms.Submit(self._own, content, 0, 0, dcs).encode()) else "not sent: no network"
            if air is None:
                return f"{word}: the phone is at no serving node; see --node"
            if word == "ussd":
                return "" if air.dial(rest) else "no network, or another session is under way"
            if word == "end":
                air.leave()
            elif word == "hangup":
                air.hang_up()
            elif word == "takes":
                air.takes = rest != "nothing"
            elif word == "move":
                host, _, port = rest.rpartition(":")
                if not host or not port.isdigit():
                    return f"move {rest}: write host:port of another node"
                attach_at(self._reactor, rest, air).addErrback(lambda f: self._trouble(f.getErrorMessage()))
        except CardError as fault:
            return str(fault)
        return ""

    def _trouble(self, text: str) -> None:
        self.console.notice = text
        self._ready.set()
        self.console.changed()

    def _over_radio(self, address: str, number: str) -> Any:
        phone = Radio(number, self._arrived, self._trouble)
        self._send = phone.send
        return self._attach(lambda: attach(self._reactor, address, phone))

    def _over_node(self, air: AirPhone, address: str) -> Any:
        self._send = air.send
        return self._attach(lambda: attach_at(self._reactor, address, air))

    def _attach(self, connect: Callable[[], Deferred[Any]]) -> Any:
        def begin() -> None:
            connect().addCallbacks(
                lambda _: self._ready.set(), lambda failure: self._trouble(failure.getErrorMessage())
            )

        self._reactor.callWhenRunning(begin)
        return self._reactor.stop

    def _over_link(self) -> Any:
        from terminal_sim.keeper import LinkKeeper

        kept = states.load(self._folder)
        self._keeper = keeper = LinkKeeper(kept, self._clock, self._reactor, ("en",))
        carrier = self._carrier
        assert carrier is not None
        self._send = carrier.send

        keeper.on_event, keeper.on_trouble = carrier.happened, self._trouble

        def look() -> None:
            if keeper.attempts:
                self.console.notice = keeper.trouble
                self._ready.set()
            else:
                self._reactor.callLater(0.05, look)

        def leave() -> None:
            keeper.stop().addBoth(lambda _: self._reactor.stop())

        self._reactor.callWhenRunning(keeper.start)
        self._reactor.callWhenRunning(look)
        self._reactor.addSystemEventTrigger("after", "shutdown", kept.close)
        return leave
