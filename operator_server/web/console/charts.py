"""Charts as SVG made on the server. Widths are shares, so that texts keep their size on a telephone.

What a chart shows stands beside it in words: as the name of the picture, and for lines as a table to open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_ROW, _BAR, _TEXT = 46, 16, 16
_TALL = 200
_COLOURS = 6


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: its ``value`` is its length, ``text`` is what is said of it; ``series`` from 1 is its colour."""

    label: str
    value: int
    text: str = ""
    series: int = 1


def bars(title: str, rows: Sequence[Bar], *, of: int = 0) -> Markup:
    """Bars below each other, as long as ``value``; the longest, or ``of``, is the whole width. Below zero is zero."""
    most = max([of, *(row.value for row in rows)], default=0) or 1
    parts: list[Markup] = []
    for place, row in enumerate(rows):
        top = place * _ROW
        parts.append(
            Markup(
                '<text x="0" y="{}">{}</text><text x="100%" y="{}" text-anchor="end">{}</text>'
                '<rect class="s{}" x="0" y="{}" width="{}%" height="{}" rx="3"/>'
            ).format(
                top + _TEXT, row.label, top + _TEXT, row.text or row.value, _colour(row.series), top + _TEXT + 6,
                _share(row.value, most), _BAR,
            )
        )  # fmt: skip
    said = f"{title}: " + "; ".join(f"{row.label} {row.text or row.value}" for row in rows)
    return _figure(title, said, len(rows) * _ROW, parts)


def funnel(title: str, steps: Sequence[tuple[str, int]]) -> Markup:
    """How many are left after each step, with the share of the step before."""
    rows, before = [], 0
    for place, (label, count) in enumerate(steps):
        share = f", {_percent(count, before)} of the step before" if place and before else ""
        rows.append(Bar(label, count, f"{count:,}".replace(",", "\u202f") + share))
        before = count
    return bars(title, rows)


def lines(
    title: str, places: Sequence[str], series: Sequence[tuple[str, Sequence[int]]], texts: Sequence[Sequence[str]] = ()
) -> Markup:
    """Lines over ``places`` (such as days): each series a name and a value for each place.

    ``texts``: how the values are written, in the shape of the series; else the bare numbers.
    """
    written = texts or [[str(value) for value in values] for _, values in series]
    values = [value for _, each in series for value in each]
    low, high = min([0, *values]), max([0, *values])
    span = (high - low) or 1
    step = 100 / max(1, len(places) - 1)
    drawn = Markup("")
    for number, (_, each) in enumerate(series):
        points = " ".join(
            f"{place * step:.2f},{100 - (value - low) * 100 / span:.2f}" for place, value in enumerate(each)
        )
        drawn += Markup('<polyline class="l{}" points="{}" vector-effect="non-scaling-stroke"/>').format(
            _colour(number + 1), points
        )
    zero = 100 - (0 - low) * 100 / span
    inner = Markup(
        '<svg x="0" y="8" width="100%" height="{}" viewBox="0 0 100 100" preserveAspectRatio="none" overflow="visible">'
        '<line class="axis" x1="0" x2="100" y1="{:.2f}" y2="{:.2f}" vector-effect="non-scaling-stroke"/>{}</svg>'
    ).format(_TALL, zero, zero, drawn)
    ends = Markup("")
    if places:
        ends = Markup(
            '<text class="soft" x="0" y="{}">{}</text><text class="soft" x="100%" y="{}" text-anchor="end">{}</text>'
        ).format(_TALL + 30, places[0], _TALL + 30, places[-1])
    legend = Markup("").join(
        Markup('<li><svg aria-hidden="true"><rect class="s{}" width="100%" height="100%" rx="3"/></svg>{}</li>').format(
            _colour(number + 1), name
        )
        for number, (name, _) in enumerate(series)
    )
    said = f"{title}, {places[0]} to {places[-1]}" if places else title
    return _figure(title, said, _TALL + 36, [inner, ends], legend, _table(title, places, series, written))


def _table(
    title: str, places: Sequence[str], series: Sequence[tuple[str, Sequence[int]]], written: Sequence[Sequence[str]]
) -> Markup:
    head = Markup("").join(Markup('<th scope="col" class="n">{}</th>').format(name) for name, _ in series)
    rows = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            place, Markup("").join(Markup('<td class="n">{}</td>').format(each[number]) for each in written)
        )
        for number, place in enumerate(places)
    )
    return Markup(
        '<details><summary>As a table</summary><div class="scroll" tabindex="0" role="region" aria-label="{}"><table>'
        '<caption class="unseen">{}</caption><thead><tr><td></td>{}</tr></thead><tbody>{}</tbody></table></div>'
        "</details>"
    ).format(title, title, head, rows)


def _figure(
    title: str,
    said: str,
    height: int,
    parts: Sequence[Markup],
    legend: Markup | None = None,
    below: Markup | None = None,
) -> Markup:
    return Markup(
        '<figure class="chart"><figcaption class="unseen">{}</figcaption>{}'
        '<svg role="img" aria-label="{}" width="100%" height="{}">{}</svg>{}</figure>'
    ).format(
        title, Markup('<ul class="legend">{}</ul>').format(legend) if legend else "", said, height,
        Markup("").join(escape(part) for part in parts), below or "",
    )  # fmt: skip


def _colour(series: int) -> int:
    return (series - 1) % _COLOURS + 1


def _share(value: int, most: int) -> str:
    """Percent to two places, in whole numbers: amounts in micros are too large for floats to be trusted."""
    hundredths = max(0, value) * 10_000 // most
    return f"{hundredths // 100}.{hundredths % 100:02}"


def _percent(part: int, whole: int) -> str:
    return f"{(part * 200 + whole) // (2 * whole)} %"
