"""Offers and tariffs changed by command, as console and API change them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from operator_samples import MAPS, TARIFF, House

from operator_server.audit import entries
from operator_server.offering.loading import load


def told(tollgate: Any, *arguments: Any) -> Any:
    return json.loads(tollgate(*arguments, "--json").stdout)


def test_an_offer_is_previewed_published_scheduled_withdrawn_and_put_back(
    tollgate: Any, house: House, tmp_path: Path
) -> None:
    file = tmp_path / "new.toml"
    file.write_text(MAPS)
    assert "fits 3 of 3 terminals" in tollgate("offer", "preview", file).output
    assert told(tollgate, "offer", "preview", file)["models"] == {"aurora-3": 3}
    assert load(house.operator.settings).catalogue.get("maps") is None
    made = told(tollgate, "offer", "publish", file)
    assert told(tollgate, "offer", "preview", "maps")["version"] == made["version"]
    dated = told(tollgate, "offer", "schedule", "maps", "--from", "2026-12-01", "--until", "2027-01-07T12:00")
    assert (dated["valid_from"], dated["valid_until"]) == ("2026-11-30 23:00:00+00:00", "2027-01-07 11:00:00+00:00")
    tollgate("offer", "withdraw", "maps")
    assert load(house.operator.settings).catalogue.get("maps") is None
    back = told(tollgate, "offer", "roll-back", "maps", made["version"])
    assert back["version"] == made["version"]
    was = told(tollgate, "offer", "history", "maps")
    assert [each["action"] for each in was["changes"]] == ["roll-back", "withdraw", "schedule", "publish"]
    assert {each["version"] for each in was["versions"]} == {made["version"], dated["version"]}
    assert made["version"] in tollgate("offer", "history", "maps").output
    with house.engine.connect() as connection:
        assert next(iter(entries(connection, reference="offer/maps"))).actor.startswith("cli:")


def test_a_fault_is_told_with_line_and_key_and_nothing_changes(tollgate: Any, house: House, tmp_path: Path) -> None:
    file = tmp_path / "new.toml"
    file.write_text(MAPS.replace('"EUR"', '"Euro"'))
    for command in ("preview", "publish"):
        answer = tollgate("offer", command, file, code=1)
        assert "line 11: maps.toml: mode[0].currency = 'Euro'" in answer.output
    assert load(house.operator.settings).catalogue.get("maps") is None
    tollgate("offer", "preview", "nothing", code=1)
    tollgate("offer", "withdraw", "nothing", code=1)
    tollgate("offer", "roll-back", "game", "game@none", code=1)
    assert "is no time" in tollgate("offer", "schedule", "game", "--from", "soon", code=1).output
    assert "has no versions" in tollgate("offer", "history", "nothing").output


def test_a_tariff_gets_a_version_to_come_and_keeps_those_in_force(tollgate: Any, house: House, tmp_path: Path) -> None:
    file = tmp_path / "games.toml"
    last = TARIFF[TARIFF.rindex("[[version]]") :]
    file.write_text(TARIFF + "\n" + last.replace("2026-12-01", "2027-03-01").replace("0.07", "0.08"))
    assert len(told(tollgate, "tariff", "publish", file)) == 3
    assert len(load(house.operator.settings).tariffs.tariff("games").versions) == 3
    file.write_text(TARIFF.replace("0.05", "0.06"))
    assert "stays as it is" in tollgate("tariff", "publish", file, code=1).output
    assert "with 2 version(s)" in _published(tollgate, file, TARIFF)


def _published(tollgate: Any, file: Path, source: str) -> str:
    file.write_text(source)
    return tollgate("tariff", "publish", file).output
