"""An invoice as PDF, in the customer's language: A4, embedded fonts, the same bytes for the same invoice.

The parts from top to bottom: letterhead with address and dates, a band with what is to be paid, the lines (by
subscriber where there are several), the totals with tax by category, how to pay, notes, use over time; where it is
asked for, each charge by itself on pages of their own. Every page has the seller's details and "2 / 7" at its foot.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import chain

from . import facturx, fonts
from .archive import ArchiveCanvas, Attachment
from .chart import charts
from .items import Itemisation, Items
from .layout import Block, draw, paginate
from .letter import Letter
from .model import Invoice
from .style import PAGE_HEIGHT, TOP, Styles, styles_of
from .table import Table
from .wording import Wording


def render_pdf(invoice: Invoice, items: Items | None = None) -> bytes:
    """The PDF of ``invoice`` in its language; with ``items``, each charge by itself, too.

    Deterministic: the creation date is the issue date. Raises ``ValueError`` if a total is not in whole minor units.
    """
    return _Page(Wording(invoice), styles_of(fonts.shipped())).render(items)


def render_facturx(invoice: Invoice, items: Items | None = None) -> bytes:
    """The PDF with the XML of :func:`.facturx.to_xml` in it: Factur-X 1.0 (ZUGFeRD 2), profile EN 16931.

    Raises :class:`.model.InvoiceError` for what EN 16931 cannot express or lacks.
    """
    attachment = Attachment(
        name=facturx.FILE_NAME,
        content=facturx.to_xml(invoice),
        mime_type="text/xml",
        description="Factur-X",
        relationship="Alternative",
    )
    return _Page(Wording(invoice), styles_of(fonts.shipped())).render(items, attachment)


class _Page:
    """One invoice under way to its PDF."""

    def __init__(self, wording: Wording, styles: Styles) -> None:
        self.invoice = wording.invoice
        self.labels = wording.labels
        self.wording = wording
        self.styles = styles
        self.letter = Letter(wording, styles)
        self.table = Table(wording, styles)

    def render(self, items: Items | None = None, attachment: Attachment | None = None) -> bytes:
        invoice, letter = self.invoice, self.letter
        foot = letter.foot()
        height = TOP - 40 - foot.height
        pages = paginate(self._blocks(), self.table.head(), height)
        itemised = Itemisation(items, self.wording, self.styles, height) if items is not None and items.count else None
        count = len(pages) + (itemised.pages if itemised else 0)
        out = io.BytesIO()
        canvas = ArchiveCanvas(
            out,
            font=self.styles.body.font,
            language=self.wording.formats.tag,
            title=self.wording.title,
            author=invoice.seller.name,
            subject=f"{invoice.number}, {invoice.customer.name}",
            day=invoice.issue_date,
            factur_x=attachment,
        )
        for number, strips in enumerate(chain(pages, itemised.each() if itemised else ()), 1):
            draw(canvas, strips, TOP)
            draw(canvas, [foot], 28 + foot.height)
            draw(canvas, [letter.running_head(number, count)], PAGE_HEIGHT)
            canvas.showPage()
        canvas.save()
        return out.getvalue()

    def _blocks(self) -> Iterator[Block]:
        yield from self.letter.letterhead()
        yield self.letter.band()
        yield from self.table.blocks()
        yield Block(self.letter.how_to_pay())
        for note in self.wording.notes():
            yield Block(self.letter.paragraph(note, self.styles.detail, 9.5))
        for row in charts(self.invoice.use, self.wording, self.styles):
            yield Block(row)
