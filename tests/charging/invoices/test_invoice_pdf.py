"""The PDF shows each line in the customer's language, on as many pages as needed, with nothing on top of another."""

import io
from datetime import date
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invoice_samples import SELLER, agreement, invoice, per_use
from pypdf import PdfReader

from charging.invoices import fonts, pdf, style
from charging.invoices.chart import use_by_day
from charging.invoices.labels import formats_for, labels_for, languages
from charging.invoices.layout import Block, Strip, Style, fitted, paginate, width_of, wrap
from charging.invoices.model import TAX_CATEGORIES, Invoice, Party
from charging.invoices.pdf import render_pdf


def _read(document: bytes) -> PdfReader:
    return PdfReader(io.BytesIO(document))


def _text(document: bytes) -> str:
    """All text, with every kind of space as a plain one."""
    text = "\n".join(page.extract_text() for page in _read(document).pages)
    return text.translate(dict.fromkeys((0xA0, 0x202F, 0x2009), " "))


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ["Invoice NL-2026-000123", "1,234 routes", "98,000 to 99,234", "€14,691.16", "19%", "Nov 16, 2026"]),
        ("de", ["Rechnung NL", "1.234 Routen", "98.000 bis 99.234", "14.691,16 €", "19 %", "16.11.2026"]),
        ("fr", ["Facture NL", "1 234", "itinéraires", "de 98 000 à 99 234", "14 691,16 €", "19 %", "16 nov. 2026"]),
        ("de-AT", ["Rechnung NL", "€ 14.691,16"]),
        ("xx", ["Invoice NL", "€14,691.16"]),
    ],
)
def test_words_numbers_and_days_are_the_customers(language: str, expected: list[str]) -> None:
    text = _text(render_pdf(invoice(per_use(net_micros=12_345_512_345), language=language)))
    for words in expected:
        assert words in text
    assert "1234 routes" not in text


def test_every_line_shows_what_it_can_be_traced_by() -> None:
    lines = [per_use(number, net_micros=number * 1_010_000) for number in range(1, 41)]
    text = _text(render_pdf(invoice(*lines)))
    for number in range(1, 41):
        assert agreement(number) in text
        assert f"{number * 101 // 100},{number * 101 % 100:02d}" in text
    assert text.count("Nach Nutzung · 1.–31. Okt. 2026") == 40
    assert text.count("0,0036") == 40


def test_tax_is_shown_by_category_with_its_reason() -> None:
    text = _text(
        render_pdf(
            invoice(
                per_use(1, net_micros=10_000_000),
                per_use(2, net_micros=20_000_000, tax_rate_bp=700),
                per_use(3, net_micros=30_000_000, tax_category="AE", tax_rate_bp=0),
                language="en",
            )
        )
    )
    for words in (
        "VAT 19% on €10.00",
        "VAT 7% on €20.00",
        "Reverse charge: the customer owes the VAT (on €30.00)",
        "€63.30",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("currency", "net_micros", "shown"),
    [("JPY", 1_000_000_000, "¥1,190"), ("KWD", 1_000_000, "KWD 1.190"), ("EUR", 1_000_000, "€1.19")],
)
def test_amounts_have_the_decimals_of_their_currency(currency: str, net_micros: int, shown: str) -> None:
    text = _text(render_pdf(invoice(per_use(net_micros=net_micros), currency=currency, language="en")))
    assert f"Please pay {shown} by" in text


def test_names_in_other_scripts_are_shown() -> None:
    name = "Ελένη Παπαδοπούλου Николай Щедрин Zażółć Gęślą Đorđević"
    text = _text(render_pdf(invoice(per_use(), customer=Party(name=name, address=("Αθήνα",), country="GR"))))
    assert all(word in text for word in name.split())
    assert "Griechenland" in text
    assert fonts.shipped().uncovered(name) == ""
    assert fonts.shipped().uncovered("千代田 X") == "".join(sorted("千代田"))


