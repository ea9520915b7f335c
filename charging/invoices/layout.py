"""Measured strips of text, and their way onto pages. Knows nothing of invoices.

A page is filled from the top with *strips*, each as high as its text needs, so nothing can overlap. *Blocks* are
strips that stay together where a page has room for them. All is measured and distributed before anything is drawn;
so the number of pages is known on the first, and the time grows with the text only. Lengths are points (1/72 inch).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import NamedTuple

from reportlab.lib.colors import Color
from reportlab.pdfbase.pdfmetrics import getFont, stringWidth
from reportlab.pdfgen.canvas import Canvas

from charging.invoices.scripts import drawn

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
    return _width(text, style.font) * style.size


@lru_cache(maxsize=1 << 15)
def _width(text: str, font: str) -> float:
    return float(stringWidth(text, font, 1))


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
    """A line as it is drawn, with U+FFFD for what the font lacks: PDF/A has no place for a glyph that is not there."""
    if text.isascii():
        return text
    glyphs = getFont(font).face.charToGlyph
    return "".join(char if ord(char) in glyphs else "\ufffd" for char in drawn(text, glyphs))


def draw(canvas: Canvas, strips: Iterable[Strip], top: float) -> None:
    """Draw ``strips`` downwards from ``top`` (measured from the lower edge of the page).

    The operators of the page are written here rather than by ReportLab's methods for a rectangle and a text, which
    spend most of a page's time on each number and each change of colour.
    """
    code: list[str] = []
    texts: list[tuple[float, Run]] = []
    pen = _Pen(canvas)
    for strip in strips:
        for fill in strip.fills:
            if fill.color is not pen.color:
                code.append(pen.use(fill.color))
            code.append(f"{fill.x:.2f} {top - fill.down - fill.height:.2f} {fill.width:.2f} {fill.height:.2f} re f")
        if strip.mark:
            key = f"{canvas.getPageNumber()}-{top:.1f}"
            canvas.bookmarkPage(key, fit="XYZ", left=0, top=top)
            canvas.addOutlineEntry(strip.mark, key)
        texts += [(top - run.down, run) for run in strip.runs if run.text]
        top -= strip.height
    code.append("BT")
    for y, run in texts:
        style = run.style
        if style.color is not pen.color:
            code.append(pen.use(style.color))
        text = _shown(run.text, style.font)
        x = run.x - width_of(text, style) if run.right else run.x
        code.append(f"1 0 0 1 {x:.2f} {y:.2f} Tm")
        code += pen.write(text, style)
    code.append("ET")
    canvas.addLiteral("\n".join(code))


class _Pen:
    """The colour and the font that the next operator of a page will meet."""

    def __init__(self, canvas: Canvas) -> None:
        self.color: Color | None = None
        self._document = canvas._doc
        self._font: tuple[str, int, float] | None = None

    def use(self, color: Color) -> str:
        """Change the colour."""
        self.color = color
        return _rgb(color)

    def write(self, text: str, style: Style) -> Iterator[str]:
        """Show ``text``; the parts that lie in one subset of its font each by themselves."""
        font = getFont(style.font)
        for subset, codes in font.splitString(text, self._document):
            wanted = (style.font, subset, style.size)
            if wanted != self._font:
                self._font = wanted
                yield f"{font.getSubsetInternalName(subset, self._document)} {style.size:.4g} Tf"
            yield f"<{codes.hex()}> Tj"


@cache
def _rgb(color: Color) -> str:
    return f"{color.red:.4f} {color.green:.4f} {color.blue:.4f} rg"
