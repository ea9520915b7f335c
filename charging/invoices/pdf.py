"""An invoice as PDF, in the customer's language: A4, embedded fonts, the same bytes for the same invoice.

The parts from top to bottom: letterhead with address and dates, a band with what is to be paid, the lines, the
totals with tax by category, how to pay, notes. Every page has the seller's details and "2 / 7" at its foot.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from itertools import zip_longest

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4

from . import facturx, fonts
from .archive import ArchiveCanvas, Attachment
from .labels import Formats, Labels
from .layout import Block, Fill, Run, Strip, Style, draw, fitted, paginate, shortened, width_of, wrap
from .model import Invoice, InvoiceLine, Party, Totals
from .wording import Wording

_INK = HexColor(0x1F2933)
_GREY = HexColor(0x66727F)
_HAIR = HexColor(0xD5DBE1)
_TINT = HexColor(0xEEF4F5)
_ACCENT = HexColor(0x0F4C5C)
_WHITE = HexColor(0xFFFFFF)

_PAGE_WIDTH, _PAGE_HEIGHT = A4
_LEFT, _RIGHT = 56.7, _PAGE_WIDTH - 51.0
_WIDTH = _RIGHT - _LEFT
_TOP = _PAGE_HEIGHT - 62.0
_META = _LEFT + 0.56 * _WIDTH
_SUMS = _LEFT + 0.42 * _WIDTH
_GAP = 9.0
_FOOT_LINES = 10


def render_pdf(
    invoice: Invoice,
    labels: Labels | None = None,
    formats: Formats | None = None,
    typeface: fonts.Typeface | None = None,
) -> bytes:
    """The PDF of ``invoice``; words and formats are those of its language unless others are given.

    Deterministic: the creation date is the issue date. Raises ``ValueError`` if a total is not in whole minor units.
    """
    return _Page(Wording(invoice, labels, formats), _styles(typeface or fonts.shipped())).render()


def render_facturx(
    invoice: Invoice,
    labels: Labels | None = None,
    formats: Formats | None = None,
    typeface: fonts.Typeface | None = None,
) -> bytes:
    """The PDF with the XML of :func:`.facturx.to_xml` in it: Factur-X 1.0 (ZUGFeRD 2), profile EN 16931.

    Raises :class:`.model.InvoiceError` for what EN 16931 cannot express or lacks.
    """
    attachment = Attachment(
        name=facturx.FILE_NAME,
        content=facturx.to_xml(invoice, labels, formats),
        mime_type="text/xml",
        description="Factur-X",
        relationship="Alternative",
    )
    return _Page(Wording(invoice, labels, formats), _styles(typeface or fonts.shipped())).render(attachment)


class _Styles:
    """The few styles of the page; one object each, so that a change is seen by identity."""

    def __init__(self, face: fonts.Typeface) -> None:
        self.body = Style(face.regular, 9, _INK)
        self.strong = Style(face.bold, 9, _INK)
        self.detail = Style(face.regular, 7.2, _GREY)
        self.column = Style(face.bold, 7.5, _ACCENT)
        self.title = Style(face.bold, 17, _ACCENT)
        self.brand = Style(face.bold, 15, _ACCENT)
        self.big = Style(face.bold, 13, _ACCENT)
        self.due = Style(face.bold, 11, _WHITE)
        self.foot = Style(face.regular, 6.8, _GREY)


@cache
def _styles(face: fonts.Typeface) -> _Styles:
    return _Styles(face)


class _Columns:
    """Right ends and widths of the table's columns, as wide as this invoice's numbers need."""

    def __init__(self, page: _Page) -> None:
        def need(texts: Iterator[str], least: float, most: float) -> float:
            widest = max((width_of(text, page.styles.body) for text in texts), default=0.0)
            return min(max(widest + 1, least), most)

        lines = page.invoice.lines
        self.net = need((page.wording.bare(net.net_micros) for net in page.invoice.totals.lines), 56, 100)
        self.price = need((page.wording.price(line) for line in lines), 50, 78)
        self.quantity = need((page.wording.quantity(line) for line in lines), 50, 84)
        self.rate = 36.0
        self.net_end = _RIGHT - 4
        self.rate_end = self.net_end - self.net - _GAP
        self.price_end = self.rate_end - self.rate - _GAP
        self.quantity_end = self.price_end - self.price - _GAP
        self.position = need((line.line_id for line in lines), 18, 40)
        self.text = _LEFT + 4 + self.position + 5
        self.text_width = self.quantity_end - self.quantity - _GAP - self.text


class _Page:
    """One invoice under way to its PDF."""

    def __init__(self, wording: Wording, styles: _Styles) -> None:
        self.invoice = wording.invoice
        self.labels = wording.labels
        self.formats = wording.formats
        self.wording = wording
        self.styles = styles
        self.columns = _Columns(self)

    def render(self, attachment: Attachment | None = None) -> bytes:
        invoice = self.invoice
        foot = self._foot()
        bottom = 40 + foot.height
        pages = paginate(self._blocks(), self._table_head(), _TOP - bottom)
        out = io.BytesIO()
        canvas = ArchiveCanvas(
            out,
            font=self.styles.body.font,
            language=self.formats.tag,
            title=self.wording.title,
            author=invoice.seller.name,
            subject=f"{invoice.number}, {invoice.customer.name}",
            day=invoice.issue_date,
            factur_x=attachment,
        )
        for number, strips in enumerate(pages, 1):
            draw(canvas, strips, _TOP)
            draw(canvas, [foot], 28 + foot.height)
            draw(canvas, [self._running_head(number, len(pages))], _PAGE_HEIGHT)
            canvas.showPage()
        canvas.save()
        return out.getvalue()

    def _address(self, party: Party) -> list[str]:
        lines = [party.name, *party.address]
        if self.invoice.customer.country != self.invoice.seller.country:
            lines.append(self.formats.country(party.country))
        return lines

    def _blocks(self) -> Iterator[Block]:
        yield from self._letterhead()
        yield self._band()
        rows = [
            self._line(line, net.net_micros)
            for line, net in zip(self.invoice.lines, self.invoice.totals.lines, strict=True)
        ]
        # The sums stay with the last line, lest a page show sums of nothing.
        rows[-1] += self._sums(self.invoice.totals)
        yield from (Block(row, in_table=True) for row in rows)
        yield Block(self._how_to_pay())
        for note in self.invoice.notes:
            yield Block(self._paragraph(note, self.styles.detail, 9.5))

    def _running_head(self, number: int, count: int) -> Strip:
        style = self.styles.foot
        place = self.labels.page.format(page=number, pages=count)
        strip = Strip(0, [Run(_RIGHT, _PAGE_HEIGHT - 24, place, style, right=True)])
        if number == 1:
            strip.fills.append(Fill(0, 0, _PAGE_WIDTH, 8, _ACCENT))
        else:
            text = f"{self.wording.title} · {self.labels.continued} · {self.invoice.customer.name}"
            strip.runs.append(Run(_LEFT, 42, shortened(text, style, _WIDTH), style))
            strip.fills.append(Fill(_LEFT, 48, _WIDTH, 0.5, _HAIR))
        return strip

    def _letterhead(self) -> Iterator[Block]:
        styles, invoice, seller = self.styles, self.invoice, self.invoice.seller
        for brand in wrap(seller.name, styles.brand, _WIDTH):
            yield Block([Strip(19, [Run(_LEFT, 10, brand, styles.brand)])])
        sender = " · ".join([seller.name, *seller.address])
        yield Block([Strip(44)])
        yield Block([Strip(14, [Run(_LEFT, 0, shortened(sender, styles.foot, _META - _LEFT - 24), styles.foot)])])
        address = [
            Run(_LEFT, 9, text, styles.strong if at == 0 else styles.body)
            for at, part in enumerate(self._address(invoice.customer))
            for text in wrap(part, styles.strong if at == 0 else styles.body, _META - _LEFT - 24)
        ]
        for left, right in zip_longest(address, self._facts()):
            yield Block([Strip(12.5, ([left] if left else []) + (right or []))])
        yield Block([Strip(max(0.0, 12.5 * (6 - len(address))) + 14)])
        for title in wrap(self.wording.title, styles.title, _WIDTH):
            yield Block([Strip(24, [Run(_LEFT, 14, title, styles.title)])])
        yield Block([Strip(4)])

    def _facts(self) -> Iterator[list[Run]]:
        invoice, labels, formats, styles = self.invoice, self.labels, self.formats, self.styles
        value_at = _META + 88
        facts = [
            (labels.number, invoice.number),
            (labels.corrects, invoice.corrects),
            (labels.date, formats.day(invoice.issue_date)),
            (labels.period, formats.days(invoice.period_from, invoice.period_to)),
            (labels.customer_vat, invoice.customer.vat_id),
        ]
        for label, value in facts:
            if not value:
                continue
            names = wrap(label, styles.detail, value_at - _META - 4)
            values, style = fitted(value, styles.body, _RIGHT - value_at)
            for name, text in zip_longest(names, values, fillvalue=""):
                yield [Run(_META, 9, name, styles.detail), Run(value_at, 9, text, style)]

    def _band(self) -> Block:
        invoice, labels, styles = self.invoice, self.labels, self.styles
        gross = invoice.totals.gross_micros
        cells = [
            (
                labels.amount_credited if self.wording.is_credit_note else labels.amount_due,
                self.wording.amount(gross),
                styles.big,
            )
        ]
        if self.wording.payable:
            cells.append((labels.due, self.formats.day(invoice.due_date), styles.strong))
            if invoice.payment_reference:
                cells.append((labels.reference, invoice.payment_reference, styles.strong))
        runs: list[Run] = []
        height = 0.0
        starts = (_LEFT + 10, _LEFT + 0.40 * _WIDTH, _LEFT + 0.62 * _WIDTH, _RIGHT)
        for (label, value, style), x, end in zip(cells, starts, starts[1:], strict=False):
            runs.append(Run(x, 15, shortened(label, styles.detail, end - x - 8), styles.detail))
            texts, style = fitted(value, style, end - x - 8)
            runs += [Run(x, 31 + 12 * at, text, style) for at, text in enumerate(texts)]
            height = max(height, 41 + 12.0 * (len(texts) - 1))
        return Block([Strip(height + 16, runs, [Fill(_LEFT, 0, _WIDTH, height, _TINT)])])

    def _table_head(self) -> Strip:
        labels, columns, style = self.labels, self.columns, self.styles.column
        ends = (
            (columns.quantity_end, columns.quantity, labels.quantity),
            (columns.price_end, columns.price, labels.unit_price),
            (columns.rate_end, columns.rate, labels.tax),
            (columns.net_end, columns.net, f"{labels.net} {self.invoice.currency}"),
        )
        runs = [
            Run(_LEFT + 4, 10, labels.position, style),
            Run(columns.text, 10, shortened(labels.description, style, columns.text_width), style),
        ]
        lines = 1
        for end, width, label in ends:
            texts, small = fitted(label, style, width + _GAP - 3)
            lines = max(lines, len(texts))
            runs += [Run(end, 10 + 9 * at, text, small, right=True) for at, text in enumerate(texts)]
        height = 15 + 9 * (lines - 1)
        return Strip(height + 4, runs, [Fill(_LEFT, height, _WIDTH, 1, _ACCENT)])

    def _line(self, line: InvoiceLine, net_micros: int) -> list[Strip]:
        """Left the texts under one another, right the numbers on the same strips."""
        columns, styles = self.columns, self.styles
        texts = [(text, styles.body, 11.5) for text in wrap(line.offer, styles.body, columns.text_width)]
        for part in self.wording.details(line):
            texts += [(text, styles.detail, 9.0) for text in wrap(part, styles.detail, columns.text_width)]
        strips = [Strip(height, [Run(columns.text, 9, text, style)]) for text, style, height in texts]
        strips[0].height += 3
        strips[0].runs[0] = strips[0].runs[0]._replace(down=12)
        for end, width, cell in (
            (columns.quantity_end, columns.quantity, self.wording.quantity(line)),
            (columns.price_end, columns.price, self.wording.price(line)),
            (columns.rate_end, columns.rate, self.formats.percent(line.tax_rate_bp)),
            (columns.net_end, columns.net, self.wording.bare(net_micros)),
        ):
            self._fill_cell(strips, cell, end, width, right=True)
        self._fill_cell(strips, line.line_id, _LEFT + 4, columns.position, right=False)
        strips.append(Strip(4.5, [], [Fill(_LEFT, 4, _WIDTH, 0.5, _HAIR)]))
        return strips

    def _fill_cell(self, strips: list[Strip], text: str, x: float, width: float, right: bool) -> None:
        parts, style = fitted(text, self.styles.body, width)
        strips += [Strip(9) for _ in range(len(parts) - len(strips))]
        for at, part in enumerate(parts):
            strips[at].runs.append(Run(x, 9 if at else 12, part, style, right))

    def _sums(self, totals: Totals) -> list[Strip]:
        labels, styles = self.labels, self.styles
        strips = [Strip(8), *self._sum(labels.net_total, totals.net_micros)]
        for tax in totals.taxes:
            strips += self._sum(self.wording.tax_line(tax), tax.tax_micros)
        due = labels.amount_credited if self.wording.is_credit_note else labels.amount_due
        runs = [
            Run(_SUMS + 8, 17, shortened(due, styles.due, 120), styles.due),
            Run(_RIGHT - 4, 17, self.wording.amount(totals.gross_micros), styles.due, right=True),
        ]
        strips.append(Strip(46, runs, [Fill(_SUMS, 3, _RIGHT - _SUMS, 21, _ACCENT)]))
        return strips

    def _sum(self, label: str, micros: int) -> list[Strip]:
        text = self.wording.bare(micros)
        room = _RIGHT - 4 - width_of(text, self.styles.body) - 12 - _SUMS - 8
        strips = [
            Strip(13, [Run(_SUMS + 8, 9, part, self.styles.body)]) for part in wrap(label, self.styles.body, room)
        ]
        strips[0].runs.append(Run(_RIGHT - 4, 9, text, self.styles.body, right=True))
        return strips

    def _how_to_pay(self) -> list[Strip]:
        invoice, labels, styles = self.invoice, self.labels, self.styles
        strips = self._paragraph(self.wording.to_pay(), styles.body, 12.5)
        if not self.wording.payable:
            return strips
        if bank := invoice.seller.bank:
            parts = [bank.holder, f"IBAN {_grouped(bank.iban)}", f"BIC {bank.bic}" if bank.bic else "", bank.bank]
            strips[-1].height -= 4
            text = f"{labels.account}: " + " · ".join(part for part in parts if part)
            strips += self._paragraph(text, styles.body, 12.5)
        return strips

    def _paragraph(self, text: str, style: Style, leading: float) -> list[Strip]:
        strips = [Strip(leading, [Run(_LEFT, 9, part, style)]) for part in wrap(text, style, _WIDTH)]
        strips[-1].height += 5
        return strips

    def _foot(self) -> Strip:
        seller, style = self.invoice.seller, self.styles.foot
        bank = seller.bank
        columns = [
            self._address(seller),
            [seller.email, f"{self.labels.seller_vat} {seller.vat_id}" if seller.vat_id else ""],
            [bank.bank, f"IBAN {_grouped(bank.iban)}", f"BIC {bank.bic}" if bank.bic else ""] if bank else [],
        ]
        width = _WIDTH / 3
        runs: list[Run] = []
        height = 0.0
        for at, column in enumerate(columns):
            down = 12.0
            texts = [text for part in filter(None, column) for text in wrap(part, style, width - 10)]
            for text in texts[:_FOOT_LINES]:
                runs.append(Run(_LEFT + at * width, down, text, style))
                down += 8.6
            height = max(height, down)
        return Strip(height, runs, [Fill(_LEFT, 0, _WIDTH, 0.5, _HAIR)])


def _grouped(iban: str) -> str:
    plain = iban.replace(" ", "")
    return " ".join(plain[at : at + 4] for at in range(0, len(plain), 4))
