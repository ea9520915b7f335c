"""Credit notes: never more than was charged, and never a cent less once all is credited."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoice_samples import invoice, per_use
from schematron import findings

from charging.invoices.facturx import to_xml
from charging.invoices.model import Invoice
from charging.receivables.credit import Credited, CreditError, credit_lines, credit_note, left_of

CENT = 10_000


def note(made: Invoice, credited: Credited, wanted: dict[str, int | None] | None) -> tuple[Invoice, Credited]:
    document = credit_note(
        made, credited, wanted, number="G-2026-000001", series="G-2026", issued=date(2026, 12, 1), reason="fault"
    )
    return document, credited.with_note(document.totals, document.lines)


def two_lines() -> Invoice:
    return invoice(
        per_use(1, net_micros=10_004_900),
        per_use(2, net_micros=333_300, tax_rate_bp=700),
        per_use(3, net_micros=99_900),
    )


def test_the_whole_is_credited_with_tax_and_exact_amounts() -> None:
    made = two_lines()
    document, _ = note(made, Credited.nothing(), None)
    assert (document.kind, document.corrects, document.corrects_date) == ("credit_note", made.number, made.issue_date)
    assert document.totals == made.totals
    assert document.notes == ("fault",)


def test_a_line_and_then_the_rest_make_up_the_invoice() -> None:
    made = two_lines()
    first, credited = note(made, Credited.nothing(), {"2": None})
    rest, credited = note(made, credited, None)
    assert first.totals.gross_micros == 35 * CENT
    assert first.totals.gross_micros + rest.totals.gross_micros == made.totals.gross_micros
    assert first.totals.rounding_micros + rest.totals.rounding_micros == made.totals.rounding_micros
    assert set(left_of(made, credited).values()) == {0}
    with pytest.raises(CreditError, match="nothing is left"):
        credit_lines(made, credited, None)


def test_a_part_of_a_line_is_credited_without_the_quantity_of_the_whole() -> None:
    document, _ = note(two_lines(), Credited.nothing(), {"1": 100 * CENT})
    [line] = document.lines
    assert (line.quantity, line.unit, line.charge_ids, line.net_micros) == (1, "", (), 100 * CENT)
    assert document.totals.gross_micros == 119 * CENT


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"9": None}, "has no line '9'"),
        ({"1": 1001 * CENT}, "1001 asked|10.01 EUR asked, 10.00 net of it is not credited yet"),
        ({"1": 0}, "cannot be paid"),
        ({"1": CENT // 2}, "cannot be paid"),
        ({}, "name the lines"),
    ],
)
def test_a_credit_that_cannot_be_is_refused(wanted: dict[str, int | None], told: str) -> None:
    with pytest.raises(CreditError, match=told):
        credit_lines(two_lines(), Credited.nothing(), wanted)


def test_a_line_that_another_takes_back_is_not_credited_alone() -> None:
    made = invoice(per_use(1, net_micros=699 * CENT), per_use(2, net_micros=-699 * CENT), per_use(3, net_micros=CENT))
    with pytest.raises(CreditError, match="some take back others"):
        credit_lines(made, Credited.nothing(), {"1": None})
    with pytest.raises(CreditError, match="nothing is left"):
        credit_lines(made, Credited.nothing(), {"2": None})
    _, sums = credit_lines(made, Credited.nothing(), None)
    assert sums.gross_micros == made.totals.gross_micros


LINES = st.lists(st.tuples(st.integers(1, 3_000_000), st.sampled_from([0, 700, 1900])), min_size=1, max_size=5)


@given(LINES, st.lists(st.tuples(st.integers(0, 4), st.integers(1, 300)), max_size=25))
def test_no_sequence_of_notes_gives_back_a_cent_more_or_less_than_was_charged(
    lines: list[tuple[int, int]], parts: list[tuple[int, int]]
) -> None:
    made = invoice(
        *(
            per_use(number, net_micros=net, tax_rate_bp=rate, tax_category="S" if rate else "Z")
            for number, (net, rate) in enumerate(lines, 1)
        )
    )
    credited, given_back = Credited.nothing(), []
    for line, cents in parts:
        name = str(line % len(lines) + 1)
        amount = min(cents * CENT, left_of(made, credited)[name])
        if amount > 0:
            document, credited = note(made, credited, {name: amount})
            given_back.append(document.totals)
            assert all(tax.tax_micros >= 0 for tax in document.totals.taxes)
            assert sum(each.gross_micros for each in given_back) <= made.totals.gross_micros
    if any(left_of(made, credited).values()):
        document, credited = note(made, credited, None)
        given_back.append(document.totals)
    if len(given_back) and any(line.line_id not in credited.nets for line in made.totals.lines):
        return
    for name in ("net_micros", "tax_micros", "gross_micros", "rounding_micros"):
        assert sum(getattr(each, name) for each in given_back) == (getattr(made.totals, name) if given_back else 0)


def test_each_note_of_an_invoice_passes_en_16931_as_a_credit_note_though_tax_is_never_given_back_twice() -> None:
    # Of 1.01 the tax is 0.19; of 0.13 it would be 0.02 each time.
    made, credited = invoice(per_use(1, net_micros=101 * CENT)), Credited.nothing()
    taxes = []
    for _ in range(7):
        document, credited = note(made, credited, {"1": 13 * CENT})
        taxes.append(document.totals.tax_micros // CENT)
        xml = to_xml(document)
        assert findings(xml) == []
        assert b"<ram:TypeCode>381</ram:TypeCode>" in xml
    document, credited = note(made, credited, None)
    assert findings(to_xml(document)) == []
    assert sum(taxes) + document.totals.tax_micros // CENT == 19
