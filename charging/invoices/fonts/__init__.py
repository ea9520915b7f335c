"""The type of the PDF: DejaVu Sans Condensed (Latin, Greek, Cyrillic and more; licence in ``LICENSE.txt``).

Another pair of TrueType files can be loaded for scripts that it lacks, such as Chinese or Japanese.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

_HERE = Path(__file__).parent


class Typeface(msgspec.Struct, frozen=True):
    """Two fonts by the names under which ReportLab knows them."""

    regular: str
    bold: str

    def uncovered(self, text: str) -> str:
        """The characters of ``text`` that this typeface cannot show, sorted; a PDF has an empty box for each."""
        glyphs = pdfmetrics.getFont(self.regular).face.charToGlyph
        return "".join(sorted({char for char in text if ord(char) not in glyphs and char != "\n"}))


@cache
def load(regular: Path, bold: Path) -> Typeface:
    """Make two TrueType files known to ReportLab, once a process. Raises ReportLab's ``TTFError`` for other files."""
    for path in (regular, bold):
        # Subsets that hold only the glyphs in use, not all of ASCII: a third of the size and of the time.
        pdfmetrics.registerFont(TTFont(path.stem, str(path), asciiReadable=False))
    return Typeface(regular.stem, bold.stem)


def shipped() -> Typeface:
    """The typeface that comes with the package."""
    return load(_HERE / "DejaVuSansCondensed.ttf", _HERE / "DejaVuSansCondensed-Bold.ttf")
