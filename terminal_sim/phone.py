"""A card, a phone and a carrier put together for a person: ``tollgate-terminal run --applet``."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from rich.console import Console
from twisted.internet.threads import blockingCallFromThread

from signalling.clock import Clock
from terminal_sim import state as states
from terminal_sim.card import Card, CardFileError, load_card, save_card
from terminal_sim.carrier import LinkCarrier, Radio, attach
from terminal_sim.events import Event
from terminal_sim.handset import CardFault, Handset
from terminal_sim.phone_console import PhoneConsole, Tracer


def run_phone(folder: Path, clock: Clock, console: Console, *, trace: bool, radio: str, number: str) -> None:
    """Until the user quits. Raises :class:`CardFileError` and what the terminal's state raises."""
    path = folder / "card.json"
    if not path.exists():
        raise CardFileError(f"{path}: there is no card; `tollgate card keys TERMINAL --out {path}` writes one")
    if radio and not number:
        raise CardFileError("--radio: say the card's telephone number with --number")
    card = Card(load_card(path), lambda memory: save_card(path, memory))
    from twisted.internet import reactor

    _Phone(card, folder, clock, console, reactor, trace=trace).run(radio, number)


class _Phone:
    def __init__(self, card: Card, folder: Path, clock: Clock, console: Console, reactor: Any, *, trace: bool) -> None:
        self._folder, self._clock, self._reactor = folder, clock, reactor
        self._send: Any = lambda tpdu: False
        tracer = Tracer(console, on=trace)
        self.handset = Handset(card.transmit, lambda tpdu: bool(self._send(tpdu)), trace=tracer)
        self.console = PhoneConsole(self.handset, console, self._call)
        self._ready = threading.Event()
        self._failure: list[BaseException] = []

    def _call(self, work: Any) -> Any:
        return blockingCallFromThread(self._reactor, work)

    def run(self, radio: str, number: str) -> None:
        leave = self._over_radio(radio, number) if radio else self._over_link()
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
        self.handset.deliver(tpdu)
        self.console.changed()

    def _trouble(self, text: str) -> None:
        self.console.notice = text
        self._ready.set()
        self.console.changed()

    def _over_radio(self, address: str, number: str) -> Any:
        phone = Radio(number, self._arrived, self._trouble)
        self._send = phone.send

        def connect() -> None:
            attached = attach(self._reactor, address, phone)
            attached.addCallbacks(lambda _: self._ready.set(), lambda failure: self._trouble(failure.getErrorMessage()))

        self._reactor.callWhenRunning(connect)
        return self._reactor.stop

    def _over_link(self) -> Any:
        from terminal_sim.keeper import LinkKeeper

        kept = states.load(self._folder)
        keeper = LinkKeeper(kept, self._clock, self._reactor, ("en",))
        carrier = LinkCarrier(lambda: keeper.client, lambda: self.handset.iccid, self._clock, self._arrived)
        self._send = carrier.send

        def happened(event: Event) -> None:
            carrier.happened(event)

        keeper.on_event, keeper.on_trouble = happened, self._trouble

        def look() -> None:
            if keeper.attempts:
                self.console.notice = keeper.trouble
                self._ready.set()
            else:
                self._reactor.callLater(0.05, look)

        def leave() -> None:
            down = keeper.stop()
            if down is None:
                self._reactor.stop()
            else:
                down.addBoth(lambda _: self._reactor.stop())

        self._reactor.callWhenRunning(keeper.start)
        self._reactor.callWhenRunning(look)
        self._reactor.addSystemEventTrigger("after", "shutdown", kept.close)
        return leave
