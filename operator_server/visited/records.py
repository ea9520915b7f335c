"""Settlement records: what a visited network is owed by home for a feature; each side keeps one, under the same id.

The visited network keeps its record before it tells home, and tells it until home has acknowledged; home takes each
record once. Both can make the same file of a month and compare line by line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, select

from charging.periods import PeriodError, period
from operator_server.store.rows import matching, table
from operator_server.store.visited import SettlementRecord
from operator_server.visited.faults import VisitedError
from operator_server.visited.wire import Currency, Direction, Line, MicrosOwed
from signalling.clock import from_micros, to_micros
from signalling.codes.table import EfNumber, FeatureName
from signalling.messages import Id, Instant, Signed
from signalling.money import Money, MoneyError, checked_currency, format_micros

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=1)
COLUMNS = ("id", "terminal", "feature", "agreement", "amount", "currency", "agreed_at", "digest")


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a visited network tells home: this subscriber took this feature here, and so much is owed for it."""

    id: Id
    visited: Id
    home: Id
    terminal: Id
    feature: FeatureName
    ef: EfNumber
    quote: Id
    agreement: Id
    amount: MicrosOwed
    currency: Currency
    agreed_at: Instant
    confirmation: Signed

    def digest(self) -> bytes:
        """SHA-256 over all of it: both sides hold the same."""
        return sha256(b"tollgate settlement 1\x00" + msgspec.msgpack.encode(self)).digest()

    def check(self) -> None:
        """Raises :class:`VisitedError`."""
        try:
            checked_currency(self.currency)
        except MoneyError as no:
            raise VisitedError("bad_record", f"record {self.id}: {no}") from None


def row_of(claim: Claim, direction: Direction, now: datetime) -> SettlementRecord:
    """The row of a claim."""
    return SettlementRecord(
        id=claim.id,
        direction=direction,
        network=claim.home if direction == "receivable" else claim.visited,
        terminal=claim.terminal,
        feature=claim.feature,
        ef=claim.ef,
        quote_id=claim.quote,
        agreement_id=claim.agreement,
        amount=claim.amount,
        currency=claim.currency,
        agreed_at=from_micros(claim.agreed_at),
        confirmation=claim.confirmation.document,
        signature=claim.confirmation.signature,
        digest=claim.digest(),
        due_at=now,
    )


def claim_of(row: Row[Any] | SettlementRecord, own: str) -> Claim:
    """The claim again."""
    ours = row.direction == "receivable"
    return Claim(
        id=row.id,
        visited=own if ours else row.network,
        home=row.network if ours else own,
        terminal=row.terminal,
        feature=row.feature,
        ef=row.ef,
        quote=row.quote_id,
        agreement=row.agreement_id,
        amount=row.amount,
        currency=row.currency,
        agreed_at=to_micros(row.agreed_at),
        confirmation=Signed(row.confirmation, row.signature),
    )


def record_row(connection: Connection, record_id: str) -> Row[Any] | None:
    """A record."""
    rows = table(SettlementRecord)
    return connection.execute(select(rows).where(rows.c.id == record_id)).first()


def pause_after(attempts: int) -> timedelta:
    """How long to wait before the next try."""
    return min(FIRST_PAUSE * (1 << min(attempts, 10)), LONGEST_PAUSE)


@dataclass(frozen=True)
class Difference:
    """Where two settlement files differ."""

    id: str
    what: str


def month_span(month: str) -> tuple[datetime, datetime]:
    """When a month of UTC begins, and the next one. Raises :class:`VisitedError` for what is no month."""
    try:
        _, begin, end = period(month, UTC)
    except (PeriodError, OverflowError, ValueError) as no:
        raise VisitedError("bad_month", str(no)) from None
    return begin, end


