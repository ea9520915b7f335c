"""The README's pictures, taken from a real run: ``python -m tools.pictures`` (needs pdftoppm of poppler-utils)."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from operator_server.demo.run import Options, run_demo

IMAGES = Path(__file__).parent.parent / "docs" / "images"


class _Console(Console):
    """Keeps what is printed, with a name in place of the temporary folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(record=True, width=100)
        self._folder = str(folder.resolve())

    def print(self, *objects: Any, **how: Any) -> None:
        super().print(
            *(each.replace(self._folder, "demo") if isinstance(each, str) else each for each in objects), **how
        )


def main() -> None:
    """Run the demo, keep its console output and the page of an invoice with use and deliveries on it."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "demo"
        folder.mkdir()
        console = _Console(folder)
        run_demo(Options(folder=folder, config=Path("configs"), terminals=200, seed=7, kills=0, json=False), console)
        picked = max((folder / "invoices").glob("*.json"), key=_colourful)
        page = IMAGES / "invoice"
        subprocess.run(
            ["pdftoppm", "-png", "-r", "80", "-f", "1", "-singlefile", str(picked.with_suffix(".pdf")), str(page)],
            check=True,
        )
    console.save_svg(str(IMAGES / "demo.svg"), title="make demo")


def _colourful(invoice: Path) -> tuple[bool, int]:
    """Invoices on one page that show counted use beside deliveries come first."""
    text = invoice.read_text(encoding="utf-8")
    lines = text.count('"line_id"')
    return '"per_use"' in text and "one_off" in text and lines <= 4, -abs(lines - 4)


if __name__ == "__main__":
    main()
