"""Commitments of tariffs: what use by a tariff came to in a month, short of the least amount that the tariff says.

They hold for use that other systems count. A month in which a subscriber used the tariff owes it when a run bills that
month's end; what late use or a re-rating changes of it is charged, or given back, with the next run. The last bill of a
closed account settles a broken month by the share of its days.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, Row, func, select

from charging.billing.proration import prorated
from charging.invoices.model import Invoice
from charging.periods import Period, PeriodError, period
from charging.rating import RatingState
from charging.tariffs import TariffVersion, restore_version
from charging.tariffs.usage import charged_in_period, period_shortfall
from operator_server.billing.commitments import KIND, book, numbered
from operator_server.billing.making import CLOSED, Run, billed_cycle
from operator_server.billing.writing import lock_numbers
from operator_server.settings import OperatorSettings
from operator_server.store.accounting import BillRun, Charge, InvoiceRow
from operator_server.store.dealings import Agreement, TariffVersionRow
from operator_server.store.parties import Account
from operator_server.store.rows import table
from operator_server.store.store import transact
from operator_server.store.usage import UsageState
from operator_server.usage.history import RERATED
from operator_server.usage.standing import payments
from signalling.clock import from_micros, to_micros
from signalling.ids import new_id

_PORTION = 200
_state, _agreement, _charge_row = table(UsageState), table(Agreement), table(Charge)


class _Rerated(NamedTuple):
    """What re-rating added to a month of use, and the version that rated it last."""

    more: int = 0
    version: str = ""


class _Settled(NamedTuple):
    """What was charged of a month's commitment, and up to when that was asked for."""

    net: int = 0
    until: datetime | None = None


_NOTHING = _Settled()


class _Month(NamedTuple):
    """A month of use, of which the days before ``end`` are asked for."""

    whole: Period
    end: datetime
    zone: tzinfo

    def share(self, amount: int) -> int:
        """What those days owe of what the whole month would (local days)."""
        return prorated(amount, self.whole, self.whole.start, self.end, self.zone)


def true_up_tariffs(engine: Engine, operator: OperatorSettings, run: Run, now: datetime) -> None:
    """Charge what months of use are short of their tariffs' commitments, once, however often it is called."""
    with engine.connect() as connection:
        versions = _committed(connection)
    last = ""

    def portion(connection: Connection) -> list[str]:
        lock_numbers(connection)
        agreements = _portion(connection, versions, last)
        if agreements:
            _true_up(connection, operator, run, versions, agreements, now)
        return agreements

    while versions and (done := transact(engine, portion)):
        last = done[-1]


def _committed(connection: Connection) -> dict[str, TariffVersion]:
    """The versions that have a commitment for each month."""
    kept = table(TariffVersionRow)
    rows = connection.execute(
        select(kept.c.id, kept.c.tariff_id, kept.c.content).where(kept.c.content.contains('"commitment"'))
    )
    found = {row.id: restore_version(row.tariff_id, row.content) for row in rows}
    return {
        id: version for id, version in found.items() if version.commitment and version.included_per == "month"
    }  # fmt: skip


def _portion(connection: Connection, versions: Mapping[str, TariffVersion], last: str) -> list[str]:
    found = connection.execute(
        select(_state.c.agreement_id)
        .where(_state.c.tariff_version.in_(versions), _state.c.agreement_id > last)
        .distinct()
        .order_by(_state.c.agreement_id)
        .limit(_PORTION)
    )
    return [str(each) for each in found.scalars()]


def _true_up(
    connection: Connection,
    operator: OperatorSettings,
    run: Run,
    versions: Mapping[str, TariffVersion],
    agreements: Sequence[str],
    now: datetime,
) -> None:
    account = table(Account)
    rows = connection.execute(
        select(_state, _agreement.c.account_id, _agreement.c.subscriber_id, _agreement.c.tax_rate, *account.c)
        .join(_agreement, _agreement.c.id == _state.c.agreement_id)
        .join(account, account.c.id == _agreement.c.account_id)
        .where(_state.c.agreement_id.in_(agreements), _state.c.tariff_version.in_(versions))
        .order_by(_state.c.agreement_id, _state.c.period)
    ).all()
    settled = _settled(connection, agreements)
    rerated = _rerated(connection, agreements)
    last = _last_bills(connection, {row.account_id for row in rows if row.status == CLOSED})
    ways = payments(connection, agreements)
    charged = []
    for row in rows:
        cycle = billed_cycle(row, run, operator, now)
        if cycle is None or ways[row.agreement_id].pays is None:
            continue
        key = row.agreement_id, row.period
        before = settled.get(key, _NOTHING)
        month = _month(row, last, before, cycle.end, operator)
        if month is None:
            continue
        again = rerated.get(key, _Rerated())
        due = _shortfall(row, versions[row.tariff_version], versions, again, month) - before.net
        made = _charge(row, versions[row.tariff_version], due, month, cycle.end, now)
        if made is not None:
            charged.append(made)
    book(connection, numbered(connection, [(f"{each.agreement_id}:{each.period}", each) for each in charged]), now)