def month_records(connection: Connection, network: str, direction: Direction, month: str) -> Sequence[Row[Any]]:
    """The records of a month of UTC, by when they were agreed, in order: no zone is both sides'.

    Raises :class:`VisitedError` for what is no month.
    """
    rows = table(SettlementRecord)
    begin, end = month_span(month)
    return connection.execute(
        select(rows)
        .where(
            rows.c.network == network, rows.c.direction == direction, rows.c.agreed_at >= begin, rows.c.agreed_at < end
        )
        .order_by(rows.c.agreed_at, rows.c.id)
    ).all()


def lines_of(rows: Iterable[Row[Any]]) -> list[Line]:
    """The acknowledged records as lines of the file; what is not acknowledged is owed by nobody yet."""
    return [
        Line(
            row.id, row.terminal, row.feature, row.agreement_id, format_micros(row.amount, row.currency), row.currency,
            row.agreed_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), bytes(row.digest).hex(),
        )
        for row in rows
        if row.state == "acknowledged"
    ]  # fmt: skip


def totals_of(rows: Iterable[Row[Any]]) -> dict[str, int]:
    """Micros by currency of the acknowledged records."""
    totals: dict[str, int] = {}
    for row in rows:
        if row.state == "acknowledged":
            totals[row.currency] = totals.get(row.currency, 0) + row.amount
    return totals


@dataclass(frozen=True)
class Sum:
    """Records of a partner in one direction, state and currency together."""

    network: str
    direction: str
    state: str
    currency: str
    records: int
    micros: int


def sums_of(connection: Connection, begin: datetime, end: datetime, network: str = "") -> list[Sum]:
    """What the records of a span come to, of one partner or all."""
    rows = table(SettlementRecord)
    by = (rows.c.network, rows.c.direction, rows.c.state, rows.c.currency)
    query = matching(
        select(*by, func.count(), func.sum(rows.c.amount)).where(rows.c.agreed_at >= begin, rows.c.agreed_at < end),
        (rows.c.network, network),
    )
    found = connection.execute(query.group_by(*by).order_by(*by))
    return [Sum(row[0], row[1], row[2], row[3], int(row[4]), int(row[5])) for row in found]


def write_file(lines: Sequence[Line]) -> str:
    """The settlement file: CSV with a header and a line a record. Both sides write the same bytes."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(line, name) for name in COLUMNS] for line in lines)
    return out.getvalue()


def read_file(text: str) -> list[Line]:
    """A settlement file. Raises :class:`VisitedError` that names the line."""
    reader = csv.reader(io.StringIO(text))
    if tuple(next(reader, ())) != COLUMNS:
        raise VisitedError("bad_file", f"line 1: the columns {','.join(COLUMNS)} are needed")
    lines: list[Line] = []
    seen: set[str] = set()
    for number, cells in enumerate(reader, 2):
        if len(cells) != len(COLUMNS):
            raise VisitedError("bad_file", f"line {number}: {len(cells)} columns, {len(COLUMNS)} are needed")
        line = Line(*cells)
        try:
            Money.parse(line.amount, line.currency)
        except MoneyError as no:
            raise VisitedError("bad_file", f"line {number}: {no}") from None
        if line.id in seen:
            raise VisitedError("bad_file", f"line {number}: record {line.id} stands twice")
        seen.add(line.id)
        lines.append(line)
    return lines


def compare(ours: Iterable[Line], theirs: Iterable[Line], here: str = "here", there: str = "there") -> list[Difference]:
    """Where the other side's lines differ from our records; ``here`` and ``there``: what the sides are called."""
    mine: Mapping[str, Line] = {line.id: line for line in ours}
    other: Mapping[str, Line] = {line.id: line for line in theirs}
    found = [Difference(each, f"only {here}") for each in sorted(mine.keys() - other.keys())]
    found += [Difference(each, f"only {there}") for each in sorted(other.keys() - mine.keys())]
    for each in sorted(mine.keys() & other.keys()):
        a, b = mine[each], other[each]
        differing = [name for name in COLUMNS if getattr(a, name) != getattr(b, name)]
        if differing:
            told = ", ".join(f"{name} {getattr(a, name)} {here}, {getattr(b, name)} {there}" for name in differing)
            found.append(Difference(each, told))
    return found
