"""The hand-off to finance: journal by account codes, balances, tax summary, deferred revenue and ageing of a period.

What belongs to a period is what was recorded in it, and the posting of the revenue that is deferred at its end; so the
export of a period that is over never changes. Amounts are micros here. :attr:`Handover.faults` names sums that do not
tie to the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, case, func, select, type_coerce, union_all

from charging.billing.tax import Tax, Taxpayer, load_taxes
from charging.invoices.mirror import booked
from charging.ledger.tables import RECEIVABLE, LedgerAccount, Posting, Transfer
from charging.periods import Period, days
from charging.receivables.ageing import Ageing
from charging.receivables.chart import code_of
from operator_server.billing.taxpayers import tax_for
from operator_server.receivables.books import decode
from operator_server.receivables.recognition import DEFERRED, KIND, deferred_of, deferring, is_posted
from operator_server.settings import Settings
from operator_server.store.accounting import Charge, InvoiceRow
from operator_server.store.parties import Account, PastTaxpayer
from operator_server.store.receivables import BadDebtTax, CreditNoteRow, ItemAllocation, ReceivableItem
from operator_server.store.rows import table

BUCKETS = tuple(each.name for each in fields(Ageing))

_transfer, _posting, _ledger = table(Transfer), table(Posting), table(LedgerAccount)
_belongs = case((_transfer.c.kind == KIND, _transfer.c.effective_at), else_=_transfer.c.recorded_at)
"""The instant whose period a transfer belongs to."""


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One leg of a transfer; ``amount`` is positive where it is a debit. ``belongs_at``: in the period of its books."""

    belongs_at: datetime
    recorded_at: datetime
    effective_at: datetime
    transfer: str
    kind: str
    reference: str
    code: str
    account: str
    owner: str
    currency: str
    amount: int


@dataclass(slots=True)
class BalanceRow:
    """What moved on the accounts of one kind in a period. ``opening`` and ``closing``: a debit is positive."""

    code: str
    account: str
    currency: str
    opening: int = 0
    debit: int = 0
    credit: int = 0

    @property
    def closing(self) -> int:
        """The balance at the end."""
        return self.opening + self.debit - self.credit


@dataclass(slots=True)
class TaxRow:
    """Base and tax of what was invoiced or paid ahead, less what was credited or written off with its tax."""

    country: str
    category: str
    rate_bp: int
    currency: str
    base: int = 0
    tax: int = 0


@dataclass(frozen=True, slots=True)
class DeferredRow:
    """A charge for a time that reaches beyond the end of the period, and what of it is not earned by then."""

    charge: str
    account: str
    agreement: str
    currency: str
    service_from: datetime
    service_to: datetime
    net: int
    deferred: int


