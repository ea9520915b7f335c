"""What was charged for use, read back as the uses it was rated from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, case, func, or_, select

from charging.ledger.seal import GROUP_DIGITS
from charging.tariffs import TariffVersion
from charging.tariffs.explain import Explanation, Use
from charging.tariffs.simulate import Charged, History
from operator_server.counting.tariffs import TariffVersions
from operator_server.store.accounting import Charge, CounterReportRow
from operator_server.store.dealings import Agreement
from operator_server.store.rows import table
from operator_server.store.usage import UsageRecord
from signalling.clock import from_micros
from signalling.documents import CounterReport, decode_document

RERATED = "rerated"
"""The kind of a charge that stands for one of use, rated again after a tariff fault; ``reverses_id`` is that one."""

_INSTANT = timedelta(microseconds=1)


class UnknownUse(LookupError):
    """No charge for use of that name, or more than one; the text says which and what to do."""


@dataclass(frozen=True, slots=True)
class ChargedUse:
    """A charge for use with those of its agreement and rating period that were rated before it; it is the last.

    ``price``: what of it the tariff is to make, micros; ``None`` where that is not kept, for who pays at once and owes
    none of the tax that the price contains.
    """

    charge: Row[Any]
    uses: Sequence[Use]
    price: int | None

    def agrees(self, explained: Explanation) -> bool:
        """Whether the tariff makes of the use what was charged, and its steps add up to that."""
        charged = explained.cost_micros if self.price is None else self.price
        return explained.cost_micros == charged == sum(step.cost for step in explained.steps)


def as_rated_last(charges: Select[Any], *which: ColumnElement[bool]) -> Select[Any]:
    """A statement over charges, in which what was rated again counts once, as it was rated last.

    ``which``: conditions that hold for a charge and for all that were rated again in its place.
    """
    charge = table(Charge)
    again = (
        select(charge.c.reverses_id.label("first"), func.max(charge.c.id).label("last"))
        .where(charge.c.kind == RERATED, *which)
        .group_by(charge.c.reverses_id)
        .subquery()
    )
    first = case((charge.c.kind == RERATED, charge.c.reverses_id), else_=charge.c.id)
    return charges.outerjoin(again, again.c.first == first).where(
        or_(again.c.last.is_(None), again.c.last == charge.c.id), *which
    )


def find_use(connection: Connection, tariffs: TariffVersions, name: str) -> ChargedUse:
    """The use of a charge id, of a usage record's id, or of its ``source/id``.

    Raises :class:`UnknownUse`, and :class:`charging.tariffs.TariffError` where a version was not kept.
    """
    row = _named(connection, name)
    if row.kind not in ("use", RERATED):
        raise UnknownUse(f"{name}: a charge of kind {row.kind}; only use is rated by a tariff")
    version = tariffs.find(connection, row.tariff_version)
    again, last = row.kind == RERATED, row.reverses_id if row.kind == RERATED else row.id
    same = _uses().where(table(Charge).c.agreement_id == row.agreement_id)
    if version.included_per == "month":
        same = same.where(table(Charge).c.period == row.period)
    uses = []
    for earlier in _in_order(connection.execute(same.order_by(table(Charge).c.recorded_at))):
        use = _use(connection, earlier, tariffs.find(connection, earlier.tariff_version))
        # What was rated again was so in the course of all the use before it.
        uses.append(replace(use, version=version) if again else use)
        if earlier.id == last:
            break
    return ChargedUse(row, uses, _price(connection, row))


def _price(connection: Connection, row: Row[Any]) -> int | None:
    if row.pays != "prepaid":
        return int(row.net)
    agreement = table(Agreement)
    contained = connection.execute(select(agreement.c.tax_included).where(agreement.c.id == row.agreement_id)).scalar()
    if not contained:
        return int(row.net)
    return int(row.net + row.paid_tax) if row.tax_rate else None


def histories(connection: Connection, tariffs: TariffVersions, tariff: str, period: str) -> Iterator[History]:
    """What each agreement was charged for by any version of ``tariff`` in a month, as it was rated last.

    Use of months before it leads the way, and does not count, where a tariff counts over the life of the agreement.
    """
    charge = table(Charge)
    by_tariff = charge.c.tariff_version.startswith(f"{tariff}@", autoescape=True)
    inside = select(charge.c.agreement_id).where(charge.c.kind == "use", by_tariff, charge.c.period == period)
    statement = (
        _uses()
        .where(charge.c.agreement_id.in_(inside), by_tariff, charge.c.period <= period)
        .order_by(charge.c.account_id, charge.c.agreement_id, charge.c.recorded_at)
    )
    again = (
        select(charge.c.reverses_id, charge.c.net, charge.c.tariff_version)
        .where(charge.c.kind == RERATED, by_tariff, charge.c.period <= period)
        .order_by(charge.c.id)
    )
    last = {row.reverses_id: row for row in connection.execute(again)}
    rows = connection.execute(statement)
    for (account, agreement), of_agreement in groupby(rows, key=lambda row: (row.account_id, row.agreement_id)):
        charged = []
        for row in _in_order(of_agreement):
            paid = last.get(row.id, row)
            use = _use(connection, row, tariffs.find(connection, paid.tariff_version))
            charged.append(Charged(use, paid.net, row.period == period))
        yield History(account, agreement, charged)


def _in_order(rows: Iterable[Row[Any]]) -> Iterator[Row[Any]]:
    """The uses of an agreement in the order in which they were rated.

    The transfers of a group ascend in that order; groups of one instant follow in the order of what they count.
    """
    for _, tied in groupby(rows, key=lambda row: row.recorded_at):
        group = list(tied)
        first: dict[str, tuple[int, int, int]] = {}
        for row in group:
            place = (row.position or 0, row.epoch, row.counter_from)
            first[_group(row)] = min(place, first.get(_group(row), place))
        # What is only rated has no transfer.
        yield from sorted(group, key=lambda row: (first[_group(row)], row.transfer_id, row.epoch, row.counter_from))


def _group(row: Row[Any]) -> str:
    return str(row.transfer_id)[:-GROUP_DIGITS]


def _uses() -> Select[Any]:
    charge, record = table(Charge), table(UsageRecord)
    return (
        select(
            charge, record.c.id.label("record"), record.c.at, record.c.destination, record.c.position, record.c.session
        )
        .outerjoin(record, record.c.charge_id == charge.c.id)
        .where(charge.c.kind == "use")
    )


def _named(connection: Connection, name: str) -> Row[Any]:
    charge, record = table(Charge), table(UsageRecord)
    row = connection.execute(select(charge).where(charge.c.id == name)).first()
    if row is not None:
        return row
    # A source may hold slashes, and so may an id.
    splits = [(name[:place], name[place + 1 :]) for place, letter in enumerate(name) if letter == "/"]
    is_name = or_(record.c.id == name, *((record.c.source == source) & (record.c.id == id) for source, id in splits))
    statement = select(charge, record.c.source).join(record, record.c.charge_id == charge.c.id).where(is_name)
    found = connection.execute(statement.limit(2)).all()
    if not found:
        raise UnknownUse(f"{name}: neither a charge nor a usage record has this id; see `tollgate usage list`")
    if len(found) > 1:
        raise UnknownUse(f"{name}: several sources have a record of this id; write {found[0].source}/{name}")
    return found[0]


def _use(connection: Connection, row: Row[Any], version: TariffVersion) -> Use:
    if row.record is not None:
        return Use(
            row.record, version, row.quantity, row.at, row.destination or None, session=True, resumes=row.session or ""
        )
    at = _counted_at(connection, row) if version.timed else row.effective_at
    return Use(row.id, version, row.quantity, at)


def _counted_at(connection: Connection, row: Row[Any]) -> datetime:
    """When a stretch of a counter was used: its report or sample says so, whatever period it was billed in."""
    report, agreement = table(CounterReportRow), table(Agreement)
    since: datetime | None = connection.execute(
        select(agreement.c.agreed_at).where(agreement.c.id == row.agreement_id)
    ).scalar()
    recorded: datetime = row.recorded_at
    effective: datetime = row.effective_at
    reports = connection.execute(
        select(report.c.document).where(
            report.c.installation_id == row.installation_id,
            report.c.counter == row.counter,
            report.c.epoch == row.epoch,
            report.c.received_at == row.recorded_at,
        )
    )
    for document in reports.scalars():
        told = decode_document(CounterReport, document)
        instants = [from_micros(at) - _INSTANT for at, value in told.samples if value == row.counter_to]
        if not instants and told.value == row.counter_to:
            instants = [from_micros(told.at)]
        if instants:
            at = min(instants[0], recorded)
            return max(since, at) if since else at
    return effective


def charged_uses(
    connection: Connection, tariffs: TariffVersions, agreement: str, tariff: str, periods: Collection[str] | None
) -> list[tuple[Row[Any], Use]]:
    """The charges for use of an agreement by any version of ``tariff``, each with its use, in the order of rating.

    ``periods``: only of these months; all where the tariff counts over the life of the agreement.
    """
    charge = table(Charge)
    statement = _uses().where(
        charge.c.agreement_id == agreement, charge.c.tariff_version.startswith(f"{tariff}@", autoescape=True)
    )
    if periods is not None:
        statement = statement.where(charge.c.period.in_(sorted(periods)))
    rows = _in_order(connection.execute(statement.order_by(charge.c.recorded_at)))
    return [(row, _use(connection, row, tariffs.find(connection, row.tariff_version))) for row in rows]
