"""What stands between a phone and the operator: a terminal link that carries a card's messages, or the radio side of a
simulated short message centre. Both bring and take the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from signalling.card import sms
from signalling.card.tlv import CardError
from signalling.card.ussd import is_for_card
from signalling.clock import Clock
from terminal_sim.events import CardDataArrived, Event
from terminal_sim.handset import Services

Arrived = Callable[[bytes], None]
"""Told an SMS-DELIVER for the card."""


class LinkCarrier(Services):
    """Carries over a terminal's link. ``client`` gives the link that stands now; ``card``: the card's ICCID.

    What a card says by USSD, where its phone sends no short messages, the link carries as well; :attr:`answered` is
    told that it went.
    """

    answered: Callable[[str], None] = staticmethod(lambda text: None)

    def __init__(self, client: Callable[[], Any], card: Callable[[], str], clock: Clock, arrived: Arrived) -> None:
        self._client = client
        self._card = card
        self._clock = clock
        self._arrived = arrived

    def send(self, tpdu: bytes) -> bool:
        """A message of the card; false when there is no link."""
        client = self._client()
        if client is None:
            return False
        client.carry(self._card(), sms.decode_submit(tpdu).content.encode())
        return True

    def ussd(self, dcs: int, data: bytes) -> bool:
        """A USSD string of the card; false when there is no link."""
        client = self._client()
        if client is None or not is_for_card(dcs):
            return False
        client.carry(self._card(), data)
        self.answered("")
        return True

    def happened(self, event: Event) -> None:
        """An event of the link: what is for this card becomes a message as from a network."""
        if not isinstance(event, CardDataArrived) or event.card != self._card():
            return
        try:
            content = sms.decode_user_data(event.data, has_header=True)
        except CardError:
            return
        deliver = sms.Deliver("+4900000", content, self._clock.now(), sms.PID_SIM_DOWNLOAD, sms.DCS_CARD)
        self._arrived(deliver.encode())


class Radio(LineOnlyReceiver):
    """A phone at a simulated short message centre: lines ``ATTACH number``, ``MO hex`` to it and ``MT hex`` from it."""

    delimiter = b"\n"
    MAX_LENGTH = 1024
    transport: Any

    def __init__(self, number: str, arrived: Arrived, trouble: Callable[[str], None]) -> None:
        self._number, self._arrived, self._trouble = number, arrived, trouble
        self._up = False

    def connectionMade(self) -> None:
        self._up = True
        self.transport.write(f"ATTACH {self._number}\n".encode())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._up = False
        self._trouble(f"no network: {reason.getErrorMessage()}")

    def lineReceived(self, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        if word == b"MT":
            try:
                self._arrived(bytes.fromhex(rest.decode("ascii")))
            except ValueError:
                self._trouble("the network sends what is no message")

    def send(self, tpdu: bytes) -> bool:
        """A message of the card; false without a network."""
        if self._up:
            self.transport.write(b"MO " + tpdu.hex().encode() + b"\n")
        return self._up


def attach(reactor: Any, address: str, radio: Radio) -> Any:
    """Connect a phone to the centre at ``host:port``; the Deferred of an endpoint."""
    from twisted.internet.endpoints import HostnameEndpoint

    host, _, port = address.rpartition(":")
    endpoint: Any = HostnameEndpoint(reactor, host, int(port))
    return endpoint.connect(Factory.forProtocol(lambda: radio))
