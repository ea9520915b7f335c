"""The sums agree to the last minor unit, by the rules of EN 16931."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoice_samples import per_use

from charging.invoices.model import InvoiceError, InvoiceLine
from charging.invoices.totals import totals, without_tax
from signalling.money import MoneyError, minor_unit

_TAXES = st.sampled_from([("S", 1900), ("S", 700), ("S", 550), ("S", 1), ("Z", 0), ("E", 0), ("AE", 0), ("G", 0)])
_AMOUNTS = st.one_of(
    st.integers(-(10**13), 10**13),
    st.integers(-(10**7), 10**7).map(lambda half: half * 5_000),
    st.integers(-(10**6), 10**6).map(lambda half: half * 500_000),
)


@st.composite
def _lines(draw: st.DrawFn) -> list[InvoiceLine]:
    parts = draw(st.lists(st.tuples(_AMOUNTS, _TAXES), min_size=1, max_size=30))
    return [
        per_use(at, net_micros=micros, tax_category=category, tax_rate_bp=rate)
        for at, (micros, (category, rate)) in enumerate(parts)
    ]


def _nearest(exact: Fraction, rounded: int, unit: int) -> bool:
    """Whether ``rounded`` is the multiple of ``unit`` nearest to ``exact``, a half going away from zero."""
    off = abs(rounded) - abs(exact)
    return rounded % unit == 0 and rounded * exact >= 0 and -Fraction(unit, 2) < off <= Fraction(unit, 2)


@given(_lines(), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_lines_tax_and_total_agree_to_the_last_minor_unit(lines: list[InvoiceLine], currency: str) -> None:
    sums = totals(lines, currency)
    unit = minor_unit(currency)
    assert [net.line_id for net in sums.lines] == [line.line_id for line in lines]
    for line, net in zip(lines, sums.lines, strict=True):
        assert _nearest(Fraction(line.net_micros), net.net_micros, unit)
    assert {(tax.category, tax.rate_bp) for tax in sums.taxes} == {
        (line.tax_category, line.tax_rate_bp) for line in lines
    }
    for tax in sums.taxes:
        base = sum(
            net.net_micros
            for line, net in zip(lines, sums.lines, strict=True)
            if (line.tax_category, line.tax_rate_bp) == (tax.category, tax.rate_bp)
        )
        assert tax.net_micros == base
        assert _nearest(Fraction(base * tax.rate_bp, 10_000), tax.tax_micros, unit)
    assert sums.net_micros == sum(net.net_micros for net in sums.lines) == sum(tax.net_micros for tax in sums.taxes)
    assert sums.tax_micros == sum(tax.tax_micros for tax in sums.taxes)
    assert sums.gross_micros == sums.net_micros + sums.tax_micros


@given(_lines(), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_what_rounding_adds_is_accounted_for(lines: list[InvoiceLine], currency: str) -> None:
    sums = totals(lines, currency)
    assert sums.rounding_micros == sum(net.rounding_micros for net in sums.lines)
    assert sums.net_micros - sums.rounding_micros == sum(line.net_micros for line in lines)


@given(_lines(), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_a_reversal_mirrors_its_invoice(lines: list[InvoiceLine], currency: str) -> None:
    reversed_lines = [
        per_use(at, net_micros=-line.net_micros, tax_category=line.tax_category, tax_rate_bp=line.tax_rate_bp)
        for at, line in enumerate(lines)
    ]
    there, back = totals(lines, currency), totals(reversed_lines, currency)
    assert (back.net_micros, back.tax_micros) == (-there.net_micros, -there.tax_micros)
    assert [tax.tax_micros for tax in back.taxes] == [-tax.tax_micros for tax in there.taxes]


@pytest.mark.parametrize(
    ("currency", "micros", "net"),
    [
        ("EUR", 4_999, 0),
        ("EUR", 5_000, 10_000),
        ("EUR", -5_000, -10_000),
        ("EUR", 1_234_999, 1_230_000),
        ("JPY", 499_999, 0),
        ("JPY", 500_000, 1_000_000),
        ("KWD", 1_234_500, 1_235_000),
    ],
)
def test_a_line_is_rounded_half_away_from_zero_to_the_minor_unit(currency: str, micros: int, net: int) -> None:
    assert totals([per_use(net_micros=micros)], currency).net_micros == net


def test_tax_is_rounded_once_per_category_and_not_per_line() -> None:
    # 19 % of 0.02 is 0.0038 a line, which would vanish from each of ten lines; of the sum 0.20 it is 0.038.
    sums = totals([per_use(at, net_micros=20_000) for at in range(10)], "EUR")
    assert (sums.net_micros, sums.tax_micros, sums.gross_micros) == (200_000, 40_000, 240_000)


def test_two_rates_of_one_category_are_taxed_apart() -> None:
    sums = totals([per_use(1, net_micros=10_000_000), per_use(2, net_micros=10_000_000, tax_rate_bp=700)], "EUR")
    assert [(tax.rate_bp, tax.tax_micros) for tax in sums.taxes] == [(700, 700_000), (1900, 1_900_000)]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "at least one line"),
        ([per_use(1), per_use(1)], "'1' occurs twice"),
        ([per_use(tax_category="standard")], "'standard' is none of S, Z"),
        ([per_use(tax_category="AE", tax_rate_bp=1900)], "1900 basis points does not go with tax category AE"),
        ([per_use(tax_category="S", tax_rate_bp=0)], "0 basis points does not go with tax category S"),
        ([per_use(tax_category="S", tax_rate_bp=-700)], "-700 basis points"),
        ([per_use(1), per_use(2, tax_category="O", tax_rate_bp=0)], "O .outside the scope of tax. stands beside S"),
    ],
)
def test_what_the_norm_refuses_is_named(lines: list[InvoiceLine], words: str) -> None:
    with pytest.raises(InvoiceError, match=words):
        totals(lines, "EUR")


def test_an_unknown_currency_is_refused() -> None:
    with pytest.raises(MoneyError, match="XXZ"):
        totals([per_use()], "XXZ")


def priced(at: int, gross: int, rate: int) -> InvoiceLine:
    """A line whose price includes tax."""
    category = "S" if rate else "Z"
    net = without_tax(gross, rate)
    return per_use(at, gross_micros=gross, net_micros=net, tax_category=category, tax_rate_bp=rate)


@given(
    st.lists(
        st.tuples(_AMOUNTS, st.booleans(), st.sampled_from([0, 250, 700, 770, 1900, 2700])), min_size=1, max_size=20
    ),
    st.sampled_from(["EUR", "JPY", "KWD"]),
)
def test_prices_with_tax_are_paid_as_they_stand_and_every_sum_keeps_its_rule(
    parts: list[tuple[int, bool, int]], currency: str
) -> None:
    unit = minor_unit(currency)
    lines = [
        priced(at, amount, rate)
        if inclusive
        else per_use(at, net_micros=amount, tax_category="S" if rate else "Z", tax_rate_bp=rate)
        for at, (amount, inclusive, rate) in enumerate(parts)
    ]
    sums = totals(lines, currency)
    by_id = {net.line_id: net for net in sums.lines}
    assert sums.net_micros == sum(net.net_micros for net in sums.lines)
    assert sums.gross_micros == sums.net_micros + sums.tax_micros
    wanted = 0
    for tax in sums.taxes:
        own = [line for line in lines if (line.tax_category, line.tax_rate_bp) == (tax.category, tax.rate_bp)]
        assert tax.net_micros == sum(by_id[line.line_id].net_micros for line in own)
        assert _nearest(Fraction(tax.net_micros * tax.rate_bp, 10_000), tax.tax_micros, unit)
        beside = sum(by_id[line.line_id].net_micros for line in own if line.gross_micros is None)
        wanted += beside + _half_away(Fraction(beside * tax.rate_bp, 10_000), unit)
        wanted += sum(_half_away(Fraction(line.gross_micros), unit) for line in own if line.gross_micros is not None)
    assert sums.payable_micros == wanted
    assert abs(sums.payable_rounding_micros) <= 2 * unit * len(sums.taxes)
    for line in lines:
        assert by_id[line.line_id].net_micros % unit == 0
        assert abs(by_id[line.line_id].net_micros - line.net_micros) <= 2 * unit
    back = totals(
        [
            per_use(
                at,
                net_micros=-line.net_micros,
                gross_micros=None if line.gross_micros is None else -line.gross_micros,
                tax_category=line.tax_category,
                tax_rate_bp=line.tax_rate_bp,
            )
            for at, line in enumerate(lines)
        ],
        currency,
    )
    assert (back.net_micros, back.payable_micros) == (-sums.net_micros, -sums.payable_micros)


def _half_away(exact: Fraction, unit: int) -> int:
    rounded = int((abs(exact) + Fraction(unit, 2)) // unit) * unit
    return -rounded if exact < 0 else rounded


def test_a_price_with_tax_that_no_net_has_as_its_gross_is_made_up_for_by_the_payable_rounding() -> None:
    sums = totals([priced(1, 30_000, 1900)], "EUR")
    assert (sums.net_micros, sums.tax_micros, sums.gross_micros) == (30_000, 10_000, 40_000)
    assert (sums.payable_rounding_micros, sums.payable_micros) == (-10_000, 30_000)


def test_prices_with_tax_have_their_sum_as_the_gross_where_a_net_allows_it() -> None:
    sums = totals([priced(at, 4_990_000, 1900) for at in range(3)], "EUR")
    assert (sums.net_micros, sums.tax_micros, sums.gross_micros) == (12_580_000, 2_390_000, 14_970_000)
    assert [net.net_micros for net in sums.lines] == [4_200_000, 4_190_000, 4_190_000]
    assert (sums.payable_rounding_micros, sums.lines[0].gross_micros) == (0, 4_990_000)


def test_what_was_paid_before_is_not_to_be_paid_again() -> None:
    sums = totals([per_use(net_micros=10_000_000)], "EUR", paid_micros=5_000_000)
    assert (sums.gross_micros, sums.payable_micros) == (11_900_000, 6_900_000)


def test_reverse_charge_says_why_no_tax_is_charged() -> None:
    lines = [per_use(tax_category="AE", tax_rate_bp=0, tax_reason="Steuerschuldnerschaft des Leistungsempfängers")]
    [tax] = totals(lines, "EUR").taxes
    assert (tax.reason, tax.reason_code) == ("Steuerschuldnerschaft des Leistungsempfängers", "VATEX-EU-AE")
    [tax] = totals([per_use(tax_category="E", tax_rate_bp=0)], "EUR").taxes
    assert (tax.reason, tax.reason_code) == ("Exempt", "")
    assert totals([per_use(1)], "EUR").taxes[0].reason == ""
