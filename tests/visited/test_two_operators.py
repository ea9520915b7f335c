"""Two operators as processes, each with its own database, and a roamer between them: all by command."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from operator_samples import NOW, House, key_of
from typer.testing import CliRunner
from visited_samples import ABROAD, HOME, HOME_CODES, LOCAL, SOLD, VISITED, Lands

from operator_server.cli.main import app
from operator_server.store.accounting import Charge
from operator_server.store.visited import SettlementRecord, VisitorRow
from operator_server.visited.codes import Features
from signalling.clock import SharedClock
from terminal_sim import state as states
from terminal_sim.host import read_host
from terminal_sim.trust import Identity, Trust

SERVER = [sys.executable, "-m", "operator_server"]
TERMINAL = [sys.executable, "-c", "from terminal_sim.cli import main; main()"]


class Side:
    """An operator's folder, its commands, and its roles web and roaming in one process."""

    def __init__(self, house: House, clock: Path, work: Path) -> None:
        self.house, self.work = house, work
        self.folder = house.folder
        self.environment = os.environ | {
            "TOLLGATE_CONFIG": str(self.folder / "configs"), "TOLLGATE_CLOCK": f"file:{clock}",
            "TOLLGATE_LINK__PORT": "7707",
        }  # fmt: skip
        self.port, self.roaming = 0, free_port()

    def run(self, *words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, words, env=self.environment)
        assert done.exit_code == code, f"{words}: {done.output} {done.exception}"
        return done.output

    @contextmanager
    def served(self, port: int = 0) -> Iterator[None]:
        log = self.work / f"{self.folder.name}.log"
        port = port or free_port()
        with log.open("wb") as output:
            environment = self.environment | {
                "TOLLGATE_WEB__PORT": str(port), "TOLLGATE_ROAMING__PORT": str(self.roaming),
            }  # fmt: skip
            process = subprocess.Popen(
                [*SERVER, "serve", "--single", "--role", "web", "--role", "roaming"], env=environment, stdout=output,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            end = time.monotonic() + 30
            while not (answers(port) and answers(self.roaming)):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.1)
            self.port = port
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def toml(features: Features) -> str:
    lines = [f'download = "{features.download}"']
    for each in features.feature:
        lines += [
            "[[feature]]", f'feature = "{each.feature}"', f'title = "{each.title}"', f'activate = "{each.activate}"',
            f'deactivate = "{each.deactivate}"', f'menu = "{each.menu}"', f"ef = {each.ef}",
            f"supported = {str(each.supported).lower()}",
        ]  # fmt: skip
    for name, surcharge in features.surcharge.items():
        lines += [f"[surcharge.{name}]", f'amount = "{surcharge.amount}"', f'currency = "{surcharge.currency}"']
    for name, sold in features.sold.items():
        lines += [f"[sold.{name}]", f'offer = "{sold.offer}"', f'mode = "{sold.mode}"']
    return "\n".join(lines)


@pytest.fixture
def sides(lands: Lands, tmp_path: Path) -> tuple[Side, Side]:
    """Home and visited, with what commands cannot make: the interrogated terminal."""
    clock = tmp_path / "clock"
    SharedClock(clock, start=NOW)
    config = lands.visited.folder / "configs" / "operator.toml"
    config.write_text(config.read_text().replace(HOME, VISITED))
    shop = lands.home.folder / "configs" / "offers" / "shop.toml"
    assert ABROAD in shop.read_text()
    return Side(lands.home, clock, tmp_path), Side(lands.visited, clock, tmp_path)


