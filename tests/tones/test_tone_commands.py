"""``tollgate tone`` and ``tollgate-terminal call``."""

from __future__ import annotations

import json
import tomllib
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from card_samples import NUMBER
from tone_samples import TUNES, ToneHouse, buy
from typer.testing import CliRunner, Result

from offers.catalogue import load_catalogue
from operator_server.cli.main import app
from operator_server.store.parties import Event
from signalling.tones import decode_smart, parse_rtttl
from signalling.tones import player as players
from signalling.tones.ringing import Binding
from signalling.tones.sound import render
from terminal_sim.card import save_card
from terminal_sim.cli import app as terminal_app

Run = Callable[..., Result]


@pytest.fixture
def tollgate(house: ToneHouse, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("TOLLGATE_CONFIG", str(house.folder / "configs"))

    def run(*arguments: Any, code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["tone", *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result

    return run


def test_tones_are_imported_all_or_none(tollgate: Run, house: ToneHouse, tmp_path: Path) -> None:
    file = tmp_path / "more.rtttl"
    file.write_text("# two\nElise:d=8,o=5,b=125:e6,d#6,e6\n\nBroken:d=5:c\n")
    told = tollgate("import", file, code=1).output
    assert "more.rtttl, line 4" in told.replace("\n", "")
    assert len(json.loads(tollgate("list", "--json").output)) == 3
    file.write_text("Elise:d=8,o=5,b=125:e6,d#6,e6\n")
    tollgate("import", file, "--kind", "Classical")
    assert len(house.rows(Event, kind="tone_added")) == 4
    listed = json.loads(tollgate("list", "--kind", "classical", "--json").output)
    assert [each["title"] for each in listed] == ["Bach", "Bolero", "Elise"]
    assert [each["id"] for each in json.loads(tollgate("list", "--letter", "a", "--json").output)] == ["tone-alarm"]
    assert "Elise" in tollgate("list", "--new").output


def test_a_sample_is_a_sound_that_can_be_played(
    tollgate: Run, house: ToneHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, part = tmp_path / "whole.wav", tmp_path / "part.wav"
    tollgate("sample", "tone-bach", "--out", whole, "--whole", "--quiet")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no player" in tollgate("sample", "tone-bach", "--out", part).output
    with wave.open(str(whole)) as long, wave.open(str(part)) as short:
        assert long.getnframes() > short.getnframes() > 0
    heard = tmp_path / "aplay"
    heard.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/heard\n')
    heard.chmod(0o755)
    assert players.player() == ("aplay", "-q")
    tollgate("sample", "tone-bach", "--out", part)
    assert (tmp_path / "heard").read_text().strip() == f"-q {part}"
    assert "tone nothing is not known" in tollgate("sample", "nothing", code=1).output


def test_a_tone_is_printed_in_each_form(tollgate: Run) -> None:
    bach = parse_rtttl(TUNES["tone-bach"][0])
    assert parse_rtttl(tollgate("export", "tone-bach").output.strip()) == bach
    assert decode_smart(bytes.fromhex(tollgate("export", "tone-bach", "--form", "smart").output.strip())) == bach
    assert tollgate("export", "tone-bach", "--form", "sms").output.startswith("0605041581")
    tollgate("export", "tone-bach", "--form", "midi", code=1)


def test_offers_that_are_written_have_no_fault(tollgate: Run, tmp_path: Path) -> None:
    folder = tmp_path / "offers"
    folder.mkdir()
    tollgate("offers", "--amount", "0.99", "--out", folder / "tones.toml")
    offers = tomllib.loads((folder / "tones.toml").read_text())["offer"]
    assert [each["product"] for each in offers] == sorted(TUNES)
    catalogue, problems = load_catalogue(folder, tariffs={}, tax_rates={"S": 1900}, default_language="en")
    assert not problems
    assert {offer.kind for offer in catalogue} == {"tone"}
    assert "exists" in tollgate("offers", "--out", folder / "tones.toml", code=1).output
    tollgate("offers", "--amount", "much", code=1)


def test_the_report_tells_what_became_of_a_tone(tollgate: Run, house: ToneHouse) -> None:
    assert "No tone was sent" in tollgate("deliveries").output
    buy(house.at_tones("By letter", "B", "Bach"))
    [row] = json.loads(tollgate("deliveries", "--terminal", "SIM-1", "--json").output)
    assert (row["tone"], row["message"], row["state"]) == ("tone-bach", "received", "kept")
    assert "0 tone(s)" in tollgate("send-again", "SIM-1").output
    tollgate("send-again", "nobody", code=1)


def test_a_phone_is_registered_and_found(tollgate: Run) -> None:
    assert "served by north." in tollgate("locate", NUMBER, "--node", "north").output
    assert "no longer by north" in tollgate("locate", NUMBER, "--node", "south").output
    [row] = json.loads(tollgate("locate", "--json").output)
    assert (row["number"], row["node"], row["busy"]) == (NUMBER, "south", False)


@pytest.mark.requirement("E22")
def test_a_call_is_heard(house: ToneHouse, tmp_path: Path) -> None:
    phone = house.at_tones("By letter", "B", "Bach")
    buy(phone)
    phone.card.memory.applet.bindings.append(Binding("caller", ("+4917099",), "tone-bach"))
    save_card(tmp_path / "card.json", phone.card.memory)

    def call(number: str) -> str:
        result = CliRunner().invoke(terminal_app, ["call", "--state", str(tmp_path), "--from", number, "--quiet"])
        assert result.exit_code == 0, result.output
        return result.output

    assert "Bach rings" in call("+4917099")
    assert (tmp_path / "ring.wav").read_bytes() == render(parse_rtttl(TUNES["tone-bach"][0]))
    assert "own ring" in call("+4917000")


def test_the_operator_says_how_tones_come_to_a_card(tollgate: Run, house: ToneHouse) -> None:
    assert json.loads(tollgate("form", "SIM-1", "--json").output) == {
        "terminal": "SIM-1", "form": "usual (smart)", "way": "usual",
    }  # fmt: skip
    assert "rtttl" in tollgate("form", "SIM-1", "--form", "rtttl").output
    buy(house.at_tones("By letter", "B", "Bach"))
    assert json.loads(tollgate("deliveries", "--json").output)[0]["form"] == "rtttl"
    assert json.loads(tollgate("form", "SIM-1", "--form", "usual", "--json").output)["form"] == "usual (smart)"
    assert "nodes.port" in tollgate("form", "SIM-1", "--form", "audio", code=1).output
    assert "nodes.port" in tollgate("form", "SIM-1", "--way", "ussd", code=1).output
    assert "say smart" in tollgate("form", "SIM-1", "--form", "midi", code=1).output
    tollgate("form", "nobody", code=1)
