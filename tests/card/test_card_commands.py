"""``tollgate card``, and what a simulated card is made of."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from card_samples import ICCID, NUMBER, CardHouse
from typer.testing import CliRunner, Result

from operator_server.cards.registry import keys_of, require_card
from operator_server.cli.main import app
from operator_server.negotiation.menu import takes_packages
from operator_server.store.cards import Card, CardMaster
from signalling.card.keys import diversify
from terminal_sim.card import CardFileError, load_card

OTHER = "8949000000000000026"


@pytest.fixture
def tollgate(house: CardHouse, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TOLLGATE_CONFIG", str(house.folder / "configs"))

    def run(*arguments: str | Path, code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["card", *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result

    return run


def test_a_card_is_added_and_shown(tollgate, house: CardHouse) -> None:
    tollgate("add", "SIM-2", "--iccid", OTHER, "--msisdn", "+491700000002", "--subscriber", "A-2", "--language", "de")
    listed = json.loads(tollgate("list", "--json").output)
    assert [(each["terminal"], each["language"]) for each in listed] == [("SIM-1", "en"), ("SIM-2", "de")]
    shown = json.loads(tollgate("show", "SIM-2", "--json").output)
    assert (shown["subscriber"], shown["iccid"], shown["packets"]) == ("A-2", OTHER, [])
    house.phone()
    assert "received" in tollgate("show", "SIM-1").output


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--iccid", "8949000000000000019"), "should be 8"),
        (("--iccid", "12"), "18 to 20 digits"),
        (("--iccid", ICCID), "is that of card SIM-1"),
        (("--msisdn", NUMBER), "is that of card SIM-1"),
        (("--msisdn", "0170"), "write it as"),
        (("--subscriber", "nobody"), "there is none"),
        (("--imsi", "1"), "14 or 15 digits"),
    ],
)
def test_what_cannot_be_a_card_is_told(tollgate, wrong: tuple[str, str], said: str) -> None:
    options = {"--iccid": OTHER, "--msisdn": "+491700000002", "--subscriber": "A-2"} | dict([wrong])
    told = tollgate("add", "SIM-2", *(part for option in options.items() for part in option), code=1)
    assert said in told.output


def test_keys_are_sealed_and_differ_by_master_key(tollgate, house: CardHouse) -> None:
    [first] = house.rows(Card)
    master = house.operator.vault.open(house.rows(CardMaster)[0].sealed, "card-master/1")
    keys = diversify(master, ICCID)
    assert house.change(lambda c: keys_of(house.operator.vault, require_card(c, "SIM-1"))) == keys
    for secret in (keys.kic, keys.kid, keys.agreement, master):
        assert secret not in first.sealed_keys
    tollgate("new-master")
    tollgate("add", "SIM-2", "--iccid", OTHER, "--msisdn", "+491700000002", "--subscriber", "A-2")
    assert [(row.terminal_id, row.key_number) for row in house.rows(Card)] == [("SIM-1", 1), ("SIM-2", 2)]


def test_a_simulated_card_goes_on_where_the_card_stands(tollgate, house: CardHouse, tmp_path: Path) -> None:
    house.phone()
    file = tmp_path / "pocket" / "card.json"
    tollgate("keys", "SIM-1", "--out", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    tollgate("keys", "SIM-1", "--out", file, code=1)
    phone = house.phone(memory=load_card(file))
    phone.open_offers()
    assert phone.shows[:2] == ["Data volume", "News"]
    assert not phone.refused


def test_why_an_offer_is_shown_counts_a_card_as_what_takes_services_alone(house: CardHouse) -> None:
    with house.engine.connect() as connection:
        assert not takes_packages(connection, "SIM-1")
        assert takes_packages(connection, "T-1")


def test_a_file_that_is_no_card_is_told(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text('{"iccid": "89"}')
    with pytest.raises(CardFileError, match="tollgate card keys"):
        load_card(tmp_path / "card.json")
