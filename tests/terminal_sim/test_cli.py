"""The command line as a person or a script meets it."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from terminal_fakes import FakeServer, entry, make_trust
from terminal_listening import Listening

from signalling.clock import SystemClock
from signalling.configuration import Configuration
from signalling.messages import Notice
from terminal_sim import state as states

PROFILE = """
name = "test"
[hardware]
model = "m"
memory_mib = "512"
"""


def terminal(*arguments: object, stdin: bytes = b"", timeout: float = 40) -> tuple[int, str]:
    """Exit status and everything it said."""
    command = [sys.executable, "-c", "from terminal_sim.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(
        command, input=stdin, capture_output=True, timeout=timeout, env={"COLUMNS": "200", "PATH": ""}
    )
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


@pytest.fixture
def bundle(server: FakeServer, running_reactor: Any, tmp_path: Path) -> Any:
    server.now = SystemClock().micros()
    listening = Listening(server)
    trust = make_trust(server, port=listening.port.getHost().port, tls=True, ca_pem=listening.pem)
    (tmp_path / "bundle.json").write_bytes(msgspec.json.encode(trust))
    (tmp_path / "profile.toml").write_text(PROFILE)
    yield tmp_path / "bundle.json"
    listening.close()


@pytest.fixture
def made(server: FakeServer, bundle: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "terminal"
    status, said = terminal(
        "init", "--state", folder, "--bundle", bundle, "--terminal", "T-1", "--profile", tmp_path / "profile.toml"
    )
    assert status == 0, said
    kept = states.load(folder)
    server.terminals["T-1"] = kept.identity.public_key
    assert kept.identity.public_key.hex() in said
    kept.close()
    return folder


@pytest.mark.requirement("S8")
def test_a_person_selects_rejects_postpones_and_uses_from_a_pipe(server: FakeServer, made: Path) -> None:
    server.offers = [entry("a", "atlas"), entry("b", "banjo"), entry("c", "cello")]
    server.notices = [Notice(notice="n1", kind="charge", text="Half of your limit is spent")]
    words = (
        "offers\nselect 1\n2\np\n2\n5\nc\nreject 2\nlater 3\ninstalled\nuse 1 3\nuse 1 9\nreport\nstatus\nmessages\nq\n"
    )
    status, said = terminal("run", "--state", made, stdin=words.encode())
    assert status == 0, said
    assert "Pay by use: 0.10 EUR a route" in said
    assert "spending limit: 5.00 EUR" in said
    assert "Atlas 1.0 is installed." in said
    assert "Banjo will not be offered again." in said
    assert "Cello will be offered again." in said
    assert "Atlas: used 3, counter at 3." in said
    assert "9 wanted, 2 left" in said
    assert "report 1 accepted" in said
    assert "left to spend" in said
    assert "Half of your limit is spent" in said
    assert server.rejected == ["b"]
    assert server.read == ["n1"]
    (quote, _), *_ = server.agreements.values()
    assert quote.spending_limit == 5_000_000
    status, said = terminal("status", "--state", made)
    assert status == 0
    assert "Atlas" in said


def test_no_input_crashes_the_menu(server: FakeServer, made: Path) -> None:
    server.offers = [entry("a", "atlas"), entry("b", "banjo")]
    chance = random.Random(7)
    words = ["offers", "select", "s 1", "1", "2", "p", "c", "n", "reject 1", "later 2", "use 1", "use 1 -3", "report",
             "installed", "status", "messages", "", "\t", "select 99999999999999999999", "use 1 1 1 1", "é\x00\x1b[2J",
             "s \u0662", "use \u00b2", "help"]  # fmt: skip
    stdin = "\n".join(chance.choice(words) for _ in range(300)).encode() + b"\n\xff\xfe\n" + chance.randbytes(400)
    status, said = terminal("run", "--state", made, stdin=stdin)
    assert status == 0, said[-2000:]
    assert "Traceback" not in said
    assert "Good-bye." in said


def test_without_a_server_the_menu_still_shows_what_is_here(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_bytes(msgspec.json.encode(make_trust(server, port=9)))
    (tmp_path / "profile.toml").write_text(PROFILE)
    made = tmp_path / "t"
    terminal("init", "--state", made, "--bundle", tmp_path / "bundle.json", "--terminal", "T-1", "--profile",
             tmp_path / "profile.toml")  # fmt: skip
    status, said = terminal("run", "--state", made, stdin=b"offers\ninstalled\nq\n")
    assert status == 0
    assert "Not connected: cannot connect" in said
    assert "Nothing is installed yet." in said


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["run", "--state", "/nonexistent/t"], "tollgate-terminal init"),
        (["init", "--state", "/nonexistent/t", "--bundle", "/nonexistent/b"], "/nonexistent/b"),
        (["fleet", "--bundle", "/nonexistent/b"], "/nonexistent/b"),
        (["fleet", "keys", "--count", "2", "--subscriber", "{x}"], "--subscriber"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments: list[str], word: str) -> None:
    status, said = terminal(*arguments)
    assert status == 1
    assert word in said
    assert "Traceback" not in said


@pytest.mark.requirement("S1")
def test_the_profile_of_this_machine_is_a_configuration_without_names(tmp_path: Path) -> None:
    status, said = terminal("profile", "--from-host", "--out", tmp_path / "host.json")
    assert status == 0, said
    host = msgspec.json.decode((tmp_path / "host.json").read_bytes(), type=Configuration)
    assert host.code().hex() in said
    assert {"architecture", "memory_mib"} <= host.hardware.keys()
    assert any(key.startswith("py/") for key in host.base_software)
    import platform

    assert platform.node() not in host.hardware.values()


def test_fleet_keys_are_a_table_to_import(tmp_path: Path) -> None:
    status, said = terminal("fleet", "keys", "--count", "3", "--out", tmp_path / "t.csv", "--subscriber", "A-{n}")
    assert status == 0, said
    rows = (tmp_path / "t.csv").read_text().splitlines()
    assert rows[0] == "terminal,public_key,subscriber"
    assert rows[3].startswith("F7-00003,")
    assert rows[3].endswith(",A-3")


def test_a_fleet_runs_from_the_command_line(server: FakeServer, bundle: Path, tmp_path: Path) -> None:
    from terminal_sim.fleet import enrolment

    server.offers = [entry("a", "atlas"), entry("b", "banjo")]
    server.terminals = {name: bytes.fromhex(key) for name, key in enrolment(5, 3)}
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "p.toml").write_text(PROFILE)
    status, said = terminal(
        "fleet", "--bundle", bundle, "--count", 5, "--seed", 3, "--profiles", tmp_path / "profiles", "--rounds", 2,
        "--state", tmp_path / "states",
    )  # fmt: skip
    assert status == 0, said
    assert "sessions" in said
    assert len(list((tmp_path / "states").glob("*/journal.jsonl"))) == 5
