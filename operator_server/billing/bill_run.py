"""The bill run: everything unbilled up to an instant, one invoice for each account and currency.

Each invoice is one transaction: its number, its posting, its document and the marks on its charges are there together
or not at all. So a run that was killed goes on where it stopped, and one that is repeated changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, func, select, update

from charging.invoices.model import BankAccount, Invoice, InvoiceError, InvoiceLine, Party, Totals
from charging.invoices.totals import totals
from charging.ledger.book import apply
from charging.ledger.operations import Applied, Leg, Post
from charging.ledger.tables import OPERATOR, RECEIVABLE, ROUNDING, UNBILLED, tax_kind
from charging.periods import Period, days, period
from operator_server.billing.facts import Tariffs, agreements
from operator_server.billing.lines import Lines
from operator_server.billing.open_period import wait_for_charging
from operator_server.settings import OperatorSettings, Settings
from operator_server.store.accounting import BillRun, Charge, InvoiceRow
from operator_server.store.engine import writing
from operator_server.store.feed import record
from operator_server.store.parties import Account
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.ids import new_id
from signalling.money import MoneyError

SOURCE = "billing"
"""The ledger's name of this client."""

Progress = Callable[[int, int], None]
"""Hears after each account how many are done, of how many."""

_LOCK = 0x70_11_6A_7E
_IDS_AT_ONCE = 500


class BillRunError(ValueError):
    """A bill run that cannot be; the text says why and what to do."""


@dataclass(frozen=True)
class BillRunReport:
    """What a bill run came to. ``made``: the invoices made by this call; ``invoices`` and ``gross`` (micros by

    currency): of the whole run, also what an earlier call of it made. ``failed``: accounts that could not be billed,
    and why; then the run is not done and is to be repeated.
    """

    run: str
    period: str
    until: datetime
    made: int
    invoices: int
    gross: dict[str, int] = field(default_factory=dict)
    failed: tuple[str, ...] = ()


def until_instant(text: str, zone: tzinfo) -> datetime:
    """The instant that ``--until`` names: a local day, whose begin is meant, or a time with its distance from UTC."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise BillRunError(f"until {text!r}: write a day, such as 2026-10-15, or 2026-10-15T12:00+02:00") from None
    if instant.tzinfo is None:
        if instant.time() != time():
            raise BillRunError(f"until {text!r}: a time needs its distance from UTC, such as 2026-10-15T12:00+02:00")
        instant = instant.replace(tzinfo=zone)
    return instant.astimezone(UTC)


def run_bills(
    engine: Engine,
    settings: Settings,
    name: str,
    *,
    now: datetime,
    until: datetime | None = None,
    progress: Progress | None = None,
) -> BillRunReport:
    """Bill the period ``name`` of the operator's zone, or its part before ``until``, which an open period needs.

    All unbilled charges that took effect before are billed, also of earlier periods. An account that cannot be billed
    is reported and keeps its charges; the others are billed. Raises :class:`BillRunError` and
    :class:`charging.periods.PeriodError`.
    """
    billed = period(name, settings.operator.zone)
    end = _end(billed, until, now)
    database = writing(engine)
    with database.begin() as connection:
        run, done = _begin(connection, name, end, now)
    made, failed = 0, []
    if not done:
        with database.begin() as connection:
            waiting = _waiting(connection, end)
        tariffs, span = Tariffs(), billed._replace(end=end)
        for number, (account, currency) in enumerate(waiting, 1):
            try:
                with database.begin() as connection:
                    made += _bill(connection, settings.operator, run, span, account, currency, tariffs, now)
            except (InvoiceError, MoneyError, OverflowError) as error:
                failed.append(f"account {account}: {error}")
            if progress is not None:
                progress(number, len(waiting))
        if not failed:
            with database.begin() as connection:
                _finish(connection, run, now)
    with engine.connect() as connection:
        invoices, gross = _sums(connection, run)
    return BillRunReport(run, name, end, made, invoices, gross, tuple(failed))


def _end(billed: Period, until: datetime | None, now: datetime) -> datetime:
    if until is None:
        if now < billed.end:
            raise BillRunError(f"period {billed.name} is open until {billed.end:%Y-%m-%d %H:%M} UTC; say until when")
        return billed.end
    if not billed.start < until <= billed.end:
        raise BillRunError(f"until {until.isoformat()} does not lie within period {billed.name}")
    if until > now:
        raise BillRunError(f"until {until.isoformat()} has not come yet")
    return until


def _begin(connection: Connection, name: str, end: datetime, now: datetime) -> tuple[str, bool]:
    """The run's id, and whether it is done already. From its begin nothing new takes effect before its end."""
    wait_for_charging(connection)
    runs = table(BillRun)
    known = connection.execute(select(runs).where(runs.c.period == name, runs.c.until_at == end)).first()
    if known is not None:
        return known.id, known.state == "done"
    run = new_id(to_micros(now))
    add(connection, BillRun(id=run, period=name, until_at=end, started_at=now))
    return run, False


