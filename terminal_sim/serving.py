"""Nodes of a simulated network: they page phones, set up control channels, carry short messages and USSD unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from signalling.card import sms
from signalling.card.tlv import CardError
from signalling.clock import Clock
from terminal_sim.handset import Handset

Application = Callable[[str, bytes], bytes]
"""What answers USSD: told number and bytes."""


class Step(NamedTuple):
    """What a node did for a phone."""

    what: Literal["page", "connect", "authenticate", "deliver", "ussd"]
    number: str
    channel: str = ""
    data: bytes = b""


class Node:
    """A mobile switching centre with its register of visitors. ``log``: what it did, for whoever looks.

    ``refuses``: numbers whose phones take nothing now; ``keep``: told each SMS-DELIVER when it is with the phone.
    """

    def __init__(self, name: str, clock: Clock, application: Application = lambda number, data: b"") -> None:
        self.name = name
        self.phones: dict[str, Handset] = {}
        self.refuses: set[str] = set()
        self.log: list[Step] = []
        self._clock, self._application = clock, application

    def carry(self, number: str, data: bytes, how: Any, *, set_up: bool) -> Any:
        """User data for a phone: "delivered", "busy" where it takes none now, "absent", or "failed"."""
        phone = self.phones.get(number)
        if phone is None:
            return "absent"
        if number in self.refuses:
            return "busy"
        if set_up:
            self.log += [Step("page", number), Step("connect", number, "SDCCH"), Step("authenticate", number)]
        try:
            content = sms.decode_user_data(data, has_header=True)
        except CardError:
            return "failed"
        deliver = sms.Deliver("+4900000", content, self._clock.now(), sms.PID_SIM_DOWNLOAD, sms.DCS_CARD)
        self.log.append(Step("ussd" if how == "ussd" else "deliver", number, "SDCCH", data))
        phone.deliver(deliver.encode())
        return "delivered"

    def ussd(self, number: str, data: bytes) -> bytes:
        """What a phone sends in a USSD session, and the answer: both pass as they are."""
        self.log.append(Step("ussd", number, "SDCCH", data))
        answer = self._application(number, data)
        self.log.append(Step("ussd", number, "SDCCH", answer))
        return answer
