"""``tollgate tariff`` and ``tollgate usage`` as a person or a script meets them."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import Result
from sqlalchemy import text
from typer.testing import CliRunner

from operator_server.cli.main import app
from operator_server.offering.toml_text import toml_text
from operator_server.store.engine import open_engine, sqlite_url, writing
from signalling.clock import SharedClock

CONFIGS = Path(__file__).parent.parent.parent / "configs"
RECORDS = """source,id,subscriber,tariff,quantity,at,destination
switch,1,A-1,voice,32,2026-10-04T09:30:00Z,
switch,2,A-1,voice,75,2026-10-04T10:30:00Z,
switch,3,A-2,data-graduated,1200,2026-10-04T09:30:00Z,
switch,4,A-1,data-graduated,300,2026-10-05T09:30:00Z,
"""


class Command:
    """The command line on a configuration folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "configs"
        shutil.copytree(CONFIGS, self.config)
        SharedClock(folder / "clock", datetime(2026, 11, 3, tzinfo=UTC))
        settings = self.config / "operator.toml"
        settings.write_text(
            f'clock = "file:{folder / "clock"}"\n{settings.read_text()}\n[store]\ndata = "{folder / "data"}"\n'
        )
        self.database = folder / "data" / "tollgate.sqlite"

    def __call__(self, *arguments: object, code: int = 0) -> Result:
        env = {"TOLLGATE_CONFIG": str(self.config), "COLUMNS": "200"}
        result = CliRunner().invoke(app, [str(each) for each in arguments], env=env)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    def json(self, *arguments: object, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code).stdout)


