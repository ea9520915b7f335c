"""The commands of receivables: what they say, and how they end when something is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from receivable_samples import START, add_invoice
from statement_maker import simple, statement
from typer.testing import CliRunner, Result

from operator_server.cli.main import app
from operator_server.context import open_operator
from operator_server.store.engine import writing
from signalling.clock import SharedClock

CONFIGS = Path(__file__).parents[2] / "configs"
INVOICE = "R-2026-000001"


class Tollgate:
    """The command, on a small operator of its own whose account acc-1 owes 11.90."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "configs"
        shutil.copytree(CONFIGS, self.config)
        SharedClock(folder / "clock", start=START)
        self.runner = CliRunner(
            env={
                "TOLLGATE_CONFIG": str(self.config),
                "TOLLGATE_CLOCK": f"file:{folder / 'clock'}",
                "TOLLGATE_STORE__DATA": str(folder / "var"),
                "COLUMNS": "250",
            }
        )
        self("account", "create", "acc-1", "--name", "Erika")

    def __call__(self, *arguments: Any, code: int = 0) -> Result:
        result = self.runner.invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    def json(self, *arguments: Any) -> Any:
        return json.loads(self(*arguments, "--json").stdout)


@contextmanager
def furnished(folder: Path) -> Iterator[Tollgate]:
    with pytest.MonkeyPatch.context() as patch:
        made = Tollgate(folder)
        for name, value in made.runner.env.items():
            patch.setenv(name, value or "")
        engine = open_operator(made.config).engine
        with writing(engine).begin() as connection:
            add_invoice(connection, datetime(2026, 11, 2, 8, tzinfo=UTC), ["10.00"], "acc-1", "EUR", 14)
        engine.dispose()
        yield made


@pytest.fixture
def tollgate(tmp_path: Path) -> Iterator[Tollgate]:
    with furnished(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tollgate]:
    """For commands that are refused and change nothing."""
    with furnished(tmp_path_factory.mktemp("operator")) as made:
        yield made


def test_a_payment_settles_and_its_return_opens(tollgate: Tollgate) -> None:
    assert [row["open"] for row in tollgate.json("payment", "items")] == ["11.90"]
    taken = tollgate.json("payment", "add", "acc-1", "11.90", "--reference", INVOICE, "--id", "p-1")
    assert taken["settled"] == [{"number": INVOICE, "amount": "11.90"}]
    assert tollgate("payment", "items").output.strip() == "Nothing is open."
    assert f"Open again: {INVOICE}." in tollgate("payment", "return", "p-1", "--reason", "MD06").output
    assert [row["state"] for row in tollgate.json("payment", "list", "--state", "returned")] == ["returned"]
    tollgate("ledger", "verify")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["payment", "add", "acc-9", "1.00"], "account acc-9: there is none"),
        (["payment", "add", "acc-1", "1.005"], "nobody can pay that"),
        (["payment", "add", "acc-1", "ten"], "'ten' is not a decimal number"),
        (["payment", "add", "acc-1", "1.00", "--on", "soon"], "--on 'soon': write a day, such as 2026-11-30"),
        (["payment", "collect", "--on", "2026-12-01", "--out", "x.xml"], "direct debits need receivables.creditor_id"),
        (["payment", "refund", "acc-1", "1.00", "--id", "r"], "0.00 EUR stand to its credit"),
        (["credit-note", "create", "R-1"], "invoice 'R-1': there is none"),
        (["credit-note", "create", INVOICE, "--amount", "1.00"], "--amount is of one line: name it with --line"),
        (["credit-note", "create", INVOICE, "--line", "1", "--amount", "10.01"], "10.00 net of it is not credited yet"),
        (["mandate", "add", "M", "--account", "acc-1", "--iban", "DE1", "--signed-on", "2026-01-01"], "IBAN 'DE1'"),
        (["dispute", "hold", "R-9", "--reason", "x"], "R-9: no open item has this number"),
        (["write-off", "approve", "w", "--by", "adam"], "write-off w: there is none"),
        (["finance", "export", "October", "--out", "x"], "'October' is not a billing period"),
        (["reminder", "show", "x"], "reminder x: there is none"),
        (["invoice", "rerate", "--tariff", "x.toml"], "name an invoice, or a month with --period"),
        (["invoice", "rerate", INVOICE, "--tariff", "x.toml"], "cannot be read as TOML"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(unchanged: Tollgate, arguments: list[str], told: str) -> None:
    assert told in unchanged(*arguments, code=1).output


def test_a_bad_statement_is_told_with_file_and_place_and_takes_nothing(tollgate: Tollgate, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.xml", tmp_path / "bad.xml"
    good.write_bytes(statement(simple("11.90", INVOICE)))
    bad.write_bytes(statement(simple("11,90", INVOICE)))
    result = tollgate("payment", "import", bad, code=1)
    assert f"{bad}: line 5: /Document/BkToCstmrStmt/Stmt/Ntry/Amt" in result.output.replace("\n", "")
    assert tollgate.json("payment", "list") == []
    assert tollgate.json("payment", "import", good)[0]["amounts"] == {"EUR": "11.90"}


def test_a_reminder_template_that_cannot_be_used_fails_the_check(tollgate: Tollgate) -> None:
    (tollgate.config / "templates").mkdir(exist_ok=True)
    (tollgate.config / "templates" / "reminder.en.txt").write_text("Hello")
    assert "must be a line 'Subject" in tollgate("check", tollgate.config, code=1).output
