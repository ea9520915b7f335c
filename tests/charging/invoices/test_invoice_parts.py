"""What a page shows beside its lines: subscribers, use over time, each charge, what was paid, carried and rounded."""

import io
import re
import tracemalloc
from datetime import UTC, date, datetime, timedelta

import pytest
from invoice_samples import CUSTOMER, invoice, per_use
from msgspec.structs import replace
from pypdf import PdfReader
from test_invoice_pdf import _text

from charging.invoices.chart import charts, use_by_day
from charging.invoices.facturx import to_xml
from charging.invoices.fonts import shipped
from charging.invoices.items import Item, Items
from charging.invoices.labels import formats_for, labels_for, languages
from charging.invoices.model import UsePoint, UseSeries
from charging.invoices.pdf import render_facturx, render_pdf
from charging.invoices.style import styles_of
from charging.invoices.wording import Wording

TWO = (
    per_use(1, subscriber="+49 171 1", net_micros=1_004_000),
    per_use(2, subscriber="+49 171 2", net_micros=2_000_000),
    per_use(3, subscriber="+49 171 1", net_micros=1_004_000),
    per_use(4, net_micros=5_000_000),
)


def _item(number: int) -> Item:
    at = datetime(2026, 10, 1, tzinfo=UTC) + timedelta(minutes=2 * number)
    return Item(at=at, what="Mailbox", quantity=number, unit="second", net_micros=number * 500, subscriber="+49 171 1")


def test_lines_stand_under_their_subscriber_with_a_subtotal_of_what_is_invoiced() -> None:
    text = _text(render_pdf(invoice(*TWO, language="en")))
    first, second, other = (text.rindex(f"Subtotal {name}") for name in ("+49 171 1", "+49 171 2", "Other"))
    assert first < second < other
    assert text[first:].startswith("Subtotal +49 171 1 2.00")
    assert text[second:].startswith("Subtotal +49 171 2 2.00")
    assert text[other:].startswith("Subtotal Other 5.00")
    assert (
        text.index("Subscriber +49 171 1") < text.index(TWO[0].agreement_id) < text.index(TWO[2].agreement_id) < first
    )


def test_one_subscriber_needs_no_heading() -> None:
    text = _text(render_pdf(invoice(TWO[0], TWO[2], language="en")))
    assert "Subtotal" not in text


def test_subscribers_and_itemisation_can_be_found_in_the_table_of_contents() -> None:
    reader = PdfReader(io.BytesIO(render_pdf(invoice(*TWO, language="en"), items=Items(2, [_item(1), _item(2)]))))
    entries = [entry["/Title"] for entry in reader.outline]
    assert entries == ["Subscriber +49 171 1", "Subscriber +49 171 2", "Other", "Itemisation"]


def test_what_was_paid_carried_over_and_rounded_is_told_and_the_rest_is_asked_for() -> None:
    made = invoice(per_use(net_micros=10_000_000), language="en", carried_forward_micros=1_234_500, final_bill=True)
    made = replace(made, totals=replace(made.totals, paid_micros=1_900_000, payable_rounding_micros=-10_000))
    text = _text(render_pdf(made))
    for words in (
        "Paid already",
        "-1.90",
        "Rounding",
        "-0.01",
        "Please pay €9.99 by",
        "final bill",
        "€1.2345 net of earlier",
    ):
        assert words in text
    assert "DuePayableAmount>9.99<" in to_xml(made).decode()


def test_a_negative_invoice_is_credited() -> None:
    assert "We credit this amount" in _text(render_pdf(invoice(per_use(net_micros=-1_000_000), language="en")))


def test_a_price_with_tax_is_shown_beside_its_net() -> None:
    text = _text(render_pdf(invoice(per_use(net_micros=1_672_269, gross_micros=1_990_000), language="en")))
    assert "€1.99 with VAT" in text
    assert "1.67" in text


def test_units_are_in_the_customers_words_and_number() -> None:
    def quantity(language: str, count: int, unit: str) -> str:
        text = formats_for(language).measured(count, unit, labels_for(language).units)
        return text.replace("\xa0", " ").replace("\u202f", " ")

    assert quantity("en", 1, "use") == "1 use"
    assert quantity("en", 2, "use") == "2 uses"
    assert quantity("de", 1234, "second") == "1.234 Sekunden"
    assert [quantity("pl", count, "use") for count in (1, 2, 5)] == ["1 użycie", "2 użycia", "5 użyć"]
    assert quantity("fr", 7, "MiB") == "7 Mio"
    assert quantity("el", 2, "minute") == "2 λεπτά"
    assert quantity("en", 3, "furlong") == "3 furlong"
    assert quantity("en", 3, "") == "3"