def roam(folder: Path, visited: Side, words: list[str], *more: str, code: int = 0) -> str:
    done = subprocess.run(
        [*TERMINAL, "roam", "--state", str(folder), "--network", visited.url, "--bundle",
         str(visited.work / "visited.json"), "--clock", visited.environment["TOLLGATE_CLOCK"], *more],
        input="\n".join([*words, ""]), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def introduce(home: Side, visited: Side, work: Path) -> None:
    """The two operators give each other their files."""
    for side, other, network in ((home, visited, HOME), (visited, home, VISITED)):
        file = work / f"{network}.json"
        url = f"https://localhost:{side.roaming}"
        told = side.run("visited", "introduction", "--url", url, "--out", str(file))
        taken = other.run("visited", "partner", network, "--introduction", str(file))
        assert told.splitlines()[-1] == taken.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.requirement("H1", "H9", "H11", "H18", "H19", "H20", "H23")
def test_a_roamer_dials_buys_and_both_operators_settle(sides: tuple[Side, Side], tmp_path: Path) -> None:
    home, visited = sides
    (tmp_path / "home.toml").write_text(toml(Features(HOME_CODES, sold=SOLD)))
    (tmp_path / "north.toml").write_text(toml(LOCAL))
    assert "sequence 1" in home.run("visited", "codes", str(tmp_path / "home.toml"))
    visited.run("visited", "codes", str(tmp_path / "north.toml"))
    for side in sides:
        side.run("terminal", "bundle", "--out", str(tmp_path / f"{side.folder.name}.json"))
    introduce(home, visited, tmp_path)
    trust = Trust.read(tmp_path / "home.json")
    phone = tmp_path / "phone"
    identity = Identity("T-1", key_of("T-1"))
    states.create(phone, identity, trust, read_host(), SharedClock(tmp_path / "clock").micros()).close()
    home.run("visited", "mobile", "T-1", "--out", str(phone / "mobile.json"))

    with home.served(), visited.served():
        assert f"knows us as {VISITED}" in visited.run("visited", "check", HOME)
        assert f"knows us as {HOME}" in home.run("visited", "check", VISITED)
        words = ["*66#", "*44*555-4444#", "6-5 off", "*80#", "*50#", "no", "*50#", "yes", "*84#", "yes"]
        said = roam(phone, visited, words)
        assert f"registered in {VISITED}" in said
        for line in (
            "sent *55#", "sent *72*555-4444#", "sent *56#", "feature not available", "sent *60#", "Call waiting: on",
            "New: Wake-up call, *90#, menu 8-1", "Conference: on", "Radio: on",
        ):  # fmt: skip
            assert line in said, said
        assert said.count("Toll for Conference: €2.38. Accept?") == 2
        for side, network, direction in ((home, VISITED, "payable"), (visited, HOME, "receivable")):
            told = json.loads(side.run("visited", "reconcile", network, "--month", "2026-11", "--json"))
            compared = {each["direction"]: (each["alike"], each["differences"]) for each in told["compared"]}
            assert compared == {direction: (2, [])} | {d: (0, []) for d in compared if d != direction}
            assert "Nothing is disputed." in side.run("visited", "disputes")
            assert "proven" in side.run("ledger", "verify")

    [visitor] = visited.house.rows(VisitorRow)
    assert visitor.active == ["call-forwarding", "conference", "radio"]
    assert sorted(row.net for row in home.house.rows(Charge)) == [500_000, 2_000_000]
    mine, theirs = tmp_path / "mine.csv", tmp_path / "theirs.csv"
    home.run("visited", "report", VISITED, "--direction", "payable", "--month", "2026-11", "--out", str(mine))
    told = visited.run(
        "visited", "report", HOME, "--month", "2026-11", "--out", str(theirs), "--against", str(mine), "--json"
    )
    assert json.loads(told)["totals"] == {"EUR": "1.583333"}
    assert mine.read_bytes() == theirs.read_bytes()
    assert sorted(row["feature"] for row in csv.DictReader(mine.open())) == ["conference", "radio"]
    mine.write_text(mine.read_text().replace("1.25", "1.20"))
    assert "amount 1.25 here, 1.20 there" in visited.run(
        "visited", "report", HOME, "--month", "2026-11", "--against", str(mine), code=1
    )
    assert len(home.house.rows(SettlementRecord)) == 2