def _lock(connection: Connection) -> None:
    """One invoice at a time; on SQLite a writing transaction is alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def _waiting(connection: Connection, end: datetime) -> Sequence[tuple[str, str]]:
    charge = table(Charge)
    rows = connection.execute(
        select(charge.c.account_id, charge.c.currency)
        .where(charge.c.invoice_id.is_(None), charge.c.pays == UNBILLED, charge.c.effective_at < end)
        .distinct()
        .order_by(charge.c.account_id, charge.c.currency)
    )
    return [(row.account_id, row.currency) for row in rows]


def _bill(
    connection: Connection,
    operator: OperatorSettings,
    run: str,
    billed: Period,
    account: str,
    currency: str,
    tariffs: Tariffs,
    now: datetime,
) -> int:
    """Make the invoice of one account and currency; how many were made, 0 when somebody else has made it."""
    _lock(connection)
    charge = table(Charge)
    charges = connection.execute(
        select(charge)
        .where(
            charge.c.account_id == account,
            charge.c.invoice_id.is_(None),
            charge.c.pays == UNBILLED,
            charge.c.effective_at < billed.end,
            charge.c.currency == currency,
        )
        .order_by(charge.c.id)
    ).all()
    if not charges:
        return 0
    accounts = table(Account)
    customer = connection.execute(select(accounts).where(accounts.c.id == account)).one()
    facts = agreements(connection, {each.agreement_id for each in charges})
    maker = Lines(
        billed, operator.zone, currency, customer.language, facts, lambda version: tariffs.get(connection, version)
    )
    lines = maker.make(charges)
    sums = totals(lines, currency)
    number, series = _next_number(connection, operator, now)
    invoice = _invoice(operator, customer, billed, f"{series}-{number:06d}", series, lines, sums, currency, now)
    transfer = _post(connection, account, invoice, sum(each.net for each in charges), now)
    row = InvoiceRow(
        id=new_id(to_micros(now)),
        number=invoice.number,
        series=series,
        number_in_series=number,
        bill_run_id=run,
        account_id=account,
        period=billed.name,
        currency=currency,
        net=sums.net_micros,
        tax=sums.tax_micros,
        total=sums.gross_micros,
        issued_at=now,
        document=msgspec.json.encode(invoice),
        transfer_id=transfer,
    )
    add(connection, row)
    _mark(connection, row.id, lines)
    record(
        connection, now, "invoiced", account=account, reference=invoice.number, period=billed.name,
        currency=currency, total=sums.gross_micros,
    )  # fmt: skip
    return 1


def _next_number(connection: Connection, operator: OperatorSettings, now: datetime) -> tuple[int, str]:
    """The next number of this year's series, which has no gaps, since it is taken in the invoice's transaction."""
    year = str(now.astimezone(operator.zone).year)
    series = f"{operator.invoice_series}-{year}" if operator.invoice_series else year
    invoices = table(InvoiceRow)
    last = connection.execute(select(func.max(invoices.c.number_in_series)).where(invoices.c.series == series)).scalar()
    return (last or 0) + 1, series


def _invoice(
    operator: OperatorSettings,
    customer: Row[Any],
    billed: Period,
    number: str,
    series: str,
    lines: Sequence[InvoiceLine],
    sums: Totals,
    currency: str,
    now: datetime,
) -> Invoice:
    issued = now.astimezone(operator.zone).date()
    first, last = days(billed.start, billed.end, operator.zone)
    return Invoice(
        number=number,
        series=series,
        issue_date=issued,
        due_date=issued + timedelta(days=operator.payment_days),
        period_from=first,
        period_to=last,
        seller=_seller(operator),
        customer=Party(
            name=customer.name,
            address=tuple(customer.address),
            country=customer.country,
            vat_id=customer.vat_id,
            email=customer.email,
        ),
        currency=currency,
        language=customer.language,
        lines=tuple(lines),
        totals=sums,
        payment_reference=number,
    )


def _seller(operator: OperatorSettings) -> Party:
    bank = BankAccount(holder=operator.name, iban=operator.iban, bic=operator.bic) if operator.iban else None
    return Party(
        name=operator.name,
        address=tuple(operator.address),
        country=operator.country,
        vat_id=operator.vat_id,
        email=operator.email,
        bank=bank,
    )


def _post(connection: Connection, account: str, invoice: Invoice, exact: int, now: datetime) -> str:
    """Move what is billed from unbilled to receivable, with its tax and what rounding made of it."""
    sums, currency = invoice.totals, invoice.currency
    tax: dict[str, int] = {}
    for each in sums.taxes:
        tax[each.category] = tax.get(each.category, 0) + each.tax_micros
    legs = [
        Leg(account, UNBILLED, currency, -exact),
        Leg(account, RECEIVABLE, currency, sums.gross_micros),
        *(Leg(OPERATOR, tax_kind(category), currency, -amount) for category, amount in sorted(tax.items())),
        Leg(OPERATOR, ROUNDING, currency, exact - sums.net_micros),
    ]
    post = Post(
        source=SOURCE,
        op_id=invoice.number,
        kind="invoice",
        legs=tuple(leg for leg in legs if leg.amount),
        effective_at=now,
    )
    # The lock lets bill runs write one after another, so all of them are one writer of the ledger.
    outcome = apply(connection, [post], to_micros(now), writer=SOURCE)[0]
    if not isinstance(outcome, Applied):
        raise RuntimeError(f"invoice {invoice.number} of account {account} could not be posted: {outcome}")
    return outcome.transfer_id


def _mark(connection: Connection, invoice: str, lines: Sequence[InvoiceLine]) -> None:
    charge = table(Charge)
    for position, line in enumerate(lines, 1):
        for start in range(0, len(line.charge_ids), _IDS_AT_ONCE):
            ids = line.charge_ids[start : start + _IDS_AT_ONCE]
            marked = connection.execute(
                update(charge)
                .where(charge.c.id.in_(ids), charge.c.invoice_id.is_(None))
                .values(invoice_id=invoice, invoice_line=position)
            )
            if marked.rowcount != len(ids):
                raise RuntimeError(f"charges of invoice {invoice} were billed by somebody else meanwhile")


def _finish(connection: Connection, run: str, now: datetime) -> None:
    runs = table(BillRun)
    count, _ = _sums(connection, run)
    connection.execute(update(runs).where(runs.c.id == run).values(state="done", finished_at=now, invoices=count))


def _sums(connection: Connection, run: str) -> tuple[int, dict[str, int]]:
    invoices = table(InvoiceRow)
    rows = connection.execute(
        select(invoices.c.currency, func.count(), func.sum(invoices.c.total))
        .where(invoices.c.bill_run_id == run)
        .group_by(invoices.c.currency)
        .order_by(invoices.c.currency)
    ).all()
    return sum(row[1] for row in rows), {row[0]: int(row[2]) for row in rows}
