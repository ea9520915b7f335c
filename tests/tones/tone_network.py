"""The home register, nodes and a phone, joined by real sockets, in a reactor that runs beside the tests."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from card_samples import NUMBER
from tone_samples import ToneHouse, open_tones
from twisted.internet.defer import gatherResults
from twisted.internet.threads import blockingCallFromThread

from operator_server.cards import channel
from operator_server.context import Operator
from operator_server.roles.nodes import NodesRole
from operator_server.settings import NodesSettings
from operator_server.store.cards import CardPacketRow
from operator_server.store.tones import DeliveryReport
from signalling.card.dialogue import Tell
from signalling.card.profile import Profile
from signalling.clock import to_micros
from terminal_sim.air import AirPhone, attach_at
from terminal_sim.card import Card
from terminal_sim.handset import MODERN, Handset, Key
from terminal_sim.node import Node

T = TypeVar("T")
SECONDS = 15.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Ticking:
    """A clock that goes on a millisecond whenever somebody looks, so that what happened has an order."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    def now(self) -> datetime:
        self._clock.advance(timedelta(milliseconds=1))
        now: datetime = self._clock.now()
        return now

    def micros(self) -> int:
        return to_micros(self.now())


class Network:
    """Nodes north and south, and a phone at north. All work is done in the reactor's thread."""

    def __init__(self, house: ToneHouse, reactor: Any, profile: Profile = MODERN, **settings: Any) -> None:
        self.house, self.reactor = house, reactor
        nodes = NodesSettings(**{"port": free_port(), "tls": False, "voice_frame_ms": 0} | settings)
        before = house.operator
        self.operator = Operator(before.settings.model_copy(update={"nodes": nodes}), Ticking(before.clock))
        self.texts: list[str] = []
        self.log: list[tuple[str, str]] = []
        self.heard: list[str] = []
        self.spoken: list[str] = []
        self.role = self.run(lambda: NodesRole(self.operator, reactor))
        self.port = self.run(self.role.start)
        self.nodes: dict[str, Node] = {}
        self.radios: dict[str, int] = {}
        for name in ("north", "south"):
            self.open(name)
        self.card = Card(house.memory())
        self.air = AirPhone(NUMBER, self.texts.append)
        self.handset = Handset(self.card.transmit, self.air.send, services=self.air, profile=profile)
        self.air.handset = self.handset
        self._listen_in()
        self.move("north")
        self.run(self.handset.power_on)
        if self.card.applet._screens.can_talk:
            # The interrogation is over when the menu is there.
            self.wait(lambda: self.card.memory.applet.menu)

    def _listen_in(self) -> None:
        """Write down what goes over the phone's radio."""
        heard, say = self.air.heard, self.air._say

        def hear(line: str) -> None:
            self.heard.append(line)
            heard(line)

        def speak(line: str) -> bool:
            self.spoken.append(line)
            return say(line)

        self.air.heard = hear  # type: ignore[method-assign]  # a test's tap
        self.air._say = speak  # type: ignore[method-assign]  # a test's tap

    def open(self, name: str, secret: str = "") -> Node:
        node = Node(name, self.reactor, secret, lambda line: self.log.append((name, line)))
        self.nodes[name] = node
        self.radios[name] = self.run(node.listen)
        tls = self.operator.settings.nodes.tls
        ca_pem = json.loads(self.operator.bundle())["ca_pem"] if tls else ""
        self.run(lambda: node.home.attach(f"{'localhost' if tls else '127.0.0.1'}:{self.port}", ca_pem))
        assert self.until(lambda: node.home.attached or node.home.refusal)
        return node

    def run(self, work: Callable[[], T]) -> T:
        result: T = blockingCallFromThread(self.reactor, work)
        return result

    @staticmethod
    def until(condition: Callable[[], Any], seconds: float = SECONDS) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    def wait(self, condition: Callable[[], Any]) -> None:
        assert self.until(condition), (self.shows, self.texts, self.log[-12:], self.reports()[-3:], self.heard[-3:])

    def close(self) -> None:
        def stop() -> Any:
            ports = [port for node in self.nodes.values() for port in node.close()]
            if self.air.radio is not None:
                self.air.radio.transport.abortConnection()
            return gatherResults([*ports, self.role.stop()])

        self.run(stop)
        self.operator.engine.dispose()

    # The phone and its user.

    @property
    def shows(self) -> list[str]:
        return [item.text for item in self.handset.screen.lines] or [self.handset.screen.title]

    def move(self, name: str) -> None:
        """The phone comes to a node, which tells the home register."""
        self.run(lambda: attach_at(self.reactor, f"127.0.0.1:{self.radios[name]}", self.air))
        self.wait(lambda: self.air.node == name)
        self.wait(lambda: self.located() == name)

    def located(self) -> str:
        from operator_server.nodes.locations import location_of

        with self.house.engine.connect() as connection:
            row = location_of(connection, NUMBER)
            return row.node if row else ""

    def dial(self, text: str) -> str:
        """A line in a USSD session, and what it is answered."""
        count = len(self.texts)
        assert self.run(lambda: self.air.dial(text))
        self.wait(lambda: len(self.texts) > count)
        return self.texts[-1]

    def write(self, text: str) -> str:
        """A short message to the operator, and what it is answered."""
        count = len(self.texts)
        assert self.run(lambda: self.air.text("+4900000", text))
        self.wait(lambda: len(self.texts) > count)
        return self.texts[-1]

    def press(self, *keys: Any) -> None:
        for key in keys:
            self.wait(lambda: self.handset.asked)
            self.run(lambda key=key: self.handset.press(key))  # type: ignore[misc]  # bound by default

    def choose(self, *lines: str) -> None:
        for line in lines:
            self.wait(lambda line=line: any(each.startswith(line) for each in self.shows))  # type: ignore[misc]  # bound to this turn
            self.run(lambda line=line: self.handset.choose(line))  # type: ignore[misc]  # bound to this turn

    def see(self, text: str) -> None:
        """Wait for a screen whose title begins so; texts that come before it are read and put away."""
        for _ in range(8):
            self.wait(lambda: self.handset.asked)
            title, kind = self.handset.screen.title, self.handset.screen.kind
            if title.startswith(text):
                return
            assert kind == "text", (kind, title, self.shows)
            self.run(lambda: self.handset.press(Key.OK))
        raise AssertionError(f"{text!r} does not come; there is {self.handset.screen}")

    def choose_bach(self) -> None:
        """Bach is chosen by USSD text; its quote is on its way to the card."""
        for word in ("*100#", "1", "2", "1", "1"):
            self.dial(word)

    def agree(self) -> None:
        """The quote is on the screen; say yes to it."""
        self.see("Bach.")
        self.press(Key.OK, "1")

    # What came of it.

    def slots(self) -> dict[str, tuple[str, bytes]]:
        return dict(self.card.memory.applet.slots)

    def reports(self, kind: str = "") -> list[DeliveryReport]:
        """What nodes reported, of packets of this kind alone, in its order."""
        packets = {row.id for row in self.house.rows(CardPacketRow) if kind in ("", row.kind)}
        rows = [row for row in self.house.rows(DeliveryReport) if row.packet_id in packets]
        return sorted(rows, key=lambda each: each.id)

    def tell(self, text: str) -> None:
        """Queue a notice for the card."""
        now = self.operator.clock.now()
        self.house.change(lambda c: channel.queue(c, self.operator.vault, "SIM-1", Tell("notice", text), now))

    def steps(self, name: str) -> list[str]:
        """What a node did for the phone."""
        return [line.removeprefix(f"{NUMBER} ") for node, line in self.log if node == name and line.startswith(NUMBER)]


__all__ = ["Network", "free_port", "open_tones"]