def test_all_fonts_are_embedded() -> None:
    seen = 0
    for page in _read(render_pdf(invoice(*[per_use(at) for at in range(30)]))).pages:
        for font in page["/Resources"]["/Font"].values():
            assert "/FontFile2" in font.get_object()["/FontDescriptor"]
            seen += 1
    assert seen >= 4


def test_the_same_invoice_gives_the_same_bytes_dated_on_its_issue_date() -> None:
    document = render_pdf(invoice(per_use()))
    assert document == render_pdf(invoice(per_use()))
    info = _read(document).metadata
    assert info is not None
    assert info.creation_date is not None
    assert info.creation_date.date() == date(2026, 11, 2)
    assert info.title == "Rechnung NL-2026-000123"


def test_hundreds_of_pages_each_have_their_number_and_the_head_of_the_table() -> None:
    document = render_pdf(invoice(*[per_use(at) for at in range(1, 3001)], language="en"))
    pages = _read(document).pages
    assert 150 < len(pages) < 400
    for number in (1, 2, len(pages) // 2, len(pages)):
        text = pages[number - 1].extract_text()
        assert f"Page {number} / {len(pages)}" in text
        assert "Quantity" in text
        assert "DE123456789" in text
    assert "Amount due" in pages[-1].extract_text()


def test_a_credit_note_names_its_invoice_and_asks_for_nothing() -> None:
    text = _text(render_pdf(invoice(per_use(), corrects="NL-2026-000099", language="en")))
    assert "Credit note NL-2026-000123" in text
    assert "NL-2026-000099" in text
    assert "Please pay" not in text
    assert "Due date" not in text


def test_an_invoice_of_nothing_asks_for_nothing() -> None:
    text = _text(render_pdf(invoice(per_use(net_micros=0, charging_mode="free"), language="en")))
    assert "Nothing is to be paid." in text
    assert "Please pay" not in text


def test_an_amount_that_cannot_be_paid_is_never_printed() -> None:
    with pytest.raises(ValueError, match="whole minor units"):
        formats_for("en").amount(12_345, "EUR")


def test_every_language_has_words_for_every_untaxed_category() -> None:
    assert {"en", "de", "fr"} <= set(languages())
    for words in languages().values():
        assert set(words.untaxed) == set(TAX_CATEGORIES) - {"S"}
    assert labels_for("de-CH") is languages()["de"]
    assert labels_for("en").mode("one-off") == "One-off"
    assert labels_for("en").mode("barter") == "barter"


_WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=120) | st.sampled_from(
    ["W" * 400, "a_b" * 200, "Donau dampf " * 40, "", "x\ny"]
)
_COUNTS = st.integers(0, 10**18)
_USE = st.builds(
    use_by_day,
    st.lists(
        st.tuples(
            _WORDS, st.sampled_from(["second", "W" * 90]), st.dates(date(2026, 1, 1), date(2026, 12, 31)), _COUNTS
        )
    ),
)


@st.composite
def _invoices(draw: st.DrawFn) -> Invoice:
    subscribers = draw(st.lists(_WORDS, min_size=1, max_size=3))
    lines = [
        per_use(
            at,
            offer=draw(_WORDS),
            description=draw(_WORDS),
            unit=draw(_WORDS),
            unit_price=draw(_WORDS),
            quantity=draw(_COUNTS),
            net_micros=draw(st.integers(-(10**15), 10**15)),
            counter_name=draw(_WORDS),
            counter_to=draw(_COUNTS),
            subscriber=draw(st.sampled_from(subscribers)),
        )
        for at in range(draw(st.integers(1, 12)))
    ]
    party = Party(name=draw(_WORDS), address=tuple(draw(st.lists(_WORDS, max_size=6))), country="PL")
    seller = msgspec.structs.replace(SELLER, name=draw(_WORDS), address=tuple(draw(st.lists(_WORDS, max_size=4))))
    return invoice(
        *lines,
        seller=seller,
        customer=party,
        payment_reference=draw(_WORDS),
        notes=(draw(_WORDS),),
        language=draw(st.sampled_from(sorted(languages()))),
        use=draw(_USE),
        account=draw(_WORDS),
        carried_forward_micros=draw(st.sampled_from([0, 1_234_567])),
        corrects=draw(st.sampled_from(["", "NL-2026-000099"])),
        corrects_date=date(2026, 10, 1),
        currency=draw(st.sampled_from(["EUR", "JPY", "KWD"])),
    )


