"""Making bills from what is unbilled: read in portions of accounts, nothing written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import BigInteger, Connection, Row, func, select, type_coerce

from charging.billing.commitment import carried_forward
from charging.billing.cycle import cycle, cycle_of, last_end
from charging.billing.tax import Tax, Taxpayer, TaxTable
from charging.invoices.labels import labels_for
from charging.invoices.mirror import as_credit_note
from charging.invoices.model import BankAccount, Invoice, InvoiceError, Party
from charging.invoices.totals import totals
from charging.periods import Period, days, period, period_of
from operator_server.billing.facts import AgreementFacts, Agreements, Tariffs
from operator_server.billing.lines import ChargeRow, Lines, LineTax
from operator_server.billing.taxpayers import taxpayer_of
from operator_server.counting.book import portions
from operator_server.settings import OperatorSettings
from operator_server.store.accounting import Charge, InvoiceRow
from operator_server.store.parties import Account, PastTaxpayer
from operator_server.store.rows import table
from signalling.clock import from_micros, to_micros
from signalling.money import MoneyError, decimal_micros

CLOSED = "closed"
"""The status of an account that gets a last bill, whatever it comes to and wherever its cycle stands."""

_BY_NAME = {column.name: column for column in table(Charge).c}
_CHARGES = [
    type_coerce(_BY_NAME[name], BigInteger).label(name)
    if name in ("effective_at", "service_from", "service_to")
    else _BY_NAME[name]
    for name in ChargeRow._fields
]


class Run(msgspec.Struct, frozen=True):
    """A bill run: of ``period`` as far as ``until_at``. ``scope``: all accounts, or those whose cycle is due.

    ``partial``: ``until_at`` lies within the period.
    """

    id: str
    period: Period
    until_at: datetime
    scope: str = "all"

    @property
    def partial(self) -> bool:
        """Whether the period is not billed to its end."""
        return self.until_at < self.period.end


class Bill(msgspec.Struct):
    """A bill that has no number yet. ``unbilled``: micros that it takes from there.

    ``taxed``: the part of them that is tax since prices include it. ``carried``: the bill is below the least amount and
    left to the next one.
    """

    id: str
    account: str
    period: str
    invoice: Invoice
    unbilled: int
    taxed: int
    carried: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """What a portion of accounts came to. ``failed``: account, currency, reason. ``waiting``: cycle not over."""

    bills: list[Bill]
    failed: list[tuple[str, str, str]]
    waiting: list[str]


def billed_cycle(account: Row[Any], run: Run, operator: OperatorSettings, now: datetime) -> Period | None:
    """What a run bills of an account; ``None`` while the account's cycle is not over."""
    if account.status == CLOSED:
        return run.period._replace(end=run.until_at)
    zone = zone_of(account, operator)
    if run.scope == "due" or (run.partial and not _plain(account, operator)):
        end = last_end(run.until_at, account.cycle_day, zone)
        return cycle_of(from_micros(to_micros(end) - 1), account.cycle_day, zone)
    if run.partial:
        return run.period._replace(end=run.until_at)
    found = cycle(run.period.name, account.cycle_day, zone)
    return found if found.end <= now else None


def zone_of(account: Row[Any], operator: OperatorSettings) -> ZoneInfo:
    """The zone in which an account's days begin."""
    return ZoneInfo(account.time_zone) if account.time_zone else operator.zone


def _plain(account: Row[Any], operator: OperatorSettings) -> bool:
    return account.cycle_day == 1 and account.time_zone in ("", operator.time_zone)


class Reversed(NamedTuple):
    """A charge that is taken back: when it took effect; who it was billed to, if the account is another by now."""

    effective_at: int
    taxpayer: Taxpayer | None


