"""Measured strips of text, and their way onto pages. Knows nothing of invoices.

A page is filled from the top with *strips*, each as high as its text needs, so nothing can overlap. *Blocks* are
strips that stay together where a page has room for them. All is measured and distributed before anything is drawn;
so the number of pages is known on the first, and the time grows with the text only. Lengths are points (1/72 inch).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from reportlab.lib.colors import Color
from reportlab.pdfbase.pdfmetrics import getFont, stringWidth
from reportlab.pdfgen.canvas import Canvas

_SMALLEST = 5.5
_CONTROLS = {code: " " for code in range(32) if chr(code) != "\n"}


class Style(NamedTuple):
    """Font by ReportLab's name, size, colour."""

    font: str
    size: float
    color: Color


class Run(NamedTuple):
    """A piece of text; ``down`` is its baseline below the strip's top, ``x`` its left or, if so set, right end."""

    x: float
    down: float
    text: str
    style: Style
    right: bool = False


class Fill(NamedTuple):
    """A coloured rectangle, ``down`` its upper edge below the strip's top."""

    x: float
    down: float
    width: float
    height: float
    color: Color


@dataclass
class Strip:
    """A part of a page over its full width that is never divided. ``mark``: its entry in the table of contents."""

    height: float
    runs: list[Run] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    mark: str = ""


class Block(NamedTuple):
    """Strips to keep on one page if they fit on one; ``in_table`` wants the table's head above them."""

    strips: Sequence[Strip]
    in_table: bool = False


def width_of(text: str, style: Style) -> float:
    """The width of one line of ``text``."""
    return float(stringWidth(text, style.font, style.size))


def wrap(text: str, style: Style, width: float) -> list[str]:
    """Lines of at most ``width``, broken at spaces and line feeds, within a word only if it is wider than a line."""
    lines: list[str] = []
    for paragraph in text.translate(_CONTROLS).split("\n"):
        lines += _wrap_paragraph(paragraph, style, width)
    return lines


def _wrap_paragraph(text: str, style: Style, width: float) -> list[str]:
    if width_of(text, style) <= width:
        return [text]
    space = width_of(" ", style)
    lines: list[str] = []
    words: list[str] = []
    used = 0.0
    for whole in text.split(" "):
        for word in _broken(whole, style, width):
            size = width_of(word, style)
            if words and used + space + size > width:
                lines.append(" ".join(words))
                words, used = [], 0.0
            used += size + (space if words else 0.0)
            words.append(word)
    lines.append(" ".join(words))
    return lines


def _broken(word: str, style: Style, width: float) -> list[str]:
    if width_of(word, style) <= width:
        return [word]
    parts: list[str] = []
    start, used = 0, 0.0
    for at, char in enumerate(word):
        size = width_of(char, style)
        if at > start and used + size > width:
            parts.append(word[start:at])
            start, used = at, 0.0
        used += size
    parts.append(word[start:])
    return parts


def fitted(text: str, style: Style, width: float) -> tuple[list[str], Style]:
    """Like :func:`wrap`, but a word that is too wide, such as a long number, is set smaller rather than broken."""
    widest = max(width_of(word, style) for word in text.split(" "))
    if widest > width:
        style = style._replace(size=max(_SMALLEST, style.size * width / widest * 0.999))
    return wrap(text, style, width), style


def shortened(text: str, style: Style, width: float) -> str:
    """``text`` on one line, its end replaced by an ellipsis if it is too long."""
    lines = wrap(text, style, width)
    if len(lines) == 1:
        return lines[0]
    return wrap(text, style, width - width_of("…", style))[0] + "…"


def paginate(blocks: Iterable[Block], head: Strip, height: float) -> list[list[Strip]]:
    """Distribute ``blocks`` over pages of ``height``; ``head`` comes above the first table strip of each page."""
    pages: list[list[Strip]] = [[]]
    left = height
    headed = False

    def turn() -> None:
        nonlocal left, headed
        if pages[-1]:
            pages.append([])
            left, headed = height, False

    for block in blocks:
        need = sum(strip.height for strip in block.strips)
        if block.in_table and not headed:
            need += head.height
        if need > left:
            turn()
        for strip in block.strips:
            if strip.height > left:
                turn()
            if block.in_table and not headed:
                pages[-1].append(head)
                left -= head.height
                headed = True
            pages[-1].append(strip)
            left -= strip.height
    return pages


def _shown(text: str, font: str) -> str:
    """``text`` with U+FFFD for what the font lacks; PDF/A has no place for a glyph that is not defined."""
    if text.isascii():
        return text
    glyphs = getFont(font).face.charToGlyph
    return "".join(char if ord(char) in glyphs else "\ufffd" for char in text)


def draw(canvas: Canvas, strips: Iterable[Strip], top: float) -> None:
    """Draw ``strips`` downwards from ``top`` (measured from the lower edge of the page)."""
    placed: list[tuple[float, Run]] = []
    for strip in strips:
        for fill in strip.fills:
            canvas.setFillColor(fill.color)
            canvas.rect(fill.x, top - fill.down - fill.height, fill.width, fill.height, stroke=0, fill=1)
        if strip.mark:
            key = f"{canvas.getPageNumber()}-{top:.1f}"
            canvas.bookmarkPage(key, fit="XYZ", left=0, top=top)
            canvas.addOutlineEntry(strip.mark, key)
        placed += [(top - run.down, run) for run in strip.runs if run.text]
        top -= strip.height
    text = canvas.beginText()
    current: Style | None = None
    for y, run in placed:
        if current is None or run.style[:2] != current[:2]:
            text.setFont(run.style.font, run.style.size)
        if current is None or run.style.color is not current.color:
            text.setFillColor(run.style.color)
        current = run.style
        text.setTextOrigin(run.x - width_of(run.text, run.style) if run.right else run.x, y)
        text.textOut(_shown(run.text, run.style.font))
    canvas.drawText(text)
