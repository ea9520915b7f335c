"""The look of an invoice's pages: measures in points, colours, styles."""

from __future__ import annotations

from functools import cache

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4

from .fonts import Typeface
from .layout import Style

INK = HexColor(0x1F2933)
GREY = HexColor(0x66727F)
HAIR = HexColor(0xD5DBE1)
TINT = HexColor(0xEEF4F5)
ACCENT = HexColor(0x0F4C5C)
WHITE = HexColor(0xFFFFFF)

PAGE_WIDTH, PAGE_HEIGHT = A4
LEFT, RIGHT = 56.7, PAGE_WIDTH - 51.0
WIDTH = RIGHT - LEFT
TOP = PAGE_HEIGHT - 62.0
GAP = 9.0


class Styles:
    """The few styles of the page; one object each, so that a change is seen by identity."""

    def __init__(self, face: Typeface) -> None:
        self.body = Style(face.regular, 9, INK)
        self.strong = Style(face.bold, 9, INK)
        self.detail = Style(face.regular, 7.2, GREY)
        self.item = Style(face.regular, 7.6, INK)
        self.column = Style(face.bold, 7.5, ACCENT)
        self.section = Style(face.bold, 9.5, ACCENT)
        self.title = Style(face.bold, 17, ACCENT)
        self.brand = Style(face.bold, 15, ACCENT)
        self.big = Style(face.bold, 13, ACCENT)
        self.due = Style(face.bold, 11, WHITE)
        self.foot = Style(face.regular, 6.8, GREY)


@cache
def styles_of(face: Typeface) -> Styles:
    """The styles in a typeface."""
    return Styles(face)
