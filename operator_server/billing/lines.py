"""From charges to the lines of an invoice: one for each agreement, tariff version, tax and month of use, one for each
delivery, period of a subscription or commitment, and one for each that is taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, tzinfo
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from charging.invoices.labels import formats_for, labels_for
from charging.invoices.model import InvoiceError, InvoiceLine
from charging.invoices.totals import round_to_unit, without_tax
from charging.periods import Period, days, period, period_of
from operator_server.billing.facts import AgreementFacts, TariffFacts
from signalling.clock import from_micros
from signalling.money import format_micros, minor_unit


class ChargeRow(NamedTuple):
    """What a bill needs to know of a charge. Instants are microseconds since 1970."""

    id: str
    kind: str
    agreement_id: str
    account_id: str
    subscriber_id: str
    counter: str
    epoch: int
    counter_from: int
    counter_to: int
    quantity: int
    included: int
    period: str
    effective_at: int
    net: int
    currency: str
    tax_category: str
    tax_rate: int
    tariff_version: str
    reverses_id: str | None
    service_from: int | None
    service_to: int | None


class LineTax(NamedTuple):
    """The tax of a charge. ``contained_bp``: the rate that its price contains, 0 for a price without tax."""

    category: str
    rate_bp: int
    reason: str
    contained_bp: int


class Lines:
    """Makes the lines of one invoice."""

    def __init__(
        self,
        billed: Period,
        zone: tzinfo,
        currency: str,
        language: str,
        agreements: Mapping[str, AgreementFacts],
        tariff: Callable[[str], TariffFacts | None],
        tax: Callable[[ChargeRow], LineTax],
    ) -> None:
        self._billed = billed
        self._zone = zone
        self._currency = currency
        self._language = language
        self._labels = labels_for(language)
        self._formats = formats_for(language)
        self._agreements = agreements
        self._tariff = tariff
        self._tax = tax
        self.contained = 0
        """Micros of tax that the prices of the lines made so far contain."""

    def make(self, charges: Sequence[ChargeRow]) -> list[InvoiceLine]:
        """The lines, in the order of offer, agreement, month and kind; each charge is on exactly one.

        Raises :class:`InvoiceError` for a charge whose agreement is not kept.
        """
        alike: dict[tuple[Any, ...], list[ChargeRow]] = {}
        for charge in charges:
            key = (
                charge.agreement_id, charge.period, charge.kind, charge.counter, charge.tariff_version,
                self._tax(charge), charge.subscriber_id, "" if charge.kind == "use" else charge.id,
            )  # fmt: skip
            alike.setdefault(key, []).append(charge)
        ordered = sorted((self._title(group[0]), *key) for key, group in alike.items())
        return [self._line(str(number), alike[key[1:]], key[6]) for number, key in enumerate(ordered, 1)]

    def _title(self, charge: ChargeRow) -> str:
        facts = self._agreements.get(charge.agreement_id)
        if facts is None:
            raise InvoiceError(f"charge {charge.id}: its agreement {charge.agreement_id} is not kept")
        return facts.title(self._language)

    def _line(self, line_id: str, charges: list[ChargeRow], tax: LineTax) -> InvoiceLine:
        first = charges[0]
        facts = self._agreements[first.agreement_id]
        common: dict[str, Any] = {
            "line_id": line_id,
            "offer": facts.title(self._language),
            "charging_mode": facts.mode_kind,
            "agreement_id": first.agreement_id,
            "tax_category": tax.category,
            "tax_rate_bp": tax.rate_bp,
            "tax_reason": tax.reason,
            "charge_ids": tuple(charge.id for charge in charges),
            "kind": first.kind,
            "subscriber": first.subscriber_id,
        }
        if first.kind == "use":
            tariff = self._tariff(first.tariff_version)
            amount = self._amount(sum(charge.net for charge in charges), tariff)
            return self._use(facts, charges, tariff, common | self._amounts(amount, tax))
        return self._single(facts, first, common | self._amounts(first.net, tax))

    def _single(self, facts: AgreementFacts, charge: ChargeRow, common: dict[str, Any]) -> InvoiceLine:
        taken_back = charge.net < 0
        label = facts.terms.label
        if charge.kind == "commitment":
            # One below zero says by how much use that came late, or was rated again, makes it less.
            by_tariff = facts.mode_kind != "commitment"
            text = f"{label}: {self._labels.mode('commitment')}" if by_tariff else label
        else:
            text = self._taken_back(charge, facts).format(label=label) if taken_back else label
        day_from, day_to = self._days_of(charge)
        return InvoiceLine(
            **common,
            description=text,
            period_from=day_from,
            period_to=day_to,
            quantity=-charge.quantity if taken_back else charge.quantity,
            unit_price=format_micros(abs(charge.net), self._currency) if charge.quantity == 1 else "",
        )

    def _taken_back(self, charge: ChargeRow, facts: AgreementFacts) -> str:
        if charge.kind == "withdrawal":
            return self._labels.line_withdrawal
        return self._labels.line_refund if facts.mode_kind == "per_use" else self._labels.line_reversal

    def _use(
        self, facts: AgreementFacts, charges: list[ChargeRow], tariff: TariffFacts | None, common: dict[str, Any]
    ) -> InvoiceLine:
        first = charges[0]
        ranges = _ranges(charges)
        day_from, day_to = self._days(first.period)
        # What other systems counted comes without a counter of ours.
        single = not first.counter or len(ranges) == 1
        shown = ranges[0] if first.counter and single else (0, None, None)
        return InvoiceLine(
            **common,
            description=facts.terms.label if single else self._description(facts.terms.label, first.counter, ranges),
            period_from=day_from,
            period_to=day_to,
            quantity=sum(charge.quantity for charge in charges),
            included=sum(charge.included for charge in charges),
            unit=facts.terms.unit,
            unit_price=self._unit_price(tariff, facts.terms.unit),
            counter_name=first.counter if single else "",
            counter_from=shown[1],
            counter_to=shown[2],
        )

    def _description(self, label: str, name: str, ranges: list[tuple[int, int, int]]) -> str:
        parts: list[str] = []
        epoch = ranges[0][0]
        for of_epoch, start, end in ranges:
            if of_epoch != epoch:
                parts.append(self._labels.counter_reset)
                epoch = of_epoch
            first, last = self._formats.number(start), self._formats.number(end)
            parts.append(self._labels.counter_range.format(first=first, last=last))
        return self._labels.counter_ranges.format(label=label, name=name, ranges=", ".join(parts))

    def _unit_price(self, tariff: TariffFacts | None, unit: str) -> str:
        if tariff is None or not tariff.exact:
            return self._labels.by_tariff
        price = format_micros(tariff.amount, self._currency)
        if tariff.size == 1:
            return price
        return self._formats.price_for(price, tariff.size, unit, self._labels.units)

    def _amounts(self, amount: int, tax: LineTax) -> dict[str, Any]:
        """The exact amounts of a line whose charges sum to ``amount`` micros; without tax, who owes none pays less."""
        if not tax.contained_bp:
            return {"net_micros": amount}
        net = without_tax(amount, tax.contained_bp)
        self.contained += amount - net
        return {"net_micros": net, "gross_micros": amount} if tax.rate_bp else {"net_micros": net}

    def _amount(self, exact: int, tariff: TariffFacts | None) -> int:
        """The exact sum, or where the tariff rounds lines otherwise than invoices do, what the tariff makes of it."""
        if tariff is None:
            return exact
        by_tariff = tariff.rounding.line(exact)
        return exact if by_tariff == round_to_unit(exact, 1, minor_unit(self._currency)) else by_tariff

    def _days_of(self, charge: ChargeRow) -> tuple[date, date]:
        """The days that a single charge is for: of its service, of what it is, or of the month it belongs to."""
        if charge.service_from is not None and charge.service_to is not None:
            return days(from_micros(charge.service_from), from_micros(charge.service_to), self._zone)
        at = from_micros(charge.effective_at)
        if period_of(at, self._zone) == charge.period:
            return (at.astimezone(self._zone).date(),) * 2
        return self._days(charge.period)

    def _days(self, name: str) -> tuple[date, date]:
        """The days of a month of use; of one that is billed in part, as far as it is billed."""
        month = _month(name, self._zone)
        end = self._billed.end if month.start < self._billed.end < month.end else month.end
        return days(month.start, end, self._zone)


@lru_cache(maxsize=256)
def _month(name: str, zone: tzinfo) -> Period:
    return period(name, zone)


def _ranges(charges: Sequence[ChargeRow]) -> list[tuple[int, int, int]]:
    """Epoch, first (exclusive) and last value of what was counted; ranges that touch are one."""
    ranges: list[tuple[int, int, int]] = []
    for charge in sorted(charges, key=attrgetter("epoch", "counter_from")):
        if ranges and ranges[-1][0] == charge.epoch and ranges[-1][2] == charge.counter_from:
            ranges[-1] = (charge.epoch, ranges[-1][1], charge.counter_to)
        else:
            ranges.append((charge.epoch, charge.counter_from, charge.counter_to))
    return ranges
