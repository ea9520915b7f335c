"""The desk of application counters (claims 10 and 20)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo

from sqlalchemy import Connection, func, select
from twisted.internet.defer import Deferred, fail

from charging.modes import MODE_KINDS
from charging.periods import cut_overs, period, period_of
from operator_server.counting.grants import UsageGrants
from operator_server.counting.intake import Message as Reports
from operator_server.counting.intake import present, take_reports
from operator_server.counting.tariffs import TariffVersions
from operator_server.desk import Handler, Refused, Visitor
from operator_server.settings import Settings
from operator_server.store.accounting import CounterState
from operator_server.store.dealings import Agreement, Installation
from operator_server.store.rows import table
from operator_server.store.store import Store
from operator_server.store.terms import AgreementPrice, AgreementTerm
from signalling.clock import Clock, to_micros
from signalling.envelope import BodyError
from signalling.messages import CounterReports, Message

MAX_CUT_OVERS = 64
"""Samples that one report can carry."""


class CountingDesk:
    """Takes counter reports, those that arrive together in one go.

    What it answers is on the disk before the terminal hears of it.
    """

    def __init__(
        self, store: Store, tariffs: TariffVersions, grants: UsageGrants, settings: Settings, clock: Clock
    ) -> None:
        self._store = store
        self._tariffs = tariffs
        self._grants = grants
        self._zone = settings.operator.zone
        self._clock = clock

    def handlers(self) -> dict[type[Message], Handler]:
        """The messages that this desk answers."""
        return {CounterReports: self.reports}

    def reports(self, visitor: Visitor, message: CounterReports) -> Deferred[Sequence[Message]]:
        """Answer reports with their fate and with usage grants."""
        try:
            presented = present(visitor, message)
        except BodyError as no:
            return fail(Refused("bad_document", str(no)))

        return self._store.write_grouped(self._take, presented)

    def _take(self, connection: Connection, messages: Sequence[Reports]) -> list[Sequence[Message]]:
        now = self._clock.now()
        noted = take_reports(connection, self._tariffs, self._grants, self._zone, messages, now)
        return [(each,) for each in noted]


def cut_overs_due(connection: Connection, terminal: str, now: datetime, zone: tzinfo) -> list[int]:
    """The cut-over instants to announce to a terminal: the period ends since its counters reported, and the next one,
    with the ends of trials and the begins of announced prices among them.

    Empty for a terminal on which nothing is charged by use. Of more than 64 the latest.
    """
    installation, agreement, state = table(Installation), table(Agreement), table(CounterState)
    since = connection.execute(
        select(func.min(func.coalesce(state.c.reported_at, agreement.c.agreed_at)))
        .select_from(installation)
        .join(agreement, agreement.c.id == installation.c.agreement_id)
        .outerjoin(state, state.c.installation_id == installation.c.id)
        .where(
            installation.c.terminal_id == terminal,
            installation.c.removed_at.is_(None),
            agreement.c.mode_kind.in_([kind.name for kind in MODE_KINDS.values() if kind.by_use]),
        )
    ).scalar()
    if since is None:
        return []
    ends = cut_overs(since, now, zone)
    ends.append(period(period_of(now, zone), zone).end)
    ends += [cut for cut in _price_cuts(connection, terminal) if since < cut <= ends[-1]]
    ends = sorted(set(ends))
    return [to_micros(end) for end in ends[-MAX_CUT_OVERS:]]


def _price_cuts(connection: Connection, terminal: str) -> list[datetime]:
    """When the price of use changes on this terminal."""
    agreement, term, price = table(Agreement), table(AgreementTerm), table(AgreementPrice)
    found: list[datetime] = []
    for model, instant in ((term, term.c.trial_ends_at), (price, price.c.effective_at)):
        rows = connection.execute(
            select(instant)
            .join_from(model, agreement, agreement.c.id == model.c.agreement_id)
            .where(agreement.c.terminal_id == terminal, instant.is_not(None), agreement.c.tariff_version != "")
        )
        found += rows.scalars()
    return found
