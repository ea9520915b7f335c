"""The parts of an invoice that a letter has: head, addressee, what is to be paid, how, and the foot of each page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from .layout import Block, Fill, Run, Strip, Style, fitted, shortened, wrap
from .model import Party
from .style import ACCENT, HAIR, LEFT, PAGE_HEIGHT, PAGE_WIDTH, RIGHT, TINT, WIDTH, Styles
from .wording import Wording

_META = LEFT + 0.56 * WIDTH
_FOOT_LINES = 10


class Letter:
    """Makes those parts for one invoice."""

    def __init__(self, wording: Wording, styles: Styles) -> None:
        self.invoice = wording.invoice
        self.labels = wording.labels
        self.formats = wording.formats
        self.wording = wording
        self.styles = styles

    def running_head(self, number: int, count: int) -> Strip:
        """The number of the page, and from the second on what it belongs to."""
        style = self.styles.foot
        place = self.labels.page.format(page=number, pages=count)
        strip = Strip(0, [Run(RIGHT, PAGE_HEIGHT - 24, place, style, right=True)])
        if number == 1:
            strip.fills.append(Fill(0, 0, PAGE_WIDTH, 8, ACCENT))
        else:
            text = f"{self.wording.title} · {self.labels.continued} · {self.invoice.customer.name}"
            strip.runs.append(Run(LEFT, 42, shortened(text, style, WIDTH), style))
            strip.fills.append(Fill(LEFT, 48, WIDTH, 0.5, HAIR))
        return strip

    def address(self, party: Party) -> list[str]:
        """The lines of an address, with its country where the other party has another."""
        lines = [party.name, *party.address]
        if self.invoice.customer.country != self.invoice.seller.country:
            lines.append(self.formats.country(party.country))
        return lines

    def letterhead(self) -> Iterator[Block]:
        """Who writes to whom, the facts at the right, the title."""
        styles, invoice, seller = self.styles, self.invoice, self.invoice.seller
        for brand in wrap(seller.name, styles.brand, WIDTH):
            yield Block([Strip(19, [Run(LEFT, 10, brand, styles.brand)])])
        sender = " · ".join([seller.name, *seller.address])
        yield Block([Strip(44)])
        yield Block([Strip(14, [Run(LEFT, 0, shortened(sender, styles.foot, _META - LEFT - 24), styles.foot)])])
        address = [
            Run(LEFT, 9, text, styles.strong if at == 0 else styles.body)
            for at, part in enumerate(self.address(invoice.customer))
            for text in wrap(part, styles.strong if at == 0 else styles.body, _META - LEFT - 24)
        ]
        for left, right in zip_longest(address, self._facts()):
            yield Block([Strip(12.5, ([left] if left else []) + (right or []))])
        yield Block([Strip(max(0.0, 12.5 * (6 - len(address))) + 14)])
        for title in wrap(self.wording.title, styles.title, WIDTH):
            yield Block([Strip(24, [Run(LEFT, 14, title, styles.title)])])
        yield Block([Strip(4)])

    def _facts(self) -> Iterator[list[Run]]:
        invoice, labels, formats, styles = self.invoice, self.labels, self.formats, self.styles
        value_at = _META + 88
        facts = [
            (labels.number, invoice.number),
            (labels.corrects, self._corrected()),
            (labels.customer_number, invoice.account),
            (labels.date, formats.day(invoice.issue_date)),
            (labels.period, formats.days(invoice.period_from, invoice.period_to)),
            (labels.customer_vat, invoice.customer.vat_id),
        ]
        for label, value in facts:
            if not value:
                continue
            names = wrap(label, styles.detail, value_at - _META - 4)
            values, style = fitted(value, styles.body, RIGHT - value_at)
            for name, text in zip_longest(names, values, fillvalue=""):
                yield [Run(_META, 9, name, styles.detail), Run(value_at, 9, text, style)]

    def _corrected(self) -> str:
        invoice = self.invoice
        if not invoice.corrects or invoice.corrects_date is None:
            return invoice.corrects
        return self.labels.corrected_of.format(number=invoice.corrects, date=self.formats.day(invoice.corrects_date))

    def band(self) -> Block:
        """What is to be paid, until when, with which reference."""
        invoice, labels, styles = self.invoice, self.labels, self.styles
        cells = [
            (
                labels.amount_credited if self.wording.is_credit_note else labels.amount_due,
                self.wording.amount(invoice.totals.payable_micros),
                styles.big,
            )
        ]
        if self.wording.payable:
            cells.append((labels.due, self.formats.day(invoice.due_date), styles.strong))
            if invoice.payment_reference:
                cells.append((labels.reference, invoice.payment_reference, styles.strong))
        runs: list[Run] = []
        height = 0.0
        starts = (LEFT + 10, LEFT + 0.40 * WIDTH, LEFT + 0.62 * WIDTH, RIGHT)
        for (label, value, style), x, end in zip(cells, starts, starts[1:], strict=False):
            runs.append(Run(x, 15, shortened(label, styles.detail, end - x - 8), styles.detail))
            texts, style = fitted(value, style, end - x - 8)
            runs += [Run(x, 31 + 12 * at, text, style) for at, text in enumerate(texts)]
            height = max(height, 41 + 12.0 * (len(texts) - 1))
        return Block([Strip(height + 16, runs, [Fill(LEFT, 0, WIDTH, height, TINT)])])

    def how_to_pay(self) -> list[Strip]:
        """What is to be done about the amount, and to which account."""
        invoice, labels, styles = self.invoice, self.labels, self.styles
        strips = self.paragraph(self.wording.to_pay(), styles.body, 12.5)
        if not self.wording.payable:
            return strips
        if bank := invoice.seller.bank:
            parts = [bank.holder, f"IBAN {_grouped(bank.iban)}", f"BIC {bank.bic}" if bank.bic else "", bank.bank]
            strips[-1].height -= 4
            text = f"{labels.account}: " + " · ".join(part for part in parts if part)
            strips += self.paragraph(text, styles.body, 12.5)
        return strips

    def paragraph(self, text: str, style: Style, leading: float) -> list[Strip]:
        """Text over the whole width."""
        strips = [Strip(leading, [Run(LEFT, 9, part, style)]) for part in wrap(text, style, WIDTH)]
        strips[-1].height += 5
        return strips

    def foot(self) -> Strip:
        """The seller's details, as they stand on every page."""
        seller, style = self.invoice.seller, self.styles.foot
        bank = seller.bank
        columns = [
            self.address(seller),
            [seller.email, f"{self.labels.seller_vat} {seller.vat_id}" if seller.vat_id else ""],
            [bank.bank, f"IBAN {_grouped(bank.iban)}", f"BIC {bank.bic}" if bank.bic else ""] if bank else [],
        ]
        width = WIDTH / 3
        runs: list[Run] = []
        height = 0.0
        for at, column in enumerate(columns):
            down = 12.0
            texts = [text for part in filter(None, column) for text in wrap(part, style, width - 10)]
            for text in texts[:_FOOT_LINES]:
                runs.append(Run(LEFT + at * width, down, text, style))
                down += 8.6
            height = max(height, down)
        return Strip(height, runs, [Fill(LEFT, 0, WIDTH, 0.5, HAIR)])


def _grouped(iban: str) -> str:
    plain = iban.replace(" ", "")
    return " ".join(plain[at : at + 4] for at in range(0, len(plain), 4))
