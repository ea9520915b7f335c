"""Phones, a short message centre and the server as processes: what a person does at a phone ends in the database."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest
from card_samples import ICCID, NUMBER, CardHouse
from operator_samples import NOW
from sqlalchemy import Connection

from operator_server import parties
from operator_server.store.cards import CardPacketRow
from operator_server.store.dealings import Agreement
from signalling.card.keys import Personalisation
from signalling.clock import SharedClock
from terminal_sim import state as states
from terminal_sim.host import read_host
from terminal_sim.state import Identity
from terminal_sim.trust import Trust

TERMINAL = [sys.executable, "-c", "from terminal_sim.cli import main; main()"]
SERVER = [sys.executable, "-m", "operator_server"]
ECHOING = """
from twisted.internet import reactor
from signalling.clock import SystemClock
from terminal_sim.smsc import Centre
centre = Centre(reactor, SystemClock())
centre.repeat = lambda tpdu: True
centre.refuse.append(0x0B)
print("SMPP on 127.0.0.1:%d, phones on 127.0.0.1:%d" % centre.listen(), flush=True)
reactor.run()
"""
"""A centre that refuses the first message for good and delivers every other one twice."""


def waited_for(condition: Callable[[], Any], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@contextmanager
def running(command: list[str], log: Path, ready: str, environment: dict[str, str]) -> Iterator[str]:
    """A process that has said that it is ready; what it said."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=os.environ | environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        assert waited_for(lambda: re.search(ready, log.read_text())), log.read_text()
        yield log.read_text()
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture
def environment(house: CardHouse) -> dict[str, str]:
    clock = house.folder / "clock"
    SharedClock(clock, start=NOW)
    return {"TOLLGATE_CONFIG": str(house.folder / "configs"), "TOLLGATE_CLOCK": f"file:{clock}"}


@pytest.fixture
def pocket(house: CardHouse, tmp_path: Path) -> Path:
    """A folder with the card in it."""
    memory = house.memory()
    folder = tmp_path / "phone"
    folder.mkdir()
    (folder / "card.json").write_bytes(Personalisation(ICCID, "", memory.keys, "+4900000").encode())
    return folder


@pytest.mark.requirement("S17")
@pytest.mark.parametrize("faulty", [False, True])
def test_an_agreement_is_made_by_short_messages(
    house: CardHouse, environment: dict[str, str], pocket: Path, tmp_path: Path, faulty: bool
) -> None:
    smsc = [sys.executable, "-c", ECHOING] if faulty else [*TERMINAL, "smsc", "--port", "0", "--radio-port", "0"]
    words = ["pause 2", "menu", "choose Ask" if faulty else "choose Offers", "choose News", "ok", "choose Free", "ok"]
    words += ["type 1", "pause 1", "show", "quit", ""]
    with running(smsc, tmp_path / "smsc.log", r"phones on \S+", {}) as said:
        smpp, radio = re.findall(r"127\.0\.0\.1:(\d+)", said)
        environment |= {
            "TOLLGATE_SMS__HOST": "127.0.0.1", "TOLLGATE_SMS__PORT": smpp, "TOLLGATE_SMS__TLS": "false",
            "TOLLGATE_SMS__PER_SECOND": "1000",
        }  # fmt: skip
        with running([*SERVER, "serve", "--role", "sms"], tmp_path / "server.log", "bound to", environment):
            phone = subprocess.run(
                [*TERMINAL, "run", "--applet", "--trace", "--state", str(pocket), "--number", NUMBER,
                 "--radio", f"127.0.0.1:{radio}"],
                input="\n".join(words),
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert "[list] Offers | *Data volume | News" in phone.stdout, phone.stdout + phone.stderr
            assert "Agreed: News." in phone.stdout
            assert "TERMINAL PROFILE" in phone.stdout
            [agreement] = house.rows(Agreement)
            assert (agreement.terminal_id, agreement.evidence_kind) == ("SIM-1", "card_mac")
            assert waited_for(lambda: states_of(house) == {"received"} | ({"failed"} if faulty else set()))


def states_of(house: CardHouse) -> set[str]:
    """What became of packets that ask for a receipt, and of those that no centre took."""
    return {row.state for row in house.rows(CardPacketRow) if row.receipt or row.state == "failed"}


@pytest.mark.requirement("S17")
def test_an_agreement_is_made_over_the_link_at_a_drawn_phone(
    house: CardHouse, environment: dict[str, str], pocket: Path, tmp_path: Path
) -> None:
    environment["TOLLGATE_LINK__PORT"] = "0"
    with running([*SERVER, "serve", "--role", "link"], tmp_path / "server.log", r"link: ", environment) as said:
        port = int(re.findall(r"link: \S+:(\d+)", said)[0])
        carrier(house, pocket, port)
        phone = pexpect.spawn(
            TERMINAL[0], [*TERMINAL[1:], "run", "--applet", "--state", str(pocket)],
            encoding="utf-8", timeout=20, dimensions=(24, 80),
        )  # fmt: skip
        try:
            phone.expect("m menu")
            for key, answer in (
                ("m", "Ask for offers"), ("\r", "Data volume"), ("\x1b[B", "> News"), ("\r", "Every morning"),
                ("\r", "Not interested"), ("\r", "News. Free"), ("\r", "Agree"), ("1", "Agreed: News."),
                ("\r", "Data volume"), ("\x18", "m menu"), ("q", pexpect.EOF),
            ):  # fmt: skip
                phone.send(key)
                phone.expect(answer)
        finally:
            phone.close(force=True)
    [agreement] = house.rows(Agreement)
    assert (agreement.terminal_id, agreement.evidence_kind) == ("SIM-1", "card_mac")


def carrier(house: CardHouse, folder: Path, port: int) -> None:
    """A terminal in the folder, whose link carries the card's packets."""
    bundle = folder / "bundle.json"
    bundle.write_text(json.dumps(json.loads(house.operator.bundle()) | {"port": port}))
    trust = Trust.read(bundle)
    identity = Identity.new("T-PHONE")
    states.create(folder, identity, trust, read_host(), house.clock.micros()).close()

    def enroll(connection: Connection) -> None:
        parties.enroll_terminal(connection, "T-PHONE", identity.public_key, "A-1", NOW)

    house.change(enroll)
