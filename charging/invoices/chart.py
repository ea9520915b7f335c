"""Use over time as bars: by day, or by month where it spans more than two months."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from .layout import Fill, Run, Strip, shortened, width_of
from .model import UsePoint, UseSeries
from .style import ACCENT, HAIR, LEFT, RIGHT, WIDTH, Styles
from .wording import Wording

_MOST_DAYS = 62
_HEIGHT = 58.0
_ROOM = 4.0


def use_by_day(uses: Iterable[tuple[str, str, date, int]], most: int = 3) -> tuple[UseSeries, ...]:
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


def chart(series: UseSeries, wording: Wording, styles: Styles) -> list[Strip]:
    """The bars with a title above, the greatest quantity at its bar, and days or months below."""
    bars, by_month = _bars(series, wording)
    template = wording.labels.use_by_month if by_month else wording.labels.use_by_day
    unit = wording.labels.unit_name(series.unit) if series.unit else ""
    title = template.format(title=series.title, unit=unit).removesuffix(" ()")
    strips = [Strip(26, [Run(LEFT, 20, shortened(title, styles.column, WIDTH), styles.column)])]
    top = max((quantity for _, quantity in bars), default=0) or 1
    step = WIDTH / len(bars)
    width = min(step * 0.68, 26.0)
    body = Strip(_HEIGHT + 22, [], [Fill(LEFT, _HEIGHT + 10, WIDTH, 0.6, HAIR)])
    greatest = max(range(len(bars)), key=lambda at: bars[at][1])
    free = LEFT
    for at, (label, quantity) in enumerate(bars):
        middle = LEFT + step * (at + 0.5)
        height = _HEIGHT * max(quantity, 0) / top
        if height:
            body.fills.append(Fill(middle - width / 2, _HEIGHT + 10 - height, width, height, ACCENT))
        if at == greatest:
            text = wording.formats.number(quantity)
            size = width_of(text, styles.detail)
            x = min(max(middle - size / 2, LEFT), RIGHT - size)
            body.runs.append(Run(x, 7, text, styles.detail))
        size = width_of(label, styles.detail)
        x = min(max(middle - size / 2, LEFT), RIGHT - size)
        if x >= free:
            body.runs.append(Run(x, _HEIGHT + 19, label, styles.detail))
            free = x + size + _ROOM
    return [*strips, body]


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
