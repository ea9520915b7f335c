"""What counting reads in the store. Every function runs in the caller's transaction.

Reports of many terminals are taken together, so what is asked for many is asked with one statement.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, select, update

from charging.counters import CounterState, Known
from charging.modes import PAYMENTS, Owed, Payment, mode_kind, owed, payment_of
from operator_server.store.accounting import CounterGap, CounterReportRow, UsageGrantRow
from operator_server.store.accounting import CounterState as CounterStateRow
from operator_server.store.dealings import Agreement, Installation, QuoteRow
from operator_server.store.parties import TerminalKey
from operator_server.store.rows import add_many, table
from operator_server.store.terms import AgreementPrice, AgreementTerm
from signalling.clock import to_micros
from signalling.documents import CounterReport, Quote, decode_document
from signalling.ids import new_id

TAKEN = ("accepted", "gap", "reset")
"""Statuses of reports that count among the known ones."""

CounterKey = tuple[str, str]
"""Installation and counter."""

_AT_ONCE = 500
"""Values in one statement."""

T = TypeVar("T")


def portions(values: Iterable[T]) -> Iterator[list[T]]:
    """The values in lists that one statement can take."""
    rest = iter(values)
    while portion := list(islice(rest, _AT_ONCE)):
        yield portion


@dataclass(frozen=True, slots=True)
class Counted:
    """An installation with the agreement that its use is charged by.

    ``counter``: the counter that charges, empty where none does. ``usable``: the agreement still lets it be used.
    ``trial_until``: use before costs nothing; ``until``: when the agreement ends, if it does. ``prices``: versions of
    the tariff that were announced since, and when each begins.
    """

    installation: str
    terminal: str
    agreement: str
    account: str
    subscriber: str
    product: str
    offer: str
    currency: str
    tax_category: str
    tax_rate: int
    spending_limit: int | None
    tariff_version: str
    agreed_at: datetime
    counter: str
    usable: bool
    payment: Payment = PAYMENTS["postpaid"]
    trial_until: datetime | None = None
    until: datetime | None = None
    prices: tuple[tuple[datetime, str], ...] = ()
    tax_included: int = 0

    def owed(self, price: int) -> Owed:
        """What a price comes to where tax is paid with it."""
        return owed(price, self.tax_rate, self.tax_included)

    def version_at(self, at: datetime) -> str:
        """The tariff version that rates use of an instant."""
        return next((version for begin, version in reversed(self.prices) if begin <= at), self.tariff_version)

    @property
    def cuts(self) -> tuple[datetime, ...]:
        """Instants at which the price of use changes."""
        trial = () if self.trial_until is None else (self.trial_until,)
        return (*trial, *(begin for begin, _ in self.prices))


def counted(connection: Connection, installations: Collection[str]) -> dict[str, Counted]:
    """Those of the installations that exist, by id."""
    installation, agreement, quote, term = table(Installation), table(Agreement), table(QuoteRow), table(AgreementTerm)
    statement = (
        select(
            installation.c.id.label("installation"),
            installation.c.terminal_id.label("terminal"),
            installation.c.removed_at,
            agreement,
            quote.c.document,
            term.c.trial_ends_at,
            term.c.ends_at,
        )
        .join(agreement, agreement.c.id == installation.c.agreement_id)
        .join(quote, quote.c.id == agreement.c.quote_id)
        .outerjoin(term, term.c.agreement_id == agreement.c.id)
    )
    rows = [
        row
        for ids in portions(installations)
        for row in connection.execute(statement.where(installation.c.id.in_(ids)))
    ]
    prices = _announced(connection, [row.id for row in rows if row.tariff_version])
    return {row.installation: _counted(row, prices.get(row.id, ())) for row in rows}


def _announced(connection: Connection, agreements: Collection[str]) -> dict[str, tuple[tuple[datetime, str], ...]]:
    """Agreement to the tariff versions that were announced to its user, in order."""
    price = table(AgreementPrice)
    found: dict[str, tuple[tuple[datetime, str], ...]] = {}
    for ids in portions(agreements):
        rows = connection.execute(
            select(price).where(price.c.agreement_id.in_(ids)).order_by(price.c.agreement_id, price.c.effective_at)
        )
        for row in rows:
            found[row.agreement_id] = (*found.get(row.agreement_id, ()), (row.effective_at, row.tariff_version))
    return found


def _counted(row: Row[Any], prices: tuple[tuple[datetime, str], ...]) -> Counted:
    terms = decode_document(Quote, row.document).mode
    return Counted(
        installation=row.installation,
        terminal=row.terminal,
        agreement=row.id,
        account=row.account_id,
        subscriber=row.subscriber_id,
        product=row.product,
        offer=row.offer_id,
        currency=row.currency,
        tax_category=row.tax_category,
        tax_rate=row.tax_rate,
        spending_limit=row.spending_limit,
        tariff_version=row.tariff_version,
        agreed_at=row.agreed_at,
        counter=terms.counter if mode_kind(row.mode_kind).by_use else "",
        usable=row.state not in ("failed", "ended") and row.removed_at is None,
        payment=payment_of(terms.payment),
        trial_until=row.trial_ends_at,
        until=row.ends_at,
        prices=prices,
        tax_included=row.tax_included,
    )


def states(connection: Connection, installations: Collection[str]) -> dict[CounterKey, CounterState]:
    """What is known of the installations' counters; on PostgreSQL nobody else changes it before this commits."""
    state = table(CounterStateRow)
    statement = select(state).with_for_update()
    return {
        (row.installation_id, row.counter): CounterState(
            row.sequence,
            row.epoch,
            row.value,
            row.digest,
            {int(epoch): value for epoch, value in row.state["charged"].items()},
        )
        for ids in portions(installations)
        for row in connection.execute(statement.where(state.c.installation_id.in_(ids)))
    }


