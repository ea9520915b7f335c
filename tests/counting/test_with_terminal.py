"""The terminal's own counters against the desk: what was used in a month is what is charged for that month."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from counting_samples import (
    AGREED,
    SETTINGS,
    SIGNING,
    TERMINAL_KEY,
    House,
    add_customer,
    add_installation,
    add_terminal,
    charges,
)
from sqlalchemy import select

from charging.periods import period_of
from charging.rating import RatingState
from charging.tariffs import rate_usage
from operator_server.counting.desk import cut_overs_due
from operator_server.store.dealings import Agreement, QuoteRow
from operator_server.store.rows import table
from signalling.clock import from_micros, to_micros
from signalling.documents import Quote, decode_document
from signalling.messages import Signed
from signalling.proof import public_bytes
from terminal_sim import counters
from terminal_sim import journal as lines
from terminal_sim.state import State
from terminal_sim.trust import Identity, Trust

DAY = 86_400_000_000
ZONE = SETTINGS.operator.zone
UNSIGNED = Signed(b"", bytes(64))


class Life:
    """A terminal that uses, reports over a bad line, and sometimes loses its counter."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)
        self.now = to_micros(AGREED)
        self.house = House()
        trust = Trust(server="op.example", server_public_key=public_bytes(SIGNING), host="localhost", port=1, tls=False)
        self.state = State(Identity("T-1", TERMINAL_KEY), trust, lines.MemoryJournal(), folder)
        self.uses: list[tuple[int, int, int, str]] = []
        with self.house.writing() as connection:
            add_customer(connection)
            add_terminal(connection)
            add_installation(connection, self.house.version)
            quote = decode_document(Quote, connection.execute(select(table(QuoteRow).c.document)).scalar_one())
            self._install(quote)
            agreement = connection.execute(select(table(Agreement))).one()
            first = self.house.grants.first_grants(connection, agreement, "inst-1", AGREED)
        self.state.record(*counters.checked_usage(self.state, first, self.now))

    def _install(self, quote: Quote) -> None:
        at, agreement = self.now, "agr-inst-1"
        self.state.record(
            lines.Confirmed(
                at=at, agreement=agreement, quote_id=quote.quote, offer=quote.offer, version=quote.offer_version,
                product=quote.product, release=quote.release, title="Chess", subscriber=quote.subscriber,
                terms=quote.mode, amount=0, tax=0, currency=quote.currency, delivers=False, quote=UNSIGNED,
                confirmation=UNSIGNED,
            ),
            lines.Granted(at=at, agreement=agreement, installation="inst-1", grant=UNSIGNED),
            lines.Installed(
                at=at, agreement=agreement, installation="inst-1", product=quote.product, release=quote.release,
                receipt=UNSIGNED,
            ),
        )  # fmt: skip

    def step(self) -> None:
        self.now += int(self.chance.random() * 2 * DAY)
        what = self.chance.random()
        if what < 0.6:
            self.use(self.chance.randint(1, 6))
        elif what < 0.97:
            self.meet(loss=0.3)
        else:
            counters.reset(self.state, "inst-1", self.now)

    def use(self, units: int) -> None:
        try:
            value = counters.use(self.state, "inst-1", units, self.now)
        except counters.UseRefused:
            return
        assert value is not None
        month = period_of(from_micros(self.now), ZONE)
        self.uses.append((self.state.counters["inst-1", "uses"].epoch, value, units, month))

    def meet(self, loss: float = 0.0) -> None:
        """Inquiry, reports and answer, of which the latter two may be lost on the way."""
        now = from_micros(self.now)
        with self.house.writing() as connection:
            cut_overs = cut_overs_due(connection, "T-1", now, ZONE)
        counters.announce(self.state, cut_overs, self.now)
        reports = counters.report(self.state, self.now)
        if self.chance.random() < loss:
            return
        with self.house.writing() as connection:
            noted = self.house.take(connection, now, *reports)
        assert not {outcome.status for outcome in noted.outcomes} & {"conflict", "refused", "gap"}
        if self.chance.random() >= loss:
            counters.acknowledged(self.state, noted, self.now, self.now)


@pytest.mark.requirement("S15")
@pytest.mark.parametrize("seed", range(4))
def test_what_was_used_in_a_month_and_reported_is_charged_for_that_month(seed: int, tmp_path: Path) -> None:
    life = Life(seed, tmp_path)
    for _ in range(120):
        life.step()
    life.now += DAY
    life.meet()
    with life.house.writing() as connection:
        made = charges(connection)
    reported: Counter[int] = Counter()
    for charge in made:
        reported[charge.epoch] = max(reported[charge.epoch], charge.counter_to)
    used: Counter[str] = Counter()
    for epoch, value, units, month in life.uses:
        if value <= reported[epoch]:
            used[month] += units
    charged: Counter[str] = Counter()
    for charge in made:
        charged[charge.period] += charge.quantity
    assert charged == used
    assert len(used) > 2
    for month, units in used.items():
        net = sum(charge.net for charge in made if charge.period == month)
        assert net == rate_usage(life.house.version, units, RatingState()).cost_micros
