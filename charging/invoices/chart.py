"""Use over time as bars: by day, or by month where it spans more than two months."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta

from .layout import Fill, Run, Strip, shortened, width_of
from .model import UsePoint, UseSeries
from .style import ACCENT, HAIR, LEFT, WIDTH, Styles
from .wording import Wording

_MOST_DAYS = 62
_HEIGHT = 58.0
_TITLE = 26.0
_BETWEEN = 22.0
_ROOM = 4.0


def use_by_day(uses: Iterable[tuple[str, str, date, int]], most: int = 2) -> tuple[UseSeries, ...]:
    """Series of (title, unit, day, quantity), summed by day; the ``most`` that were used on most days, then by title.

    What was used on a single day makes no series: one bar says nothing that the line does not say.
    """
    series: dict[tuple[str, str], dict[date, int]] = {}
    for title, unit, day, quantity in uses:
        days = series.setdefault((title, unit), {})
        days[day] = days.get(day, 0) + quantity
    chosen = sorted(((-len(days), *key) for key, days in series.items() if len(days) > 1))[:most]
    return tuple(
        UseSeries(title, unit, tuple(UsePoint(day, series[title, unit][day]) for day in sorted(series[title, unit])))
        for _, title, unit in chosen
    )


def charts(every: Sequence[UseSeries], wording: Wording, styles: Styles) -> Iterator[list[Strip]]:
    """A chart over the whole width, or two side by side; each row is to stay on one page."""
    for at in range(0, len(every), 2):
        row = every[at : at + 2]
        width = WIDTH if len(row) == 1 else (WIDTH - _BETWEEN) / 2
        title, body = Strip(_TITLE), Strip(_HEIGHT + 22)
        for number, series in enumerate(row):
            _chart(title, body, series, LEFT + number * (width + _BETWEEN), width, wording, styles)
        yield [title, body]


def _chart(
    title: Strip, body: Strip, series: UseSeries, left: float, width: float, wording: Wording, styles: Styles
) -> None:
    """The bars, what they are above, the greatest quantity at its bar, days or months below."""
    bars, by_month = _bars(series, wording)
    template = wording.labels.use_by_month if by_month else wording.labels.use_by_day
    name = template.format(title=series.title, unit=wording.unit_name(series.unit)).removesuffix(" ()")
    title.runs.append(Run(left, 20, shortened(name, styles.column, width), styles.column))
    body.fills.append(Fill(left, _HEIGHT + 10, width, 0.6, HAIR))
    step = width / len(bars)
    thick = min(step * 0.68, 26.0)
    greatest = max(range(len(bars)), key=lambda at: bars[at][1])
    free = left

    def below(middle: float, text: str) -> tuple[float, float]:
        size = width_of(text, styles.detail)
        return min(max(middle - size / 2, left), left + width - size), size

    for at, (label, quantity) in enumerate(bars):
        middle = left + step * (at + 0.5)
        if quantity > 0:
            height = _HEIGHT * quantity / bars[greatest][1]
            body.fills.append(Fill(middle - thick / 2, _HEIGHT + 10 - height, thick, height, ACCENT))
        if at == greatest:
            text = wording.formats.number(quantity)
            body.runs.append(Run(below(middle, text)[0], 7, text, styles.detail))
        x, size = below(middle, label)
        if x >= free:
            body.runs.append(Run(x, _HEIGHT + 19, label, styles.detail))
            free = x + size + _ROOM


def _bars(series: UseSeries, wording: Wording) -> tuple[list[tuple[str, int]], bool]:
    """Labels and quantities without a gap in time, over the invoice's period and whatever lies beside it."""
    invoice, formats = wording.invoice, wording.formats
    days = {point.day: point.quantity for point in series.points}
    first, last = min(invoice.period_from, *days), max(invoice.period_to, *days)
    span = (last - first).days + 1
    if span <= _MOST_DAYS:
        each = (first + timedelta(days=at) for at in range(span))
        return [(formats.short_day(day), days.get(day, 0)) for day in each], False
    months: dict[date, int] = {}
    month = first.replace(day=1)
    while month <= last:
        months[month] = 0
        month = (month + timedelta(days=32)).replace(day=1)
    for day, quantity in days.items():
        months[day.replace(day=1)] += quantity
    return [(formats.short_month(month), quantity) for month, quantity in months.items()], True