class Maker:
    """Makes the bills of a run. Facts of offers and tariffs are read once and kept; those of customers are not."""

    def __init__(self, operator: OperatorSettings, taxes: TaxTable, run: Run, now: datetime) -> None:
        self._operator = operator
        self._own_rates = operator.tax_basis_points()
        self._taxes = taxes
        self._run = run
        self._now = now
        self._agreements = Agreements()
        self._tariffs = Tariffs()
        self._seller = seller(operator)
        self._issued = now.astimezone(operator.zone).date()
        self._month_days: dict[str, date | None] = {}

    def make(self, connection: Connection, accounts: Sequence[str]) -> Made:
        """The bills of these accounts, by account and currency, from what is unbilled."""
        rows = connection.execute(select(table(Account)).where(table(Account).c.id.in_(accounts))).all()
        spans = {row.id: billed_cycle(row, self._run, self._operator, self._now) for row in rows}
        charges = self._charges(connection, {name: span for name, span in spans.items() if span is not None})
        waiting = [name for name, span in spans.items() if span is None]
        facts = self._agreements.read(connection, {each.agreement_id for some in charges.values() for each in some})
        reversed_ = self._reversed(connection, [each for some in charges.values() for each in some])
        customers = {row.id: row for row in rows}
        bills: list[Bill] = []
        failed: list[tuple[str, str, str]] = []
        for (account, currency), some in sorted(charges.items()):
            span = spans[account]
            assert span is not None
            try:
                bills.append(self._bill(connection, customers[account], currency, span, some, facts, reversed_))
            except (InvoiceError, MoneyError, OverflowError) as error:
                failed.append((account, currency, str(error)))
        return Made(bills, failed, waiting)

    def _charges(self, connection: Connection, spans: dict[str, Period]) -> dict[tuple[str, str], list[ChargeRow]]:
        """What is unbilled of each account and currency up to its cycle's end, in the order of ids."""
        found: dict[tuple[str, str], list[ChargeRow]] = {}
        by_end: dict[datetime, list[str]] = {}
        for account, span in spans.items():
            by_end.setdefault(span.end, []).append(account)
        charge = table(Charge)
        for end, accounts in by_end.items():
            rows = connection.execute(
                select(*_CHARGES).where(
                    charge.c.account_id.in_(accounts),
                    charge.c.invoice_id.is_(None),
                    charge.c.effective_at < end,
                    charge.c.pays == "unbilled",
                )
            )
            for row in map(ChargeRow._make, rows):
                found.setdefault((row.account_id, row.currency), []).append(row)
        for some in found.values():
            some.sort()
        return found

    def _reversed(self, connection: Connection, charges: Collection[ChargeRow]) -> dict[str, Reversed]:
        """When what is taken back took effect, which is the day of its tax, and who was billed for it."""
        ids = sorted({each.reverses_id for each in charges if each.reverses_id is not None})
        charge, invoice, past = table(Charge), table(InvoiceRow), table(PastTaxpayer)
        at = type_coerce(charge.c.effective_at, BigInteger)
        until = (
            select(func.min(past.c.until))
            .where(past.c.account_id == invoice.c.account_id, past.c.until >= invoice.c.issued_at)
            .correlate(invoice)
            .scalar_subquery()
        )
        found: dict[str, Reversed] = {}
        for some in portions(ids):
            rows = connection.execute(
                select(charge.c.id, at, past.c.country, past.c.vat_country, past.c.tax_status)
                .outerjoin(invoice, invoice.c.id == charge.c.invoice_id)
                .outerjoin(past, (past.c.account_id == invoice.c.account_id) & (past.c.until == until))
                .where(charge.c.id.in_(some))
            )
            for id, effective_at, *was in rows:
                found[id] = Reversed(effective_at, Taxpayer(*was) if was[0] else None)
        return found

    def _bill(
        self,
        connection: Connection,
        customer: Row[Any],
        currency: str,
        span: Period,
        charges: list[ChargeRow],
        facts: dict[str, AgreementFacts],
        reversed_: dict[str, Reversed],
    ) -> Bill:
        taxpayer, countries = taxpayer_of(customer), set[str]()
        maker = Lines(
            span,
            self._operator.zone,
            currency,
            customer.language,
            facts,
            lambda version: self._tariffs.get(connection, version),
            self._taxing(taxpayer, customer, reversed_, countries),
        )
        lines = maker.make(charges)
        sums = totals(lines, currency)
        zone = zone_of(customer, self._operator)
        first, last = days(span.start, span.end, zone)
        start = to_micros(span.start)
        final = customer.status == CLOSED
        invoice = Invoice(
            number="",
            series="",
            issue_date=self._issued,
            due_date=self._issued,
            period_from=first,
            period_to=last,
            seller=self._seller,
            customer=_party(customer),
            currency=currency,
            language=customer.language,
            lines=tuple(lines),
            totals=sums,
            account=customer.id,
            carried_forward_micros=sum(each.net for each in charges if each.effective_at < start),
            time_zone=str(zone),
            tax_country=countries.pop() if len(countries) == 1 else taxpayer.country,
            final_bill=final,
        )
        return Bill(
            id="",
            account=customer.id,
            period=span.name,
            invoice=as_credit_note(invoice) if sums.payable_micros < 0 else invoice,
            unbilled=sum(each.net for each in charges),
            taxed=maker.contained,
            carried=self._carried(customer, sums.payable_micros, final=final),
        )

    def _carried(self, customer: Row[Any], payable: int, *, final: bool) -> bool:
        """Whether nothing is asked for or given back now, and the next bill takes the charges over."""
        if payable < 0 and self._operator.negative_bills == "carry" and not final:
            return True
        least = customer.minimum_amount
        if least is None:
            least = decimal_micros(self._operator.minimum_amount)
        return carried_forward(payable, least, final=final)

    def _taxing(
        self, taxpayer: Taxpayer, customer: Row[Any], reversed_: dict[str, Reversed], countries: set[str]
    ) -> Callable[[ChargeRow], LineTax]:
        """The tax of each of a customer's charges, each case worked out once; whose tax it is goes to ``countries``."""
        known: dict[tuple[str, int, date, Taxpayer], LineTax] = {}

        def tax(charge: ChargeRow) -> LineTax:
            day, who = self._supplied(charge, reversed_), taxpayer
            if charge.reverses_id is not None and charge.reverses_id in reversed_:
                who = reversed_[charge.reverses_id].taxpayer or taxpayer
            case = (charge.tax_category, charge.tax_rate, day, who)
            found = known.get(case)
            if found is None:
                told = self._taxes.tax(
                    charge.tax_category,
                    charge.tax_rate,
                    day,
                    who,
                    self._operator.country,
                    operator_has_vat_id=bool(self._operator.vat_id),
                )
                countries.add(told.country)
                contained = 0
                if charge.tax_category in self._taxes.inclusive:
                    own = self._taxes.rate(self._operator.country, charge.tax_category, day)
                    # Of who owes none the charge has no rate.
                    usual = charge.tax_rate or self._own_rates.get(charge.tax_category, 0)
                    contained = told.rate_bp or (usual if own is None else own)
                found = known[case] = LineTax(told.category, told.rate_bp, _reason(told, customer), contained)
            return found

        return tax

    def _supplied(self, charge: ChargeRow, reversed_: dict[str, Reversed]) -> date:
        """The day whose rate holds: of what is taken back, of the end of a service, or of the use."""
        zone = self._operator.zone
        if charge.reverses_id is not None and charge.reverses_id in reversed_:
            return from_micros(reversed_[charge.reverses_id].effective_at).astimezone(zone).date()
        if charge.service_to is not None:
            return from_micros(charge.service_to - 1).astimezone(zone).date()
        if charge.period not in self._month_days:
            first, last = days(*period(charge.period, zone)[1:], zone)
            self._month_days[charge.period] = first if self._taxes.steady(first, last) else None
        of_month = self._month_days[charge.period]
        if of_month is not None:
            return of_month
        at = from_micros(charge.effective_at)
        if period_of(at, zone) == charge.period:
            return at.astimezone(zone).date()
        return period(charge.period, zone).start.astimezone(zone).date()


def seller(operator: OperatorSettings) -> Party:
    """The operator as it stands on invoices."""
    bank = BankAccount(holder=operator.name, iban=operator.iban, bic=operator.bic) if operator.iban else None
    return _party(operator, bank)


def _party(who: Row[Any] | OperatorSettings, bank: BankAccount | None = None) -> Party:
    return Party(
        name=who.name,
        address=tuple(who.address),
        country=who.country,
        vat_id=who.vat_id,
        email=who.email,
        bank=bank,
    )


def _reason(tax: Tax, customer: Row[Any]) -> str:
    """Why no tax is charged, in the customer's language."""
    if customer.tax_reason and tax.category in ("E", "AE") and customer.tax_status:
        return str(customer.tax_reason)
    return labels_for(customer.language).untaxed[tax.category] if tax.category in ("AE", "G", "O", "E") else ""
