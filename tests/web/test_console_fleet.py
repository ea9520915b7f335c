"""An offer that is put live in the console reaches a fleet: server, terminals and browser are processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browsing import IN_BROWSER, faults
from chromium import Tab
from console_browsing import logged_on
from operator_samples import MAPS
from sqlalchemy import func, select
from web_samples import furnish_people

from operator_server.context import Operator
from operator_server.settings import load_settings
from operator_server.store.dealings import Agreement
from operator_server.store.rows import table
from signalling.clock import SystemClock

pytestmark = [*IN_BROWSER, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SERVER_SECONDS = 40
PROFILE = """name = "{model}"
share = 1
hardware = {{ model = "{model}" }}
[user]
take = 1.0
reject = 0.0
modes = {{ free = 10 }}
counter_proposal = 0.0
decline = 0.0
uses_a_day = 0
languages = ["en"]
"""


@dataclass
class Place:
    """An operator's folder, and how commands are run in it."""

    folder: Path
    environment: dict[str, str]

    def run(self, name: str, *arguments: str) -> str:
        command = [str(Path(sys.executable).parent / name), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A server over an empty catalogue, with a person of each role."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    for file in (tmp_path / "configs/offers").glob("*.toml"):
        file.unlink()
    ports = {"TOLLGATE_LINK__PORT": str(free_port()), "TOLLGATE_WEB__PORT": str(free_port())}
    for name, value in {**ports, "TOLLGATE_STORE__DATA": str(tmp_path / "var")}.items():
        monkeypatch.setenv(name, value)
    operator = Operator(load_settings(tmp_path / "configs"), SystemClock())
    furnish_people(operator)  # type: ignore[arg-type]  # it needs the database alone
    operator.engine.dispose()
    place = Place(tmp_path, dict(os.environ))
    log = tmp_path / "server.log"
    with log.open("wb") as sink:
        command = [sys.executable, "-m", "operator_server", "serve", "--config", str(tmp_path / "configs"), "--single"]
        server = subprocess.Popen(command, cwd=tmp_path, env=place.environment, stdout=sink, stderr=sink)
    try:
        end = time.monotonic() + SERVER_SECONDS
        while "worker: running" not in log.read_text(errors="replace"):
            assert server.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < end, log.read_text(errors="replace")
            time.sleep(0.05)
        yield place
    finally:
        server.terminate()
        server.wait()


def test_a_fleet_takes_what_was_published_after_its_preview(place: Place, tab: Tab) -> None:
    profiles = place.folder / "profiles"
    profiles.mkdir()
    for model in ("aurora-12", "boreal-note"):
        (profiles / f"{model}.toml").write_text(PROFILE.format(model=model))
    place.run("tollgate", "account", "create", "FLEET", "--name", "Fleet")
    place.run("tollgate-terminal", "fleet", "keys", "--count", "12", "--subscriber", "FLEET", "--out", "fleet.csv")
    place.run("tollgate", "terminal", "import", "fleet.csv")
    place.run("tollgate", "terminal", "bundle", "--out", "bundle.json")
    fleet = ("fleet", "--count", "12", "--bundle", "bundle.json", "--profiles", str(profiles), "--honest")
    place.run("tollgate-terminal", *fleet)

    address = f"https://localhost:{place.environment['TOLLGATE_WEB__PORT']}"
    logged_on(tab, address, "operator")
    tab.go(f"{address}/console/offers/-/toml")
    tab.evaluate(f"document.querySelector('[name=toml]').value = {json.dumps(MAPS)}")
    tab.press("button.first")
    told = str(tab.evaluate("document.querySelector('[aria-labelledby=audience]').innerText"))
    found = re.search(r"(\d+)\s+of 12 terminals match", told)
    assert found, told
    reached = int(found[1])
    assert 0 < reached < 12
    assert "boreal" not in told
    tab.press("form[action='/console/offers/publish'] button.first")
    assert "maps is published" in str(tab.evaluate("document.body.innerText"))
    time.sleep(3)  # within which every server takes it over

    place.run("tollgate-terminal", *fleet)
    operator = Operator(load_settings(place.folder / "configs"), SystemClock())
    with operator.engine.connect() as connection:
        agreement = table(Agreement)
        taken = connection.execute(select(func.count()).where(agreement.c.offer_id == "maps")).scalar_one()
    operator.engine.dispose()
    assert 0 < taken <= reached
    tab.go(f"{address}/console")
    assert re.search(rf"\b{taken}\s+agreements today", str(tab.evaluate("document.body.innerText")))
    assert faults(tab) == []