@pytest.mark.parametrize("language", sorted(languages()))
def test_every_language_says_all_in_letters_that_the_typeface_has(language: str) -> None:
    words = labels_for(language)
    texts = [value for value in words.__struct_fields__ if isinstance(getattr(words, value), str)]
    said = "".join(getattr(words, name) for name in texts)
    said += "".join([*words.untaxed.values(), *words.modes.values()])
    assert shipped().uncovered(said) == ""
    assert set(words.modes) == set(labels_for("en").modes)
    assert set(words.units) >= set(labels_for("en").units)
    assert all("other" in forms for forms in words.units.values())


def test_use_is_summed_by_day_and_what_was_used_once_makes_no_chart() -> None:
    first, second = date(2026, 10, 1), date(2026, 10, 5)
    uses = [("A", "use", second, 2), ("A", "use", first, 1), ("A", "use", second, 3), ("B", "use", first, 9)]
    assert use_by_day(uses) == (UseSeries("A", "use", (UsePoint(first, 1), UsePoint(second, 5))),)


def _bars(*points: UsePoint) -> tuple[list[float], list[str]]:
    """The heights of the bars, and the texts of a chart."""
    made = invoice(per_use(), language="en")
    ((title, body),) = charts([UseSeries("Mailbox", "second", points)], Wording(made), styles_of(shipped()))
    return [fill.height for fill in body.fills[1:]], [run.text for run in title.runs + body.runs]


def test_a_chart_has_a_bar_for_each_day_with_use_as_high_as_its_use() -> None:
    heights, texts = _bars(UsePoint(date(2026, 10, 2), 10), UsePoint(date(2026, 10, 30), 40))
    assert [round(height / max(heights), 3) for height in heights] == [0.25, 1.0]
    assert texts[0] == "Mailbox by day (seconds)"
    assert {"40", "10/1"} <= set(texts)


def test_a_chart_over_many_months_has_a_bar_for_each_month() -> None:
    heights, texts = _bars(
        UsePoint(date(2026, 3, 2), 10), UsePoint(date(2026, 3, 9), 10), UsePoint(date(2026, 10, 9), 5)
    )
    assert [round(height / max(heights), 3) for height in heights] == [1.0, 0.25]
    assert texts[0] == "Mailbox by month (seconds)"


def test_twenty_thousand_charges_are_itemised_without_being_held() -> None:
    made = invoice(per_use(), language="en")
    render_pdf(made)
    tracemalloc.start()
    document = render_pdf(made, items=Items(20_000, (_item(number) for number in range(20_000))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    pages = PdfReader(io.BytesIO(document)).pages
    assert 300 < len(pages) < 400
    text = pages[-1].extract_text()
    assert "19,999 seconds" in text
    assert "9.9995" in text
    assert f"Page {len(pages)} / {len(pages)}" in text
    assert peak < 64 * 2**20


def test_fewer_or_more_items_than_announced_are_an_error() -> None:
    for count in (1, 3):
        with pytest.raises(ValueError, match="announced"):
            render_pdf(invoice(per_use()), items=Items(count, [_item(1), _item(2)]))


def test_the_hybrid_and_the_page_say_the_same() -> None:
    made = invoice(*TWO, customer=CUSTOMER, language="en")
    plain, hybrid = (PdfReader(io.BytesIO(render(made))) for render in (render_pdf, render_facturx))
    assert [page.extract_text() for page in plain.pages] == [page.extract_text() for page in hybrid.pages]
    assert not plain.attachments
    assert hybrid.attachments["factur-x.xml"] == [to_xml(made)]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "0.0036 / 60 sec"),
        ("de-AT", "0,0036 / 60 Sek."),
        ("fr", "0,0036 / 60\N{NARROW NO-BREAK SPACE}s"),
        ("pl", "0,0036 / 60 sek."),
        ("el", "0,0036 / 60 δευτ."),
        ("sv", "0.0036 / 60 sec"),
    ],
)
def test_a_price_for_many_units_is_written_as_the_customer_reads_it(language: str, text: str) -> None:
    assert formats_for(language).price_for("0.0036", 60, "seconds", labels_for(language).units) == text


@pytest.mark.parametrize(("many", "text"), [(100, "0,5 / 100 użyć"), (1002, "0,5 / 1002 użycia")])
def test_what_cldr_has_no_unit_for_takes_its_plural_from_the_words(many: int, text: str) -> None:
    made = formats_for("pl").price_for("0.5", many, "use", labels_for("pl").units)
    assert made.replace("\N{NO-BREAK SPACE}", "") == text


@pytest.mark.parametrize("language", sorted(languages()))
def test_each_language_says_what_a_line_takes_back_and_counts(language: str) -> None:
    words = labels_for(language)
    assert "{label}" in words.line_reversal
    assert "{label}" in words.line_refund
    assert "{label}" in words.line_withdrawal
    assert {"{label}", "{name}", "{ranges}"} <= set(re.findall(r"\{\w+\}", words.counter_ranges))
    assert {"{first}", "{last}"} <= set(re.findall(r"\{\w+\}", words.counter_range))
    assert words.by_tariff
    assert words.counter_reset
    if language != "en":
        assert words.by_tariff != labels_for("en").by_tariff
