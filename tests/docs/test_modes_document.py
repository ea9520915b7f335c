"""What docs/modes.md says: its examples are offers, its kinds and payments are those there are, so are its commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from document_reader import DOCS, ROOT, blocks, code, tables

from charging.modes import MODE_KINDS, PAYMENTS
from charging.tariffs import TariffBook
from offers.catalogue import Catalogue, load_catalogue
from offers.modes import tariff_prices
from operator_server.cli.agreement import app

PAGE = DOCS / "modes.md"


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    for number, block in enumerate(block for block in blocks(PAGE) if block.language == "toml"):
        (tmp_path / f"example-{number}.toml").write_text(block.text, encoding="utf-8")
    book, problems = TariffBook.load(ROOT / "configs/tariffs")
    assert book is not None, problems
    found, problems = load_catalogue(
        tmp_path, tariffs=tariff_prices(book), tax_rates={"S": 1900, "R": 700, "Z": 0}, default_language="en"
    )
    assert not problems, [str(problem) for problem in problems]
    return found


def test_the_examples_are_offers_in_every_payment(catalogue: Catalogue) -> None:
    assert {mode.payment for offer in catalogue for mode in offer.modes} == set(PAYMENTS)
    radio = catalogue.get("radio")
    assert radio is not None
    [mode] = radio.modes
    assert (mode.minimum_periods, mode.notice_days, mode.trial_days, mode.trial_warning_days) == (12, 30, 14, 3)


def test_the_tables_name_the_kinds_the_payments_and_the_commands_that_there_are() -> None:
    first = {table.heading: [code(row[0]) for row in table.rows] for table in tables(PAGE)}
    assert first["Kinds: what is charged, and when"] == list(MODE_KINDS)
    assert first["Payments: from which money"] == list(PAYMENTS)
    commands = {str(each.name or getattr(each.callback, "__name__", "")) for each in app.registered_commands}
    assert {name.split()[2] for name in first["Commands"]} == commands