def is_stored(connection: Connection, key: CounterKey, digest: bytes) -> bool:
    """Whether a report with this digest is stored, whatever became of it."""
    report = table(CounterReportRow)
    found = select(report.c.id).where(
        report.c.installation_id == key[0], report.c.counter == key[1], report.c.digest == digest
    )
    return connection.execute(found).first() is not None


def neighbours(
    connection: Connection, key: CounterKey, sequence: int
) -> tuple[Known | None, Known | None, Known | None]:
    """The taken reports with this number, with the highest number below it, and with the lowest above it."""
    report = table(CounterReportRow)
    taken = select(report).where(
        report.c.installation_id == key[0], report.c.counter == key[1], report.c.status.in_(TAKEN)
    )
    number = report.c.sequence
    below = connection.execute(taken.where(number <= sequence).order_by(number.desc()).limit(2)).all()
    above = connection.execute(taken.where(number > sequence).order_by(number).limit(1)).first()
    same = _known(below[0]) if below and below[0].sequence == sequence else None
    before = next((_known(row) for row in below if row.sequence < sequence), None)
    return same, before, None if above is None else _known(above)


def _known(row: Row[Any]) -> Known:
    previous = decode_document(CounterReport, row.document).previous
    return Known(row.sequence, row.epoch, row.value, row.digest, previous)


def keys_at(connection: Connection, terminal: str, at: datetime) -> list[bytes]:
    """The public keys that the terminal held at an instant."""
    key = table(TerminalKey)
    rows = connection.execute(
        select(key.c.public_key).where(
            key.c.terminal_id == terminal,
            key.c.valid_from <= at,
            key.c.valid_to.is_(None) | (key.c.valid_to > at),
        )
    )
    return list(rows.scalars())


def open_grants(connection: Connection, installations: Collection[str]) -> list[Row[Any]]:
    """The usage grants of these installations that no later one has replaced."""
    grant = table(UsageGrantRow)
    statement = select(grant).where(grant.c.state == "open")
    return [
        row
        for ids in portions(installations)
        for row in connection.execute(statement.where(grant.c.installation_id.in_(ids)))
    ]


def fill_gap(connection: Connection, key: CounterKey, sequence: int, now: datetime) -> None:
    """A missing report has come: its gap becomes a closed one of this number, and what is still missing beside it gets
    rows of its own."""
    gap = table(CounterGap)
    row = connection.execute(
        select(gap).where(
            gap.c.installation_id == key[0],
            gap.c.counter == key[1],
            gap.c.first_sequence <= sequence,
            gap.c.last_sequence >= sequence,
            gap.c.closed_at.is_(None),
        )
    ).one()
    connection.execute(
        update(gap).where(gap.c.id == row.id).values(first_sequence=sequence, last_sequence=sequence, closed_at=now)
    )
    rest = [(row.first_sequence, sequence - 1), (sequence + 1, row.last_sequence)]
    add_many(
        connection,
        [
            CounterGap(
                id=new_id(to_micros(now)),
                installation_id=key[0],
                counter=key[1],
                first_sequence=first,
                last_sequence=last,
                noticed_at=row.noticed_at,
            )
            for first, last in rest
            if first <= last
        ],
    )
