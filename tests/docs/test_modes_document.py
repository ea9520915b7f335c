"""What docs/modes.md says: its examples are offers, its kinds and payments are those there are, so are its commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from document_reader import DOCS, code, tables
from example_offers import offers_of

from charging.modes import MODE_KINDS, PAYMENTS
from offers.catalogue import Catalogue
from operator_server.cli.agreement import app

PAGE = DOCS / "modes.md"


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return offers_of(PAGE, tmp_path)


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
