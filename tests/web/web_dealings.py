"""Things that happened at the operator: an agreement, use, a rejection, an invoice."""

from __future__ import annotations

from datetime import timedelta

from operator_samples import PLAIN, House

from operator_server.billing.bill_run import run_bills
from operator_server.store.feed import sequence
from operator_server.store.store import transact
from signalling.messages import Reject


def deal(house: House) -> None:
    """One user buys, another rejects; a month later the bill is run."""
    user = house.user()
    user.take("game", "buy")
    other = house.user("T-3", "A-2")
    other.say(Reject("notes", other.version("notes"), "no need"))
    house.clock.advance(timedelta(days=40))
    run_bills(house.engine, house.operator.settings, "2026-11", now=house.clock.now())
    while transact(house.engine, sequence):
        pass
    house.interrogated("T-1", PLAIN)
