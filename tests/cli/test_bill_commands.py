"""``tollgate bill`` as staff use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Tollgate


@pytest.fixture(autouse=True)
def customer(tollgate: Tollgate) -> None:
    tollgate("account", "create", "A-9", "--name", "Erika Muster", "--address", "Weg 1")


def test_a_month_is_drafted_controlled_approved_and_made_final(tollgate: Tollgate) -> None:
    shown = tollgate("bill", "cycle", "A-9", "--day", "31", "--zone", "America/New_York", "--minimum", "5").output
    assert "day 31 in America/New_York" in shown
    assert json.loads(tollgate("bill", "cycle", "A-9", "--json").output)["minimum_amount"] == 5_000_000
    tollgate("bill", "commit", "A-9", "50.00", "--from", "2026-01-01")
    [commitment] = json.loads(tollgate("bill", "commitments", "--json").output)
    assert (commitment["account_id"], commitment["amount"]) == ("A-9", 50_000_000)
    report = json.loads(tollgate("bill", "run", "2026-03", "--draft", "--json").output)
    assert (report["state"], report["made"], report["gross"]) == ("drafted", 1, {"EUR": "178.50"})
    assert "drafted" in tollgate("bill", "report", "2026-03").output
    assert json.loads(tollgate("bill", "report", "2026-03", "--json").output)["bills"][0]["micros"] == 178_500_000
    assert "approved by Erika" in tollgate("bill", "approve", "2026-03", "--by", "Erika").output
    tollgate("bill", "discard", "2026-03")
    tollgate("bill", "run", "2026-03", "--draft")
    tollgate("bill", "approve", "2026-03")
    assert "1 invoices made" in tollgate("bill", "finalise", "2026-03").output
    assert "0 invoices made" in tollgate("bill", "--period", "2026-03").output
    tollgate("bill", "end-commitment", commitment["id"], "--on", "2026-03-31")
    tollgate("bill", "run", "--due")
    assert "proven" in tollgate("ledger", "verify").output


def test_periods_are_locked_and_opened(tollgate: Tollgate) -> None:
    assert "2026-01 is locked" in tollgate("bill", "lock", "2026-01").output
    assert "2026-01 is open" in tollgate("bill", "unlock", "2026-01").output
    tollgate("bill", "unlock", "2026-01", code=1)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("bill",), 2),
        (("bill", "run"), 2),
        (("bill", "run", "October"), 1),
        (("bill", "approve", "2026-01"), 1),
        (("bill", "finalise", "2026-01"), 1),
        (("bill", "cycle", "A-9", "--day", "32"), 1),
        (("bill", "cycle", "nobody"), 1),
        (("bill", "commit", "A-9", "much"), 1),
        (("bill", "end-commitment", "none"), 1),
    ],
)
def test_what_cannot_be_is_told_in_a_line(tollgate: Tollgate, arguments: tuple[str, ...], code: int) -> None:
    result = tollgate(*arguments, code=code)
    assert "Traceback" not in result.output


def test_a_broken_tax_table_is_told_with_its_place(tollgate: Tollgate, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "operator.toml").write_text((tollgate.config / "operator.toml").read_text())
    (folder / "tax.toml").write_text('outside_eu = "S"\n')
    result = tollgate("bill", "run", "2026-03", "--config", folder, code=1)
    assert "tax.toml: outside_eu" in result.output
