"""The itemisation: each charge on a row of its own, page after page.

Rows are all of the same height, so the number of pages follows from the number of items, and items are read while the
pages are drawn: of hundreds of pages only their finished content is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice

import msgspec

from .layout import Fill, Run, Strip, Style, fitted, shortened
from .style import ACCENT, GAP, HAIR, LEFT, RIGHT, WIDTH, Styles
from .wording import Wording

_ROW = 10.8
_HEAD = 19.0
_TITLE = 30.0
_TIME, _SUBSCRIBER, _QUANTITY, _NET = 80.0, 84.0, 78.0, 62.0


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A charge as the customer sees it. ``at`` is in the account's zone; ``net_micros`` is exact."""

    at: datetime
    what: str
    quantity: int
    net_micros: int
    unit: str = ""
    subscriber: str = ""


class Items(msgspec.Struct, frozen=True):
    """Items to come: how many, and they themselves, read once. ``by_subscriber``: whether to name subscribers."""

    count: int
    each: Iterable[Item]
    by_subscriber: bool = True


class Itemisation:
    """The pages of items, each of ``height``."""

    def __init__(self, items: Items, wording: Wording, styles: Styles, height: float) -> None:
        self._items = items
        self._wording = wording
        self._styles = styles
        self._first = int((height - _TITLE - _HEAD) // _ROW)
        self._rows = int((height - _HEAD) // _ROW)
        self.pages = 1 + max(0, -(-(items.count - self._first) // self._rows))
        self._net_end = RIGHT - 4
        self._quantity_end = self._net_end - _NET - GAP
        self._by = self._quantity_end - _QUANTITY - (_SUBSCRIBER + GAP if items.by_subscriber else 0)
        self._what = LEFT + 4 + _TIME

    def each(self) -> Iterator[list[Strip]]:
        """The strips of each page. Raises ``ValueError`` when there are not as many items as were announced."""
        rows, seen = iter(self._items.each), 0
        for page in range(self.pages):
            strips = [self._title()] if page == 0 else []
            strips.append(self._head())
            for item in islice(rows, self._rows if page else self._first):
                strips.append(self._row(item))
                seen += 1
            yield strips
        if seen != self._items.count or next(rows, None) is not None:
            raise ValueError(f"{self._items.count} items were announced, and there are others than that")

    def _title(self) -> Strip:
        name = self._wording.labels.items
        return Strip(_TITLE, [Run(LEFT, 14, name, self._styles.big)], mark=name)

    def _head(self) -> Strip:
        labels, style = self._wording.labels, self._styles.column
        currency = self._wording.invoice.currency
        net, small = fitted(f"{labels.net} {currency}", style, _NET)
        runs = [
            Run(LEFT + 4, 10, shortened(labels.item_time, style, _TIME - 4), style),
            Run(self._what, 10, shortened(labels.item_what, style, self._by - self._what - GAP), style),
            Run(self._by, 10, self._if_named(labels.item_by, style), style),
            Run(self._quantity_end, 10, shortened(labels.quantity, style, _QUANTITY), style, right=True),
            Run(self._net_end, 10, net[0], small, right=True),
        ]
        return Strip(_HEAD, runs, [Fill(LEFT, 15, WIDTH, 1, ACCENT)])

    def _row(self, item: Item) -> Strip:
        wording, style = self._wording, self._styles.item
        runs = [
            Run(LEFT + 4, 7.8, wording.formats.time(item.at), style),
            Run(self._what, 7.8, shortened(item.what, style, self._by - self._what - GAP), style),
            Run(self._by, 7.8, self._if_named(item.subscriber, style), style),
        ]
        for end, text, width in (
            (self._quantity_end, wording.measured(item.quantity, item.unit), _QUANTITY),
            (self._net_end, wording.exact(item.net_micros), _NET),
        ):
            parts, small = fitted(text.replace(" ", "\xa0"), style, width)
            runs.append(Run(end, 7.8, parts[0], small, right=True))
        return Strip(_ROW, runs, [Fill(LEFT, _ROW - 0.6, WIDTH, 0.3, HAIR)])

    def _if_named(self, text: str, style: Style) -> str:
        return shortened(text, style, _SUBSCRIBER) if self._items.by_subscriber else ""