@dataclass(slots=True)
class Handover:
    """A period's figures; the journal is read apart (:func:`journal`), since it may be long."""

    period: str
    balances: list[BalanceRow] = field(default_factory=list)
    taxes: list[TaxRow] = field(default_factory=list)
    deferred: list[DeferredRow] = field(default_factory=list)
    ageing: list[tuple[str, str, Ageing]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def handover(connection: Connection, settings: Settings, span: Period, now: datetime) -> Handover:
    """The figures of a period; of one that is not over, up to ``now``. Invoices must have been taken in before."""
    end = _end(span, now)
    codes = settings.finance.accounts
    made = Handover(
        span.name,
        balances=_balances(connection, codes, span.start, end),
        taxes=_taxes(connection, settings, span.start, end),
        deferred=_deferred(connection, settings, end),
        ageing=_ageing(connection, settings, span._replace(end=end)),
    )
    made.faults = [*_untied_journal(made), *_untied_taxes(made), *_untied_ageing(made)]
    if span.end <= now and is_posted(connection, span.name):
        made.faults += _untied_deferred(made)
    return made


def journal(connection: Connection, settings: Settings, span: Period, now: datetime) -> Iterator[JournalRow]:
    """Every posting that was recorded in a period, transfer by transfer."""
    codes = settings.finance.accounts
    rows = connection.execute(
        select(
            _belongs.label("belongs_at"), _transfer.c.recorded_at, _transfer.c.effective_at, _transfer.c.id,
            _transfer.c.kind, _transfer.c.source, _transfer.c.op_id, _ledger.c.kind.label("account"), _ledger.c.owner,
            _posting.c.currency, _posting.c.amount,
        )
        .join_from(_transfer, _posting, _posting.c.transfer_id == _transfer.c.id)
        .join(_ledger, _ledger.c.id == _posting.c.ledger_account_id)
        .where(
            _belongs >= span.start, _belongs < _end(span, now), _posting.c.amount != 0
        )
        .order_by(_transfer.c.id, _posting.c.leg),
        execution_options={"yield_per": 5_000},
    )  # fmt: skip
    for row in rows:
        yield JournalRow(
            row.belongs_at, row.recorded_at, row.effective_at, row.id, row.kind, f"{row.source} {row.op_id}",
            code_of(row.account, codes), row.account, row.owner, row.currency, row.amount,
        )  # fmt: skip


def _end(span: Period, now: datetime) -> datetime:
    """The end of a period, or where it is not over, the instant after ``now``."""
    return min(span.end, now + timedelta(microseconds=1))


def _balances(connection: Connection, codes: dict[str, str], start: datetime, end: datetime) -> list[BalanceRow]:
    def sums(amount: Any, *when: Any) -> Any:
        return connection.execute(
            select(_ledger.c.kind, _posting.c.currency, func.sum(amount))
            .join_from(_transfer, _posting, _posting.c.transfer_id == _transfer.c.id)
            .join(_ledger, _ledger.c.id == _posting.c.ledger_account_id)
            .where(*when)
            .group_by(_ledger.c.kind, _posting.c.currency)
        )

    within = (_belongs >= start, _belongs < end)
    found: dict[tuple[str, str], BalanceRow] = {}

    def row(kind: str, currency: str) -> BalanceRow:
        return found.setdefault((kind, currency), BalanceRow(code_of(kind, codes), kind, currency))

    for kind, currency, amount in sums(_posting.c.amount, _belongs < start):
        row(kind, currency).opening = int(amount)
    for kind, currency, amount in sums(_posting.c.amount, *within, _posting.c.amount > 0):
        row(kind, currency).debit = int(amount)
    for kind, currency, amount in sums(-_posting.c.amount, *within, _posting.c.amount < 0):
        row(kind, currency).credit = int(amount)
    return sorted(found.values(), key=lambda each: (each.currency, each.code, each.account))


def _taxes(connection: Connection, settings: Settings, start: datetime, end: datetime) -> list[TaxRow]:
    found: dict[tuple[str, str, int, str], TaxRow] = {}

    def add(country: str, category: str, rate: int, currency: str, base: int, tax: int) -> None:
        key = (country, category, rate, currency)
        row = found.setdefault(key, TaxRow(*key))
        row.base += base
        row.tax += tax

    invoice, note = table(InvoiceRow), table(CreditNoteRow)
    for documents in (invoice, note):
        rows = connection.execute(
            select(documents.c.document)
            .join(_transfer, _transfer.c.id == documents.c.transfer_id)
            .where(_transfer.c.recorded_at >= start, _transfer.c.recorded_at < end),
            execution_options={"yield_per": 500},
        )
        for document in rows.scalars():
            made = decode(document)
            country = made.tax_country or made.customer.country
            for each in booked(made).taxes:
                add(country, each.category, each.rate_bp, made.currency, each.net_micros, each.tax_micros)
    bad = table(BadDebtTax)
    corrected = connection.execute(
        select(
            bad.c.country, bad.c.category, bad.c.rate_bp, bad.c.currency, func.sum(bad.c.base), func.sum(bad.c.tax)
        )
        .where(bad.c.booked_at >= start, bad.c.booked_at < end)
        .group_by(bad.c.country, bad.c.category, bad.c.rate_bp, bad.c.currency)
    )  # fmt: skip
    for country, category, rate, currency, base, tax in corrected:
        add(country, category, rate, currency, int(base), int(tax))
    for row in _paid(connection, start, end):
        category, rate, currency, base, tax = row[-5:]
        told = _told(settings, Taxpayer(*row[:3]), category, rate, end)
        add(told.country, told.category, rate, currency, int(base), int(tax))
    return [found[key] for key in sorted(found)]


def _paid(connection: Connection, start: datetime, end: datetime) -> Any:
    """Sums of what was paid ahead: country, VAT id and status of who paid, as they were then, and the charges' tax.

    What is given back is told as what it takes back.
    """
    charge, account, past = table(Charge), table(Account), table(PastTaxpayer)
    first = charge.alias()
    until = (
        select(func.min(past.c.until))
        .where(
            past.c.account_id == charge.c.account_id,
            past.c.until >= func.coalesce(first.c.recorded_at, charge.c.recorded_at),
        )
        .correlate(charge, first)
        .scalar_subquery()
    )
    country = case((account.c.tax_country != "", account.c.tax_country), else_=account.c.country)
    whose = (
        func.coalesce(past.c.country, country).label("country"),
        func.coalesce(past.c.vat_country, account.c.vat_id).label("vat_id"),
        func.coalesce(past.c.tax_status, account.c.tax_status).label("status"),
    )
    return connection.execute(
        select(*whose, charge.c.tax_category, charge.c.tax_rate, charge.c.currency, func.sum(charge.c.net),
               func.sum(charge.c.paid_tax))
        .join(account, account.c.id == charge.c.account_id)
        .outerjoin(first, first.c.id == charge.c.reverses_id)
        .outerjoin(past, (past.c.account_id == charge.c.account_id) & (past.c.until == until))
        .where(charge.c.pays == "prepaid", charge.c.recorded_at >= start, charge.c.recorded_at < end)
        .group_by(*whose, charge.c.tax_category, charge.c.tax_rate, charge.c.currency)
    )  # fmt: skip


def _told(settings: Settings, taxpayer: Taxpayer, category: str, rate: int, at: datetime) -> Tax:
    """Country and category of EN 16931 of what was paid at once: with a rate it is S; without, why there is none."""
    own = settings.operator.tax_basis_points().get(category, 0)
    why = tax_for(settings, taxpayer, category, own, at)
    if rate:
        return why._replace(category="S")
    return why._replace(category="Z") if why.rate_bp else why


def _deferred(connection: Connection, settings: Settings, end: datetime) -> list[DeferredRow]:
    charge, taxes = table(Charge), load_taxes(settings.config_dir / "tax.toml")
    rows = connection.execute(select(charge).where(deferring(end)).order_by(charge.c.account_id, charge.c.id))
    return [
        DeferredRow(
            row.id, row.account_id, row.agreement_id, row.currency, row.service_from, row.service_to, row.net,
            deferred_of(row, taxes, end),
        )
        for row in rows
    ]  # fmt: skip


def _ageing(connection: Connection, settings: Settings, span: Period) -> list[tuple[str, str, Ageing]]:
    """By account and currency, from what items had left at the end of the span."""
    item, allocation = table(ReceivableItem), table(ItemAllocation)
    sides = union_all(
        select(allocation.c.debt_id.label("id"), (-allocation.c.amount).label("amount")).where(
            allocation.c.at < span.end
        ),
        select(allocation.c.credit_id.label("id"), allocation.c.amount).where(allocation.c.at < span.end),
    ).subquery()
    used = select(sides.c.id, func.sum(sides.c.amount).label("used")).group_by(sides.c.id).subquery()
    left = item.c.amount + func.coalesce(used.c.used, 0)
    rows = connection.execute(
        select(item.c.account_id, item.c.currency, item.c.due_at, type_coerce(left, BigInteger).label("left"))
        .outerjoin(used, used.c.id == item.c.id)
        .where(item.c.booked_at < span.end, left != 0),
        execution_options={"yield_per": 5_000},
    )
    zone = settings.operator.zone
    _, last = days(span.start, span.end, zone)
    found: dict[tuple[str, str], Ageing] = {}
    for row in rows:
        overdue = (last - row.due_at.astimezone(zone).date()).days
        found.setdefault((row.account_id, row.currency), Ageing()).add(int(row.left), overdue)
    return [(account, currency, found[account, currency]) for account, currency in sorted(found)]


def _untied_journal(made: Handover) -> Iterator[str]:
    for currency in sorted({row.currency for row in made.balances}):
        rows = [row for row in made.balances if row.currency == currency]
        debit, credit = sum(row.debit for row in rows), sum(row.credit for row in rows)
        if debit != credit:
            yield f"journal in {currency}: debits are {debit} micros, credits {credit}"


def _untied_taxes(made: Handover) -> Iterator[str]:
    for currency in sorted({row.currency for row in made.balances}):
        booked = sum(
            row.credit - row.debit for row in made.balances if row.currency == currency and row.account[:4] == "tax:"
        )
        told = sum(row.tax for row in made.taxes if row.currency == currency)
        if booked != told:
            yield f"tax in {currency}: the ledger booked {booked} micros, the tax summary has {told}"


def _untied_ageing(made: Handover) -> Iterator[str]:
    for row in made.balances:
        if row.account == RECEIVABLE:
            aged = sum(ageing.total for _, currency, ageing in made.ageing if currency == row.currency)
            if aged != row.closing:
                yield f"ageing in {row.currency}: it sums to {aged} micros, the receivable balance is {row.closing}"


def _untied_deferred(made: Handover) -> Iterator[str]:
    booked = {row.currency: -row.closing for row in made.balances if row.account == DEFERRED}
    told: dict[str, int] = {}
    for row in made.deferred:
        told[row.currency] = told.get(row.currency, 0) + row.deferred
    for currency in sorted(booked.keys() | told.keys()):
        if booked.get(currency, 0) != told.get(currency, 0):
            yield (
                f"deferred revenue in {currency}: the ledger has {booked.get(currency, 0)} micros, the charges leave"
                f" {told.get(currency, 0)}"
            )
