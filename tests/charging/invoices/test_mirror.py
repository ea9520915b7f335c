"""A bill that gives back, as a credit note."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from invoice_samples import invoice, per_use

from charging.invoices.mirror import as_credit_note, booked


@given(st.lists(st.tuples(st.integers(-(10**7), 10**7), st.sampled_from([0, 700, 1900])), min_size=1, max_size=5))
def test_a_mirrored_document_books_what_was_booked_before(lines: list[tuple[int, int]]) -> None:
    made = invoice(
        *(
            per_use(number, net_micros=net, tax_rate_bp=rate, tax_category="S" if rate else "Z")
            for number, (net, rate) in enumerate(lines)
        )
    )
    note = as_credit_note(made)
    assert booked(note) == made.totals
    assert booked(made) == made.totals
    assert note.totals.payable_micros == -made.totals.payable_micros
    assert [line.net_micros for line in note.lines] == [-line.net_micros for line in made.lines]
