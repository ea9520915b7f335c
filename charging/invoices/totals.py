"""The sums of an invoice by the rules of EN 16931, so that lines, tax and total agree to the last minor unit.

1. Each line's net is rounded to the currency's minor unit, half away from zero (BT-131).
2. Per tax category and rate: the base is the sum of the rounded line nets (BT-116), the tax is base x rate, rounded
   once (BT-117). Tax is never summed from lines.
3. Net total = sum of line nets (BT-109); tax total = sum of the categories' taxes (BT-110); gross = both (BT-112).

What rule 1 adds or takes is returned per line and as a sum; it is posted to the rounding account, so the ledger
keeps the exact amount.
"""

from __future__ import annotations

from collections.abc import Sequence

from signalling.money import minor_unit

from .model import TAX_CATEGORIES, InvoiceError, InvoiceLine, LineNet, TaxTotal, Totals

_BASIS_POINTS = 10_000


def round_to_unit(numerator: int, denominator: int, unit: int) -> int:
    """``numerator / denominator`` micros rounded to whole ``unit`` micros, half away from zero.

    A credit note mirrors its invoice: the rounding of ``-x`` is minus that of ``x``.
    """
    step = denominator * unit
    rounded = (2 * abs(numerator) + step) // (2 * step) * unit
    return -rounded if numerator < 0 else rounded


def totals(lines: Sequence[InvoiceLine], currency: str) -> Totals:
    """Sum up ``lines``, taxes in the order (category, rate).

    Raises :class:`InvoiceError` for what EN 16931 refuses (no line, a line id twice, an unknown tax category, a rate
    that does not go with its category) and :class:`signalling.money.MoneyError` for an unknown currency.
    """
    unit = minor_unit(currency)
    _check(lines)
    nets = tuple(LineNet(line.line_id, line.net_micros, round_to_unit(line.net_micros, 1, unit)) for line in lines)
    bases: dict[tuple[str, int], int] = {}
    for line, net in zip(lines, nets, strict=True):
        key = (line.tax_category, line.tax_rate_bp)
        bases[key] = bases.get(key, 0) + net.net_micros
    taxes = tuple(
        TaxTotal(category, rate, base, round_to_unit(base * rate, _BASIS_POINTS, unit))
        for (category, rate), base in sorted(bases.items())
    )
    net_total = sum(net.net_micros for net in nets)
    tax_total = sum(tax.tax_micros for tax in taxes)
    return Totals(
        net_micros=net_total,
        tax_micros=tax_total,
        gross_micros=net_total + tax_total,
        rounding_micros=sum(net.rounding_micros for net in nets),
        lines=nets,
        taxes=taxes,
    )


def _check(lines: Sequence[InvoiceLine]) -> None:
    if not lines:
        raise InvoiceError("an invoice needs at least one line (EN 16931, BR-16)")
    seen: set[str] = set()
    for line in lines:
        if line.line_id in seen:
            raise InvoiceError(f"line {line.line_id!r} occurs twice; line ids are unique within an invoice")
        seen.add(line.line_id)
        if line.tax_category not in TAX_CATEGORIES:
            known = ", ".join(TAX_CATEGORIES)
            raise InvoiceError(
                f"line {line.line_id!r}: tax category {line.tax_category!r} is none of {known} (EN 16931, BT-151)"
            )
        if (line.tax_category == "S") != (line.tax_rate_bp > 0) or line.tax_rate_bp < 0:
            raise InvoiceError(
                f"line {line.line_id!r}: a rate of {line.tax_rate_bp} basis points does not go with tax category"
                f" {line.tax_category} ({TAX_CATEGORIES[line.tax_category]}); only S has a rate above zero"
            )
