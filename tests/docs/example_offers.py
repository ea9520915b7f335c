"""The examples of a page as a catalogue of offers."""

from __future__ import annotations

from pathlib import Path

from document_reader import ROOT, blocks

from charging.tariffs import TariffBook
from offers.catalogue import Catalogue, load_catalogue
from offers.modes import tariff_prices


def offers_of(page: Path, folder: Path) -> Catalogue:
    """The examples of a page, written to a folder beside what lies there; by the small operator's tariffs."""
    for number, block in enumerate(block for block in blocks(page) if block.language == "toml"):
        (folder / f"example-{number}.toml").write_text(block.text, encoding="utf-8")
    book, problems = TariffBook.load(ROOT / "configs/tariffs")
    assert book is not None, problems
    found, problems = load_catalogue(
        folder, tariffs=tariff_prices(book), tax_rates={"S": 1900, "R": 700, "Z": 0}, default_language="en"
    )
    assert not problems, [str(problem) for problem in problems]
    return found