def _boxes(strips: list[Strip], top: float) -> list[tuple[float, float, float, float, str]]:
    """Left, bottom, right, top of each text as it is drawn."""
    boxes = []
    for strip in strips:
        for run in strip.runs:
            if run.text.strip():
                width = width_of(run.text, run.style)
                left = run.x - width if run.right else run.x
                base = top - run.down
                boxes.append((left, base - 0.18 * run.style.size, left + width, base + 0.72 * run.style.size, run.text))
        top -= strip.height
    return boxes


@settings(max_examples=60, deadline=None)
@given(_invoices())
def test_no_text_lies_on_another_or_off_the_page(any_invoice: Invoice) -> None:
    pages: list[list[tuple[float, float, float, float, str]]] = []

    def record(_canvas: object, strips: list[Strip], top: float) -> None:
        if top == style.TOP:
            pages.append([])
        pages[-1].extend(_boxes(list(strips), top))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pdf, "draw", record)
        render_pdf(any_invoice)
    assert pages
    for boxes in pages:
        for left, bottom, right, top, text in boxes:
            assert left >= style.LEFT - 0.1, text
            assert right <= style.RIGHT + 0.1, text
            assert bottom >= 15, text
            assert top <= style.PAGE_HEIGHT, text
        for at, one in enumerate(boxes):
            for other in boxes[at + 1 :]:
                apart = one[2] <= other[0] + 0.1 or other[2] <= one[0] + 0.1
                assert apart or one[1] >= other[3] - 0.1 or other[1] >= one[3] - 0.1, (one, other)


def _body() -> Style:
    return Style(fonts.shipped().regular, 9, style.INK)


@given(_WORDS, st.floats(20, 300))
def test_wrapping_keeps_every_character_and_the_width(text: str, width: float) -> None:
    lines = wrap(text, _body(), width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "").replace("\n", "")
    assert all(width_of(line, _body()) <= width + 0.001 or len(line) == 1 for line in lines)


def test_a_long_number_is_set_smaller_rather_than_broken() -> None:
    lines, style = fitted("123,456,789,012 bytes", _body(), 60)
    assert lines == ["123,456,789,012", "bytes"]
    assert style.size < 9


@given(
    st.lists(st.tuples(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.booleans()), min_size=1, max_size=30)
)
def test_pages_hold_every_strip_in_order_within_their_height(shapes: list[tuple[list[int], bool]]) -> None:
    head = Strip(10)
    blocks = [Block([Strip(height) for height in heights], in_table) for heights, in_table in shapes]
    pages = paginate(blocks, head, 100)
    placed = [strip for page in pages for strip in page if strip is not head]
    wanted = [strip for block in blocks for strip in block.strips]
    assert [id(strip) for strip in placed] == [id(strip) for strip in wanted]
    in_table = {id(strip) for block in blocks if block.in_table for strip in block.strips}
    for page in pages:
        assert sum(strip.height for strip in page) <= 100
        assert sum(strip is head for strip in page) == any(id(strip) in in_table for strip in page)
        for above, below in pairwise(page):
            assert above is not head or id(below) in in_table


def test_what_fits_on_a_page_is_not_divided() -> None:
    pages = paginate([Block([Strip(40), Strip(30)]), Block([Strip(20), Strip(20)])], Strip(0), 100)
    assert [[strip.height for strip in page] for page in pages] == [[40, 30], [20, 20]]


def test_the_sums_stay_with_the_last_line() -> None:
    for count in range(8, 24):
        pages = _read(render_pdf(invoice(*[per_use(at) for at in range(1, count + 1)]))).pages
        (summed,) = [text for text in (page.extract_text() for page in pages) if "Summe netto" in text]
        assert agreement(count) in summed
