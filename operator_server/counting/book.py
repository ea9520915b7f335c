"""What counting reads in the store. Every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from charging.counters import CounterState, Known
from charging.modes import mode_kind
from operator_server.store.accounting import CounterReportRow, UsageGrantRow
from operator_server.store.accounting import CounterState as CounterStateRow
from operator_server.store.dealings import Agreement, Installation, QuoteRow
from operator_server.store.parties import TerminalKey
from operator_server.store.rows import table
from signalling.documents import CounterReport, Quote, decode_document

TAKEN = ("accepted", "gap", "reset")
"""Statuses of reports that count among the known ones."""

CounterKey = tuple[str, str]
"""Installation and counter."""


@dataclass(frozen=True, slots=True)
class Counted:
    """An installation with the agreement that its use is charged by.

    ``counter``: the counter that charges, empty where none does. ``usable``: the agreement still lets it be used.
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


def counted(connection: Connection, installations: Collection[str]) -> dict[str, Counted]:
    """Those of the installations that exist, by id."""
    installation, agreement, quote = table(Installation), table(Agreement), table(QuoteRow)
    rows = connection.execute(
        select(
            installation.c.id.label("installation"),
            installation.c.terminal_id.label("terminal"),
            installation.c.removed_at,
            agreement,
            quote.c.document,
        )
        .join(agreement, agreement.c.id == installation.c.agreement_id)
        .join(quote, quote.c.id == agreement.c.quote_id)
        .where(installation.c.id.in_(installations))
    )
    return {row.installation: _counted(row) for row in rows}


def _counted(row: Row[Any]) -> Counted:
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
    )


def states(connection: Connection, installations: Collection[str]) -> dict[CounterKey, CounterState]:
    """What is known of the installations' counters; on PostgreSQL nobody else changes it before this commits."""
    state = table(CounterStateRow)
    rows = connection.execute(select(state).where(state.c.installation_id.in_(installations)).with_for_update())
    return {
        (row.installation_id, row.counter): CounterState(
            row.sequence,
            row.epoch,
            row.value,
            row.digest,
            {int(epoch): value for epoch, value in row.state["charged"].items()},
        )
        for row in rows
    }


def stored_statuses(
    connection: Connection, installations: Collection[str], digests: Iterable[bytes]
) -> dict[bytes, tuple[str, str]]:
    """Status and reason of those reports that are stored already, by the digest of their documents."""
    report = table(CounterReportRow)
    rows = connection.execute(
        select(report.c.digest, report.c.status, report.c.reason).where(
            report.c.installation_id.in_(installations), report.c.digest.in_(list(digests))
        )
    )
    return {row.digest: (row.status, row.reason) for row in rows}


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


def open_grants(connection: Connection, installations: Collection[str]) -> Sequence[Row[Any]]:
    """The usage grants of these installations that no later one has replaced."""
    grant = table(UsageGrantRow)
    return connection.execute(
        select(grant).where(grant.c.installation_id.in_(installations), grant.c.state == "open")
    ).all()