def _settled(connection: Connection, agreements: Sequence[str]) -> dict[tuple[str, str], _Settled]:
    """What of the commitments was charged before, by agreement and month."""
    rows = connection.execute(
        select(
            _charge_row.c.agreement_id, _charge_row.c.period, func.sum(_charge_row.c.net),
            func.max(_charge_row.c.service_to),
        )
        .where(_charge_row.c.agreement_id.in_(agreements), _charge_row.c.kind == KIND)
        .group_by(_charge_row.c.agreement_id, _charge_row.c.period)
    )  # fmt: skip
    return {(agreement, month): _Settled(int(net), until) for agreement, month, net, until in rows}


def _last_bills(connection: Connection, accounts: Collection[str]) -> dict[str, list[datetime]]:
    """Up to when accounts had last bills, ascending; more than one where an account was opened again."""
    invoice, run = table(InvoiceRow), table(BillRun)
    rows = connection.execute(
        select(invoice.c.account_id, run.c.until_at, invoice.c.document)
        .join(run, run.c.id == invoice.c.bill_run_id)
        .where(invoice.c.account_id.in_(accounts))
        .order_by(run.c.until_at)
    )
    found: dict[str, list[datetime]] = {}
    for row in rows:
        if msgspec.json.decode(row.document, type=Invoice).final_bill:
            found.setdefault(row.account_id, []).append(row.until_at)
    return found


def _rerated(connection: Connection, agreements: Sequence[str]) -> dict[tuple[str, str], _Rerated]:
    """What re-rating changed of months of use, by agreement and month."""
    again, first = _charge_row.alias(), _charge_row
    rows = connection.execute(
        select(again.c.agreement_id, again.c.period, again.c.reverses_id, again.c.tariff_version, again.c.net,
               first.c.net.label("before"))
        .join(first, first.c.id == again.c.reverses_id)
        .where(again.c.agreement_id.in_(agreements), again.c.kind == RERATED)
        .order_by(again.c.id)
    )  # fmt: skip
    last = {row.reverses_id: row for row in rows}
    found: dict[tuple[str, str], _Rerated] = {}
    for row in last.values():
        key = row.agreement_id, row.period
        found[key] = _Rerated(found.get(key, _Rerated()).more + row.net - row.before, row.tariff_version)
    return found


def _month(
    row: Row[Any], last: Mapping[str, Sequence[datetime]], before: _Settled, until: datetime, operator: OperatorSettings
) -> _Month | None:
    """The month of use and up to when it is asked for, if the bill up to ``until`` settles it.

    A month that is not over is settled by the last bill of a closed account alone, and then for good.
    """
    try:
        month = period(row.period, operator.zone)
    except PeriodError:
        return None
    if row.status == CLOSED:
        bills = [at for at in last.get(row.account_id, ()) if at > month.start]
        end = min([month.end, until, *([before.until] if before.until else bills)])
        return _Month(month, end, operator.zone) if month.start < until else None
    return _Month(month, month.end, operator.zone) if month.end <= until else None


def _shortfall(
    row: Row[Any], version: TariffVersion, versions: Mapping[str, TariffVersion], again: _Rerated, month: _Month
) -> int:
    """Micros that a month of use is short of the commitment of the version that rated it last."""
    charged = charged_in_period(version, msgspec.convert(row.state, RatingState)) + again.more
    corrected = versions.get(again.version) if again.version else version
    return period_shortfall(corrected, charged, month.share) if corrected else 0


def _charge(
    row: Row[Any], version: TariffVersion, due: int, month: _Month, until: datetime, now: datetime
) -> Charge | None:
    """The charge for what is due of a month on the bill up to ``until``."""
    if not due:
        return None
    return Charge(
        id=new_id(to_micros(now)),
        kind=KIND,
        agreement_id=row.agreement_id,
        account_id=row.account_id,
        subscriber_id=row.subscriber_id,
        period=row.period,
        effective_at=from_micros(to_micros(until) - 1),
        recorded_at=now,
        net=due,
        currency=version.currency,
        tax_category=version.tax_category,
        tax_rate=row.tax_rate,
        tariff_version=version.version_id,
        transfer_id="",
        service_from=month.whole.start,
        service_to=month.end,
    )
