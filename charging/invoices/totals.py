"""The sums of an invoice by the rules of EN 16931, so that lines, tax and total agree to the last minor unit.

1. Each line's net is rounded to the currency's minor unit, half away from zero (BT-131).
2. Per tax category and rate: the base is the sum of the rounded line nets (BT-116, BR-S-08), the tax is base x rate,
   rounded once (BT-117, BR-CO-17). Tax is never summed from lines.
3. Net total = sum of line nets (BT-106, BT-109; BR-CO-10, BR-CO-13); tax total = sum of the categories' taxes (BT-110,
   BR-CO-14); gross = both (BT-112, BR-CO-15); payable = gross - paid + rounding (BT-115, BR-CO-16).
4. Lines whose price includes tax: of the net amounts whose gross by rule 2 is the sum of their prices, the one nearest
   to the exact net is shared out to the lines. Where there is none (at 19 %, 0.03 cannot be reached: 0.02 has 0.00
   and 0.03 has 0.01 of tax), the nearest is taken, and what is missing is the payable rounding (BT-114), so that the
   customer pays the sum of the prices.

What rules 1 and 4 add to the exact nets or take is returned per line and as a sum; it is posted to the rounding
account, so the ledger keeps the exact amount.
"""

from __future__ import annotations

from collections.abc import Sequence

from signalling.money import minor_unit

from .model import TAX_CATEGORIES, TAX_REASON_CODES, InvoiceError, InvoiceLine, LineNet, TaxTotal, Totals

_BASIS_POINTS = 10_000

_Group = tuple[str, int]


def round_to_unit(numerator: int, denominator: int, unit: int) -> int:
    """``numerator / denominator`` micros rounded to whole ``unit`` micros, half away from zero.

    A credit note mirrors its invoice: the rounding of ``-x`` is minus that of ``x``.
    """
    step = denominator * unit
    rounded = (2 * abs(numerator) + step) // (2 * step) * unit
    return -rounded if numerator < 0 else rounded


def without_tax(gross: int, rate_bp: int, unit: int = 1) -> int:
    """What is left of ``gross`` micros without its tax, rounded to whole ``unit`` micros."""
    return round_to_unit(gross * _BASIS_POINTS, _BASIS_POINTS + rate_bp, unit)


def totals(lines: Sequence[InvoiceLine], currency: str, *, paid_micros: int = 0) -> Totals:
    """Sum up ``lines``, taxes in the order (category, rate); ``paid_micros`` was paid before (BT-113).

    Raises :class:`InvoiceError` for what EN 16931 refuses (no line, a line id twice, an unknown tax category, a rate
    that does not go with its category, category O beside another) and :class:`signalling.money.MoneyError` for an
    unknown currency.
    """
    unit = minor_unit(currency)
    _check(lines)
    members: dict[_Group, list[InvoiceLine]] = {}
    for line in lines:
        members.setdefault((line.tax_category, line.tax_rate_bp), []).append(line)
    nets: dict[str, LineNet] = {}
    taxes, payable_rounding = [], 0
    for (category, rate), group in sorted(members.items()):
        of_group, missing = _nets(group, rate, unit)
        nets.update((net.line_id, net) for net in of_group)
        base = sum(net.net_micros for net in of_group)
        taxes.append(
            TaxTotal(
                category,
                rate,
                base,
                _tax(base, rate, unit),
                _reason(category, group),
                TAX_REASON_CODES.get(category, ""),
            )
        )
        payable_rounding += missing
    net_total = sum(tax.net_micros for tax in taxes)
    tax_total = sum(tax.tax_micros for tax in taxes)
    return Totals(
        net_micros=net_total,
        tax_micros=tax_total,
        gross_micros=net_total + tax_total,
        rounding_micros=sum(net.rounding_micros for net in nets.values()),
        lines=tuple(nets[line.line_id] for line in lines),
        taxes=tuple(taxes),
        paid_micros=paid_micros,
        payable_rounding_micros=payable_rounding,
    )


def _tax(base: int, rate: int, unit: int) -> int:
    return round_to_unit(base * rate, _BASIS_POINTS, unit)


def _reason(category: str, group: Sequence[InvoiceLine]) -> str:
    given = next((line.tax_reason for line in group if line.tax_reason), "")
    return given or (TAX_CATEGORIES[category].capitalize() if category in TAX_REASON_CODES else "")


def _nets(group: Sequence[InvoiceLine], rate: int, unit: int) -> tuple[list[LineNet], int]:
    """The rounded nets of the lines of one category and rate, and what their gross misses of prices with tax."""
    priced = [
        (line.line_id, round_to_unit(line.gross_micros, 1, unit)) for line in group if line.gross_micros is not None
    ]
    plain = [
        LineNet(line.line_id, line.net_micros, round_to_unit(line.net_micros, 1, unit))
        for line in group
        if line.gross_micros is None
    ]
    if not priced:
        return plain, 0
    beside = sum(net.net_micros for net in plain)
    total = sum(gross for _, gross in priced)
    wanted = total + beside + _tax(beside, rate, unit)
    nearest = without_tax(total, rate, unit)
    step = -unit if total < 0 else unit
    tried = (nearest, nearest + step, nearest - step)
    missing = [wanted - (base + beside + _tax(base + beside, rate, unit)) for base in tried]
    chosen = missing.index(0) if 0 in missing else 0
    shares = _shared(tried[chosen], [without_tax(gross, rate, unit) for _, gross in priced], priced, rate, unit)
    exact = {line.line_id: line.net_micros for line in group}
    inclusive = [
        LineNet(line_id, exact[line_id], share, gross) for (line_id, gross), share in zip(priced, shares, strict=True)
    ]
    return plain + inclusive, missing[chosen]


def _shared(base: int, shares: list[int], priced: Sequence[tuple[str, int]], rate: int, unit: int) -> list[int]:
    """``shares`` that sum to ``base``: the lines that rounding took the most from get a unit more, and the reverse."""
    left = base - sum(shares)
    step = unit if left > 0 else -unit
    divisor = _BASIS_POINTS + rate

    def owed(at: int) -> int:
        """What rounding took from a line, times the divisor; counted in the direction of what is left."""
        return (priced[at][1] * _BASIS_POINTS - shares[at] * divisor) * (1 if left > 0 else -1)

    for at in sorted(range(len(shares)), key=owed, reverse=True)[: abs(left) // unit]:
        shares[at] += step
    return shares


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
    categories = {line.tax_category for line in lines}
    if "O" in categories and len(categories) > 1:
        others = ", ".join(sorted(categories - {"O"}))
        raise InvoiceError(f"category O (outside the scope of tax) stands beside {others} (EN 16931, BR-O-11)")
