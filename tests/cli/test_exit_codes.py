"""Exit codes are what docs/commands.md says, and what goes wrong is told in one line."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from operator_samples import House
from typer.testing import CliRunner

from operator_server.cli.main import app

if TYPE_CHECKING:
    from conftest import Tollgate

DOCUMENT = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")


def test_the_codes_that_are_tried_here_are_those_of_the_document() -> None:
    table = DOCUMENT.split("## Exit codes")[1].split("\n\n`tollgate doctor`")[0]
    assert [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:] == [
        "0", "1", "2", "130",
    ]  # fmt: skip


def test_done_is_0(tollgate: Tollgate) -> None:
    tollgate("account", "show", "A-1", code=0)


@pytest.mark.parametrize(
    "command", [["account", "show", "nobody"], ["bill", "run", "October"], ["check", "nowhere"], ["audit", "verify"]]
)
def test_what_cannot_be_done_or_is_not_well_is_1(tollgate: Tollgate, house: House, command: list[str]) -> None:
    if command[0] == "audit":
        tollgate("account", "limit", "A-1", "5.00")
        house.change(lambda c: c.exec_driver_sql("UPDATE audit_entry SET actor = 'somebody'"))
    assert tollgate(*command, code=1).stderr.strip().count("\n") == 0


@pytest.mark.parametrize(
    "command", [["nonsense"], ["account", "nonsense"], ["account", "show"], ["account", "list", "--wrong"], ["bill"]]
)
def test_a_wrong_command_line_is_2(tollgate: Tollgate, command: list[str]) -> None:
    tollgate(*command, code=2)


def test_an_interrupted_command_is_130(tollgate: Tollgate, house: House) -> None:
    command = [sys.executable, "-u", "-m", "operator_server", "event", "list", "--follow"]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # A shell's job in the background ignores the signal, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    house.change(lambda c: c.exec_driver_sql("UPDATE event SET place = 1 WHERE id = (SELECT min(id) FROM event)"))
    assert running.stdout is not None
    running.stdout.readline()
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 130


@pytest.mark.parametrize("broken", ["no server", "no database"])
def test_a_database_that_cannot_be_used_is_told_in_one_line(
    tollgate: Any, house: House, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    if broken == "no server":
        monkeypatch.setenv("TOLLGATE_STORE__URL", "postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    else:
        house.engine.dispose()
        (house.operator.data / "tollgate.sqlite").write_bytes(b"damaged " * 1000)
    done = CliRunner().invoke(app, ["account", "list"])
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "the database cannot be used" in done.stderr
