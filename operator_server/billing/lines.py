"""From charges to the lines of an invoice: one for each agreement, tariff version, tax and month of use, one for each
delivery, and one for each that is taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, tzinfo
from decimal import Decimal
from typing import Any

from babel.numbers import format_decimal
from sqlalchemy import Row

from charging.invoices.model import TAX_CATEGORIES, InvoiceLine
from charging.invoices.totals import round_to_unit
from charging.periods import Period, days, period, period_of
from charging.price_text import locale_of
from operator_server.billing.facts import AgreementFacts, TariffFacts
from signalling.money import format_micros, minor_unit

ChargeRow = Row[Any]

_TEXTS = {
    "en": {
        "reversal": "{label}: delivery failed, charge taken back",
        "by_tariff": "by tariff",
        "ranges": "{label}; counter {name}: {ranges}",
        "range": "{first} to {last}",
        "reset": "reset",
    },
    "de": {
        "reversal": "{label}: Lieferung fehlgeschlagen, Belastung zurückgenommen",
        "by_tariff": "nach Tarif",
        "ranges": "{label}; Zähler {name}: {ranges}",
        "range": "{first} bis {last}",
        "reset": "zurückgesetzt",
    },
}


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
    ) -> None:
        self._billed = billed
        self._zone = zone
        self._currency = currency
        self._language = language
        self._texts = _TEXTS.get(language, _TEXTS["en"])
        self._agreements = agreements
        self._tariff = tariff

    def make(self, charges: Sequence[ChargeRow]) -> list[InvoiceLine]:
        """The lines, in the order of offer, agreement, month and kind; each charge is on exactly one."""
        groups: dict[tuple[Any, ...], list[ChargeRow]] = {}
        for charge in charges:
            facts = self._agreements[charge.agreement_id]
            key = (
                facts.title(self._language), charge.agreement_id, charge.period, charge.kind, charge.counter,
                charge.tariff_version, charge.tax_category, charge.tax_rate,
                "" if charge.kind == "use" else charge.id,
            )  # fmt: skip
            groups.setdefault(key, []).append(charge)
        return [self._line(str(number), groups[key]) for number, key in enumerate(sorted(groups), 1)]

    def _line(self, line_id: str, charges: list[ChargeRow]) -> InvoiceLine:
        first = charges[0]
        facts = self._agreements[first.agreement_id]
        common: dict[str, Any] = {
            "line_id": line_id,
            "offer": facts.title(self._language),
            "charging_mode": facts.mode_kind,
            "agreement_id": first.agreement_id,
            "tax_category": _tax_category(first.tax_category, first.tax_rate),
            "tax_rate_bp": first.tax_rate,
            "charge_ids": tuple(charge.id for charge in charges),
        }
        return self._use(facts, charges, common) if first.kind == "use" else self._single(facts, first, common)

    def _single(self, facts: AgreementFacts, charge: ChargeRow, common: dict[str, Any]) -> InvoiceLine:
        taken_back = charge.net < 0
        label = facts.terms.label
        day_from, day_to = self._days(charge.period)
        if period_of(charge.effective_at, self._zone) == charge.period:
            day_from = day_to = charge.effective_at.astimezone(self._zone).date()
        return InvoiceLine(
            **common,
            description=self._texts["reversal"].format(label=label) if taken_back else label,
            period_from=day_from,
            period_to=day_to,
            quantity=-charge.quantity if taken_back else charge.quantity,
            unit_price=format_micros(abs(charge.net), self._currency) if charge.quantity == 1 else "",
            net_micros=charge.net,
        )

    def _use(self, facts: AgreementFacts, charges: list[ChargeRow], common: dict[str, Any]) -> InvoiceLine:
        first = charges[0]
        ranges = _ranges(charges)
        tariff = self._tariff(first.tariff_version)
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
            unit_price=self._unit_price(tariff),
            net_micros=self._net(sum(charge.net for charge in charges), tariff),
            counter_name=first.counter if single else "",
            counter_from=shown[1],
            counter_to=shown[2],
        )

    def _description(self, label: str, name: str, ranges: list[tuple[int, int, int]]) -> str:
        parts: list[str] = []
        epoch = ranges[0][0]
        for of_epoch, start, end in ranges:
            if of_epoch != epoch:
                parts.append(self._texts["reset"])
                epoch = of_epoch
            parts.append(self._texts["range"].format(first=start, last=end))
        return self._texts["ranges"].format(label=label, name=name, ranges=", ".join(parts))

    def _unit_price(self, tariff: TariffFacts | None) -> str:
        if tariff is None or not tariff.exact:
            return self._texts["by_tariff"]
        price = format_micros(tariff.amount, self._currency)
        if tariff.size == 1:
            return price
        locale = locale_of(self._language)
        return f"{format_decimal(Decimal(price), locale=locale)} / {format_decimal(tariff.size, locale=locale)}"

    def _net(self, exact: int, tariff: TariffFacts | None) -> int:
        """The exact sum, or where the tariff rounds lines otherwise than invoices do, what the tariff makes of it."""
        if tariff is None:
            return exact
        by_tariff = tariff.rounding.line(exact)
        return exact if by_tariff == round_to_unit(exact, 1, minor_unit(self._currency)) else by_tariff

    def _days(self, name: str) -> tuple[date, date]:
        of_use = self._billed if name == self._billed.name else period(name, self._zone)
        return days(of_use.start, of_use.end, self._zone)


def _tax_category(category: str, rate: int) -> str:
    """The operator's tax category as EN 16931 knows it: whatever has a rate is S, reduced rates too (UNCL5305)."""
    if rate:
        return "S"
    return category if category in TAX_CATEGORIES and category != "S" else "Z"


def _ranges(charges: Sequence[ChargeRow]) -> list[tuple[int, int, int]]:
    """Epoch, first (exclusive) and last value of what was counted; ranges that touch are one."""
    ranges: list[tuple[int, int, int]] = []
    for charge in sorted(charges, key=lambda each: (each.epoch, each.counter_from)):
        if ranges and ranges[-1][0] == charge.epoch and ranges[-1][2] == charge.counter_from:
            ranges[-1] = (charge.epoch, ranges[-1][1], charge.counter_to)
        else:
            ranges.append((charge.epoch, charge.counter_from, charge.counter_to))
    return ranges
