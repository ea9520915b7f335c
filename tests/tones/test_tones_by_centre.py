"""Tones by way of a short message centre: its delivery receipts, and the menu by texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from card_samples import NUMBER
from tone_network import Network, Ticking
from tone_samples import ToneHouse
from twisted.internet.threads import blockingCallFromThread

from operator_server.cards.desk import CardDesk
from operator_server.cards.smpp import SmsLine
from operator_server.context import Operator
from operator_server.settings import SmsSettings
from operator_server.store.tones import DeliveryReport
from signalling.card import sms
from terminal_sim.air import for_card
from terminal_sim.card import Card
from terminal_sim.carrier import Radio, attach
from terminal_sim.handset import Handset
from terminal_sim.smsc import Centre


class Line:
    """A centre, the operator's line to it, and a phone."""

    def __init__(self, house: ToneHouse, reactor: Any) -> None:
        self.house, self.reactor = house, reactor
        clock: Any = Ticking(house.clock)
        self.centre = self.run(lambda: Centre(reactor, clock))
        port, radio = self.run(self.centre.listen)
        settings = SmsSettings(host="127.0.0.1", port=port, tls=False, per_second=1000)
        self.operator = Operator(house.operator.settings.model_copy(update={"sms": settings}), clock)
        self.line = SmsLine(self.operator, CardDesk(self.operator, house.offers))
        self.line.start()
        self.texts: list[str] = []
        self.card = Card(house.memory())
        self.radio = Radio(NUMBER, self._arrived, lambda trouble: None)
        self.handset = Handset(self.card.transmit, self.radio.send)
        self.run(lambda: attach(reactor, f"127.0.0.1:{radio}", self.radio))
        self.run(self.handset.power_on)
        self.wait(lambda: self.card.memory.applet.menu)

    def _arrived(self, tpdu: bytes) -> None:
        message = sms.decode_deliver(tpdu)
        if for_card(message):
            self.handset.deliver(tpdu)
        else:
            self.texts.append(sms.content_text(message))

    def run(self, work: Callable[[], Any]) -> Any:
        return blockingCallFromThread(self.reactor, work)

    def wait(self, condition: Callable[[], Any]) -> None:
        assert Network.until(condition), (self.line.state, self.texts, self.reports())

    def reports(self) -> list[str]:
        return [row.outcome for row in sorted(self.house.rows(DeliveryReport), key=lambda row: row.id)]

    def write(self, text: str) -> str:
        count = len(self.texts)
        content, dcs = sms.text_content(text)
        assert self.run(lambda: self.radio.send(sms.Submit("+4900000", content, 0, 0, dcs).encode()))
        self.wait(lambda: len(self.texts) > count)
        return self.texts[-1]

    def close(self) -> None:
        self.line.stop()
        self.run(lambda: [*self.centre.close(), self.radio.transport.abortConnection()][0])
        self.operator.engine.dispose()


@pytest.fixture
def line(house: ToneHouse, running_reactor: Any) -> Iterator[Line]:
    line = Line(house, running_reactor)
    yield line
    line.close()


@pytest.mark.requirement("E17")
@pytest.mark.requirement("E18")
def test_the_centre_reports_what_arrived_and_what_did_not(line: Line) -> None:
    line.wait(lambda: line.reports() and set(line.reports()) == {"delivered"})
    line.centre.lose = lambda tpdu: for_card(sms.decode_deliver(tpdu))
    line.run(line.handset.open_menu)
    line.run(lambda: line.handset.choose("Ask for offers"))
    line.wait(lambda: line.reports()[-1] == "failed")


@pytest.mark.requirement("E7")
def test_the_menu_of_tones_is_gone_through_by_texts(line: Line) -> None:
    assert line.write("Tones").startswith("Tones\n1 By letter")
    assert line.write("1") == "Tones\n1 A\n2 B\n0 Back"
    line.write("2")
    line.write("1")
    assert line.write("1") == "Please confirm on your screen."
    line.wait(lambda: line.handset.screen.title.startswith("Bach."))