@pytest.fixture
def tollgate(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def used(tollgate: Command, tmp_path: Path) -> Command:
    """Two accounts with use in October."""
    for account in ("A-1", "A-2"):
        tollgate("account", "create", account, "--name", account)
    file = tmp_path / "use.csv"
    file.write_text(RECORDS)
    [report] = tollgate.json("usage", "import", file)
    assert (report["taken"], report["refused"]) == (4, 0)
    return tollgate


def test_tariffs_are_listed_and_shown(tollgate: Command) -> None:
    listed = tollgate.json("tariff", "list")
    assert {each["tariff"] for each in listed} == {path.stem for path in (CONFIGS / "tariffs").glob("*.toml")}
    assert "Calls" in tollgate("tariff", "list").output
    shown = tollgate("tariff", "show", "voice").output
    assert "off-peak" in shown
    assert "first = 30" in shown
    assert "no tariff 'none'" in tollgate("tariff", "show", "none", code=1).output


def test_a_cost_is_explained_step_by_step(used: Command) -> None:
    explained = used.json("tariff", "explain", "switch/2")
    assert explained["agrees"]
    assert (explained["cost"], explained["charged"], explained["earlier_uses"]) == ("0.0078", "0.0078", 1)
    assert explained["steps"] == [
        {"step": "75 measured, billed in increments 30/6", "units": 78, "cost": "0"},
        {"step": "off-peak: 78 x 0.006 per 60", "units": 78, "cost": "0.0078"},
    ]
    said = used("tariff", "explain", explained["charge"]).output
    assert "off-peak: 78 x 0.006 per 60" in said
    assert "Charged: 0.0078 EUR net" in said


def test_a_charge_that_its_tariff_does_not_make_is_told(used: Command) -> None:
    with writing(open_engine(sqlite_url(used.database))).begin() as connection:
        connection.execute(text("UPDATE charge SET net = net + 1 WHERE quantity = 75"))
    said = used("tariff", "explain", "2", code=1).output
    assert "0.007801 EUR was charged, but its tariff makes 0.0078 EUR of it" in said
    assert not used.json("tariff", "explain", "2", code=1)["agrees"]


def test_an_explanation_keeps_to_the_version_that_was_rated_when_the_file_changes(used: Command) -> None:
    file = used.config / "tariffs" / "voice.toml"
    file.write_text(file.read_text().replace("0.006", "0.6"))
    assert used.json("tariff", "explain", "2")["cost"] == "0.0078"


def test_what_is_not_there_is_not_explained(used: Command) -> None:
    assert "neither a charge nor a usage record" in used("tariff", "explain", "x", code=1).output


def test_a_new_tariff_is_tried_on_past_use_and_nothing_is_charged(used: Command, tmp_path: Path) -> None:
    before = used.json("usage", "list")
    new = tmp_path / "new.toml"
    new.write_text((CONFIGS / "tariffs" / "data-graduated.toml").read_text().replace('"0.01"', '"0.02"'))
    result = used.json("tariff", "simulate", new, "--on", "2026-10")
    assert [(each["account"], each["now"], each["then"], each["difference"]) for each in result["accounts"]] == [
        ("A-1", "2.00", "4.00", "2.00"),
        ("A-2", "10.40", "20.40", "10.00"),
    ]
    assert result["total"] == {
        "uses": 2, "quantity": 1500, "now": "12.40", "then": "24.40", "difference": "12.00",
    }  # fmt: skip
    assert used.json("usage", "list") == before
    table = used("tariff", "simulate", new, "--on", "2026-10", "--limit", "1").output
    assert "A-2" in table
    assert "A-1" not in table


@pytest.mark.parametrize(
    ("old", "new", "month", "told"),
    [
        ("", "", "2026-09", "no use was charged by tariff 'data-graduated' in 2026-09"),
        ("", "", "2026-13", "'2026-13' is not a billing period"),
        ('currency = "EUR"', 'currency = "JPY"', "2026-10", "is in JPY, but 2026-10 was charged in EUR"),
        ('"0.01"', "0.01", "2026-10", "amount = 0.01: an amount is written as a string"),
    ],
)
def test_a_simulation_that_cannot_be_is_told(
    used: Command, tmp_path: Path, old: str, new: str, month: str, told: str
) -> None:
    file = tmp_path / "new.toml"
    file.write_text((CONFIGS / "tariffs" / "data-graduated.toml").read_text().replace(old, new))
    assert told in used("tariff", "simulate", file, "--on", month, code=1).output


def test_a_csv_set_becomes_tariffs_that_the_check_takes(tollgate: Command, tmp_path: Path) -> None:
    rows = {
        "Destinations": "DE,+49\n",
        "Rates": "R,0,0.006,60s,30s,0s\nR,0,0.006,60s,6s,30s\n",
        "DestinationRates": "DR,DE,R,*up,4,0,\n",
        "RatingPlans": "P,DR,*any,10\n",
        "RatingProfiles": "t,call,*any,2026-01-01T00:00:00Z,P,\n",
    }
    for name, lines in rows.items():
        (tmp_path / f"{name}.csv").write_text(lines)
    said = tollgate("tariff", "import-csv", tmp_path).output
    assert f"1 tariffs are written to {tollgate.config / 'tariffs'}" in said
    tollgate("check", tollgate.config)
    assert tollgate("tariff", "show", "call-any")
    (tmp_path / "Rates.csv").write_text(rows["Rates"].replace("60s,6s", "60s,7ms"))
    before = sorted((tollgate.config / "tariffs").iterdir())
    said = tollgate("tariff", "import-csv", tmp_path, code=1).output
    assert f"{tmp_path / 'Rates.csv'}: line 2: RateIncrement '7ms': parts of a second" in said
    assert sorted((tollgate.config / "tariffs").iterdir()) == before


def test_refused_records_end_the_import_with_exit_code_1(used: Command, tmp_path: Path) -> None:
    file = tmp_path / "more.csv"
    file.write_text(RECORDS.replace("32", "-32"))
    said = used("usage", "import", file, code=1).output
    assert f"{file}: 0 taken, 3 known already, 1 refused; see {file}.rejects.csv" in said


def test_usage_is_listed_with_its_cost(used: Command) -> None:
    listed = used.json("usage", "list", "--account", "A-1", "--period", "2026-10", "--source", "switch")
    assert [(each["id"], each["net"], each["billed"]) for each in listed] == [
        ("4", "2.00", False), ("2", "0.0078", False), ("1", "0.0036", False),
    ]  # fmt: skip
    assert used.json("usage", "list", "--account", "A-9") == []
    assert "0.0078" in used("usage", "list").output
    used("bill", "--period", "2026-10")
    assert all(each["billed"] for each in used.json("usage", "list"))
    assert "proven" in used("ledger", "verify").output


def test_a_large_file_is_rated_by_columns_and_nothing_is_charged(tollgate: Command, tmp_path: Path) -> None:
    file, totals = tmp_path / "uses.parquet", tmp_path / "totals.parquet"
    with duckdb.connect() as database:
        uses = "VALUES ('A', 32, '2026-10-04 09:30:00Z'::TIMESTAMPTZ), ('A', 75, '2026-10-04 10:30:00Z'::TIMESTAMPTZ)"
        database.execute(f"COPY (FROM ({uses}) t(account, quantity, \"at\")) TO '{file}' (FORMAT parquet)")
        rated = tollgate.json("usage", "rate", file, "--tariff", "voice", "--totals", totals)
        assert (rated["uses"], rated["cost"], rated["unrated"]) == (2, "0.0114", 0)
        assert database.execute(f"SELECT account, uses, cost FROM '{totals}'").fetchall() == [("A", 2, 11_400)]
    assert tollgate.json("usage", "list") == []
    assert "no tariff 'none'" in tollgate("usage", "rate", file, "--tariff", "none", code=1).output
    said = tollgate("usage", "rate", tmp_path / "no.parquet", "--tariff", "voice", code=1).output
    assert "No files found" in said


def test_a_version_is_scheduled_and_withdrawn_until_it_holds(tollgate: Command, tmp_path: Path) -> None:
    shown = tollgate.json("tariff", "show", "voice")
    content = {key: value for key, value in shown[-1]["content"].items() if key != "effective_from"}
    version = tmp_path / "version.toml"
    version.write_text(toml_text(content))
    made = tollgate.json("tariff", "schedule", "voice", version, "--from", "2027-01-01")
    assert len(made) == len(shown) + 1
    assert "lies in the past" in tollgate("tariff", "schedule", "voice", version, "--from", "2026-01-02", code=1).output
    assert "write a day" in tollgate("tariff", "schedule", "voice", version, "--from", "soon", code=1).output
    assert "stays as it is" in tollgate("tariff", "withdraw", "voice", shown[0]["version"], code=1).output
    [new] = {each["version"] for each in made} - {each["version"] for each in shown}
    assert tollgate.json("tariff", "withdraw", "voice", new)["withdrawn"]
    assert tollgate.json("tariff", "show", "voice") == shown
    assert "has no version" in tollgate("tariff", "withdraw", "voice", new, code=1).output
