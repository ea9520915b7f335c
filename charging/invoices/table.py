"""The table of an invoice's lines, by subscriber where there are several, and its sums."""

from __future__ import annotations

from collections.abc import Iterator

from .layout import Block, Fill, Run, Strip, fitted, shortened, width_of, wrap
from .model import InvoiceLine, Totals
from .style import ACCENT, GAP, HAIR, LEFT, RIGHT, TINT, WIDTH, Styles
from .wording import Wording

_SUMS = LEFT + 0.42 * WIDTH


class _Columns:
    """Right ends and widths of the table's columns, as wide as this invoice's numbers need."""

    def __init__(self, wording: Wording, styles: Styles) -> None:
        def need(texts: Iterator[str], least: float, most: float) -> float:
            widest = max((width_of(text, styles.body) for text in texts), default=0.0)
            return min(max(widest + 1, least), most)

        lines = wording.invoice.lines
        self.net = need((wording.bare(net.net_micros) for net in wording.invoice.totals.lines), 56, 100)
        self.price = need((wording.price(line) for line in lines), 50, 78)
        self.quantity = need((wording.quantity(line) for line in lines), 50, 84)
        self.rate = 36.0
        self.net_end = RIGHT - 4
        self.rate_end = self.net_end - self.net - GAP
        self.price_end = self.rate_end - self.rate - GAP
        self.quantity_end = self.price_end - self.price - GAP
        self.position = need((line.line_id for line in lines), 18, 40)
        self.text = LEFT + 4 + self.position + 5
        self.text_width = self.quantity_end - self.quantity - GAP - self.text


class Table:
    """Makes the rows for one invoice."""

    def __init__(self, wording: Wording, styles: Styles) -> None:
        self.invoice = wording.invoice
        self.labels = wording.labels
        self.formats = wording.formats
        self.wording = wording
        self.styles = styles
        self.columns = _Columns(wording, styles)

    def blocks(self) -> Iterator[Block]:
        """Every line; under its subscriber with a subtotal where there are several; the sums at the end."""
        sections = self._sections()
        if len(sections) > 1:
            yield from self._overview(sections)
        rows: list[list[Strip]] = []
        for subscriber, members in sections.items():
            of_section = [self._line(line, net) for line, net in members]
            if len(sections) > 1:
                name = self._name(subscriber)
                of_section[0] = [self._section_head(subscriber), *of_section[0]]
                of_section[-1] += self._subtotal(name, sum(net for _, net in members))
            rows += of_section
        # The sums stay with the last line, lest a page show sums of nothing.
        rows[-1] += self._sums(self.invoice.totals)
        yield from (Block(row, in_table=True) for row in rows)

    def _sections(self) -> dict[str, list[tuple[InvoiceLine, int]]]:
        sections: dict[str, list[tuple[InvoiceLine, int]]] = {}
        for line, net in zip(self.invoice.lines, self.invoice.totals.lines, strict=True):
            sections.setdefault(line.subscriber, []).append((line, net.net_micros))
        return sections

    def _name(self, subscriber: str) -> str:
        return subscriber or self.labels.no_subscriber

    def _overview(self, sections: dict[str, list[tuple[InvoiceLine, int]]]) -> Iterator[Block]:
        """What each subscriber comes to, before the lines."""
        styles = self.styles
        head = [
            Run(LEFT + 4, 10, self.labels.subscriber, styles.column),
            Run(RIGHT - 4, 10, f"{self.labels.net} {self.invoice.currency}", styles.column, right=True),
        ]
        strips = [Strip(19, head, [Fill(LEFT, 15, WIDTH, 1, ACCENT)])]
        for subscriber, members in sections.items():
            amount = self.wording.bare(sum(net for _, net in members))
            name = shortened(self._name(subscriber), styles.body, WIDTH - 20 - width_of(amount, styles.body))
            runs = [Run(LEFT + 4, 9, name, styles.body), Run(RIGHT - 4, 9, amount, styles.body, right=True)]
            strips.append(Strip(14, runs, [Fill(LEFT, 13, WIDTH, 0.5, HAIR)]))
            yield Block(strips)
            strips = []
        yield Block([Strip(16)])

    def _section_head(self, subscriber: str) -> Strip:
        name = f"{self.labels.subscriber} {subscriber}" if subscriber else self.labels.no_subscriber
        text = shortened(name, self.styles.section, WIDTH - 12)
        return Strip(21, [Run(LEFT + 4, 12, text, self.styles.section)], [Fill(LEFT, 0, WIDTH, 17, TINT)], mark=name)

    def _subtotal(self, name: str, micros: int) -> list[Strip]:
        text, style = self.wording.bare(micros), self.styles.strong
        label = f"{self.labels.subtotal} {name}"
        room = WIDTH - 16 - width_of(text, style)
        runs = [
            Run(RIGHT - 12 - width_of(text, style), 11, shortened(label, style, room), style, right=True),
            Run(RIGHT - 4, 11, text, style, right=True),
        ]
        return [Strip(24, runs)]

    def head(self) -> Strip:
        """The names of the columns."""
        labels, columns, style = self.labels, self.columns, self.styles.column
        ends = (
            (columns.quantity_end, columns.quantity, labels.quantity),
            (columns.price_end, columns.price, labels.unit_price),
            (columns.rate_end, columns.rate, labels.tax),
            (columns.net_end, columns.net, f"{labels.net} {self.invoice.currency}"),
        )
        runs = [
            Run(LEFT + 4, 10, labels.position, style),
            Run(columns.text, 10, shortened(labels.description, style, columns.text_width), style),
        ]
        lines = 1
        for end, width, label in ends:
            texts, small = fitted(label, style, width + GAP - 3)
            lines = max(lines, len(texts))
            runs += [Run(end, 10 + 9 * at, text, small, right=True) for at, text in enumerate(texts)]
        height = 15 + 9 * (lines - 1)
        return Strip(height + 4, runs, [Fill(LEFT, height, WIDTH, 1, ACCENT)])

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
        self._fill_cell(strips, line.line_id, LEFT + 4, columns.position, right=False)
        strips.append(Strip(4.5, [], [Fill(LEFT, 4, WIDTH, 0.5, HAIR)]))
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
        if totals.payable_rounding_micros:
            strips += self._sum(labels.rounding, totals.payable_rounding_micros)
        if totals.paid_micros:
            strips += self._sum(labels.paid, -totals.paid_micros)
        due = labels.amount_credited if self.wording.is_credit_note else labels.amount_due
        runs = [
            Run(_SUMS + 8, 17, shortened(due, styles.due, 120), styles.due),
            Run(RIGHT - 4, 17, self.wording.amount(totals.payable_micros), styles.due, right=True),
        ]
        strips.append(Strip(46, runs, [Fill(_SUMS, 3, RIGHT - _SUMS, 21, ACCENT)]))
        return strips

    def _sum(self, label: str, micros: int) -> list[Strip]:
        text = self.wording.bare(micros)
        room = RIGHT - 4 - width_of(text, self.styles.body) - 12 - _SUMS - 8
        strips = [
            Strip(13, [Run(_SUMS + 8, 9, part, self.styles.body)]) for part in wrap(label, self.styles.body, room)
        ]
        strips[0].runs.append(Run(RIGHT - 4, 9, text, self.styles.body, right=True))
        return strips
