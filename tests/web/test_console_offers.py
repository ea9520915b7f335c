"""The pages of offers: who may do what, whom an offer reaches before it is published, the way back."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from starlette.testclient import TestClient
from web_samples import Site

from operator_server.audit import entries
from operator_server.offering.loading import load
from operator_server.offering.publishing import check_offer
from operator_server.people.roles import ROLES
from operator_server.web.console.base import Form
from operator_server.web.console.offers_form import fields_of, source_of_form

HTML = {"Accept": "text/html"}
MAPS = """# Maps for all
id = "maps"
product = "maps"
kind = "service"
text.en = { title = "Maps" }

[[mode]]
id = "free"
kind = "free"
label = { en = "Free" }
currency = "EUR"
tax_category = "S"
"""
BAD = "<script>alert(1)</script>"


def get(client: TestClient, path: str, status: int = 200) -> str:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == status, answer.text
    return answer.text


def send(client: TestClient, path: str, status: int = 200, **fields: str) -> Any:
    csrf = client.get("/api/v1/me").json()["csrf_token"]
    answer = client.post(path, data={"csrf": csrf, **fields}, headers=HTML)
    assert answer.status_code == status, answer.text
    return answer


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found
    return unescape(found[1])


def written(page: str) -> str:
    found = re.search(r'<textarea[^>]*name="toml"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
    assert found
    return unescape(found[1])


def publish(client: TestClient, source: str, was: str = "", **more: str) -> Any:
    return send(client, "/console/offers/publish", 303, toml=source, was=was, **more)


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_offers_and_only_who_may_write_can_change_them(site: Site, role: str) -> None:
    client, writes = site.logged_on(role), "offers.write" in ROLES[role]
    if "offers.read" not in ROLES[role]:
        for path in ("", "/game", "/game/history"):
            get(client, f"/console/offers{path}", 403)
        send(client, "/console/offers/preview", 403, toml=MAPS)
        return
    page = get(client, "/console/offers")
    assert ">Game</a>" in page
    assert ("/console/offers/-/form" in page) == writes
    one = get(client, "/console/offers/game")
    assert ("/console/offers/game/withdraw" in one) == writes
    get(client, "/console/offers/game/history")
    for path in ("-/form", "-/toml", "game/form", "game/toml"):
        get(client, f"/console/offers/{path}", 200 if writes else 403)
    seen = send(client, "/console/offers/preview", toml=MAPS).text
    assert ("/console/offers/publish" in seen) == writes
    if not writes:
        send(client, "/console/offers/publish", 403, toml=MAPS)
        send(client, "/console/offers/game/withdraw", 403)
        send(client, "/console/offers/game/schedule", 403)
    assert load(site.house.operator.settings).catalogue.get("maps") is None


@pytest.mark.parametrize("path", ["check", "preview", "publish", "game/schedule", "game/withdraw"])
def test_no_form_is_taken_without_its_token(site: Site, path: str) -> None:
    client = site.logged_on("operator")
    del client.headers["X-CSRF-Token"]
    for token in ({}, {"csrf": "0" * 64}):
        answer = client.post(f"/console/offers/{path}", data={"toml": MAPS, **token}, headers=HTML)
        assert answer.status_code == 403
    assert load(site.house.operator.settings).catalogue.get("game") is not None


def test_an_offer_is_written_previewed_and_published(site: Site) -> None:
    client = site.logged_on("operator")
    page = get(client, "/console/offers/-/toml")
    seen = send(client, "/console/offers/preview", toml=MAPS, was=hidden(page, "was"), how="toml").text
    assert "of 3 terminals match" in seen
    assert 'aria-label="Terminals that the offer fits, by model: aurora-3 3"' in seen
    assert load(site.house.operator.settings).catalogue.get("maps") is None
    assert written(seen) == MAPS
    answer = publish(client, written(seen), hidden(seen, "was"))
    assert answer.headers["location"] == "/console/offers/maps"
    assert "maps is published" in get(client, "/console/offers/maps")
    assert (site.house.operator.settings.config_dir / "offers" / "maps.toml").read_text() == MAPS
    with site.house.engine.connect() as connection:
        [entry] = entries(connection, reference="offer/maps")
    assert (entry.actor, entry.action) == ("person:operator", "offer.publish")


def test_what_is_typed_is_checked_with_line_and_key(site: Site) -> None:
    client = site.logged_on("operator")
    fault = send(client, "/console/offers/check", toml=MAPS.replace('"EUR"', '"Euro"'), how="toml").text
    assert "Line 11: <code>mode[0].currency = &#39;Euro&#39;</code>" in fault
    assert "<html" not in fault
    assert "Line 3" in send(client, "/console/offers/check", toml='id = "a"\n\nb = \n', how="toml").text
    good = send(client, "/console/offers/check", toml=MAPS, how="toml").text
    assert "Nothing is wrong" in good
    assert "fits 3 of 3 terminals" in good


def test_a_fault_leads_back_to_what_was_typed_without_script(site: Site) -> None:
    client = site.logged_on("operator")
    source = MAPS.replace('"EUR"', '"Euro"')
    for path in ("preview", "publish"):
        page = send(client, f"/console/offers/{path}", 422, toml=source, how="toml", was="").text
        assert written(page) == source
        assert "mode[0].currency" in page
    good = send(client, "/console/offers/preview", toml=MAPS, how="toml", check="on").text
    assert written(good) == MAPS
    assert "Nothing is wrong" in good


def test_a_name_that_leads_out_of_the_folder_is_refused_by_key(site: Site) -> None:
    client = site.logged_on("operator")
    for name in ("../../evil", "/tmp/evil", "..", "a/b"):
        page = send(client, "/console/offers/publish", 422, toml=MAPS.replace('id = "maps"', f'id = "{name}"')).text
        assert "<code>id = " in page
    assert client.get("/console/offers/..%2f..%2fetc", headers=HTML).status_code in (404, 422)
    assert not list(site.house.folder.rglob("evil*"))


def test_text_of_an_offer_is_text_on_every_page(site: Site) -> None:
    client = site.logged_on("operator")
    source = MAPS.replace('title = "Maps"', f'title = "{BAD}", description = "{BAD}"').replace('"Free"', f'"{BAD}"')
    source = source.replace("# Maps for all", f"# {BAD}</textarea></pre>")
    pages = [
        send(client, "/console/offers/preview", toml=source).text,
        send(client, "/console/offers/check", toml=source + BAD).text,
    ]
    version = publish(client, source).headers["location"]
    offer = load(site.house.operator.settings).catalogue.get("maps")
    assert offer
    paths = ("", "/form", "/toml", "/history", f"/history/{offer.version}")
    pages += [get(client, version + path) for path in paths] + [get(client, "/console/offers")]
    for page in pages:
        assert "<script>" not in page
    assert any("&lt;script&gt;" in page for page in pages)


def test_an_offer_is_scheduled_withdrawn_and_put_back(site: Site) -> None:
    client = site.logged_on("operator")
    publish(client, MAPS)
    send(client, "/console/offers/maps/schedule", 303, **{"from": "2026-12-24T18:00"})
    offer = load(site.house.operator.settings).catalogue.get("maps")
    assert offer
    assert offer.valid_from
    assert offer.valid_from.isoformat() == "2026-12-24T17:00:00+00:00"
    assert "scheduled" in get(client, "/console/offers")
    send(client, "/console/offers/maps/schedule", 422, **{"from": "soon"})
    assert send(client, "/console/offers/maps/withdraw", 303).headers["location"] == "/console/offers"
    gone = get(client, "/console/offers/maps")
    assert "not in the catalogue now" in gone
    first = re.findall(r'href="(/console/offers/maps/history/[^"]+)"', gone)[-1]
    page = get(client, first)
    assert "Maps for all" in page
    seen = send(
        client, "/console/offers/preview", toml=written(page), was=hidden(page, "was"), version=hidden(page, "version")
    ).text
    assert "goes back to version" in seen
    publish(client, written(seen), hidden(seen, "was"), version=hidden(seen, "version"))
    with site.house.engine.connect() as connection:
        done = [entry.action for entry in entries(connection, reference="offer/maps")]
    assert done == ["offer.roll_back", "offer.withdraw", "offer.schedule", "offer.publish"]
    assert "roll-back" in get(client, "/console/offers/maps/history")


def test_who_changed_an_offer_is_told_to_who_may_read_the_trail(site: Site) -> None:
    publish(site.logged_on("operator"), MAPS)
    assert "person:operator" in get(site.logged_on("auditor"), "/console/offers/maps/history")
    assert "person:operator" not in get(site.logged_on("support"), "/console/offers/maps/history")


def test_what_another_changed_meanwhile_is_not_written_over(site: Site) -> None:
    client = site.logged_on("operator")
    page = get(client, "/console/offers/game/toml")
    source, was = written(page), hidden(page, "was")
    publish(client, source.replace('"Game"', '"Chess"'), was)
    answer = send(client, "/console/offers/publish", 409, toml=source.replace('"Game"', '"Go"'), was=was)
    assert "changed meanwhile" in answer.text
    assert "in the catalogue already" in send(client, "/console/offers/publish", 409, toml=source, was="").text


def test_an_offer_is_made_and_changed_in_a_form(site: Site) -> None:
    client = site.logged_on("operator")
    fields = {
        "how": "form", "id": "maps", "product": "maps", "kind": "service", "release": "latest", "priority": "5",
        "language_0": "en", "title_0": "Maps", "description_0": "All\r\nof them", "model": "aurora-*, boreal-*",
        "rejection": "30d", "new_price": "on", "from": "2026-12-01T00:00", "mode_0_id": "month",
        "mode_0_kind": "subscription", "mode_0_label": "By the month", "mode_0_amount": "2.99",
        "mode_0_currency": "EUR", "mode_0_tax_category": "S",
        "mode_0_period": "month", "mode_0_payment": "postpaid", "mode_0_charged": "advance",
    }  # fmt: skip
    seen = send(client, "/console/offers/preview", **fields).text
    publish(client, written(seen), hidden(seen, "was"), **{"from": "2026-12-01T00:00"})
    offer = load(site.house.operator.settings).catalogue.get("maps")
    assert offer
    assert (offer.priority, offer.modes[0].amount, offer.rejection.on_new_price) == (5, 2_990_000, True)
    assert offer.target.hardware == {"model": ("aurora-*", "boreal-*")}
    page = get(client, "/console/offers/maps/form")
    assert 'value="2.99"' in page
    fault = send(client, "/console/offers/preview", 422, **{**fields, "mode_0_amount": "a lot"}).text
    assert "mode[0].amount" in fault
    assert 'value="a lot"' in fault


def test_a_form_keeps_what_it_has_no_field_for(site: Site) -> None:
    client = site.logged_on("operator")
    for offer in load(site.house.operator.settings).catalogue:
        page = get(client, f"/console/offers/{offer.id}/form")
        fields = _fields(page)
        seen = send(client, "/console/offers/preview", **fields).text
        assert "Nothing is published yet" in seen
        assert check_offer(site.house.operator.settings, written(seen)).offer.version == offer.version


def _fields(page: str) -> dict[str, str]:
    found = {
        unescape(name): unescape(value)
        for name, value in re.findall(r'<input[^>]*name="([^"]+)"[^>]*type="(?!checkbox)[^"]*" value="([^"]*)"', page)
    }
    found |= {n: unescape(v) for n, v in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page)}
    for name, options in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options)
        found[name] = unescape(chosen[1]) if chosen else ""
    for name, value in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>\n(.*?)</textarea>', page, re.DOTALL):
        found[name] = unescape(value)
    found |= dict.fromkeys(re.findall(r'<input type="checkbox"[^>]*name="([^"]+)"[^>]* checked', page), "on")
    found.pop("csrf")
    return found


def test_a_list_says_what_to_do_where_there_is_nothing(site: Site) -> None:
    client = site.logged_on("operator")
    assert "No offer is like that" in get(client, "/console/offers?q=nowhere")
    folder = site.house.operator.settings.config_dir / "offers"
    (folder / "shop.toml").unlink()
    page = get(client, "/console/offers")
    assert "There is no offer yet" in page
    assert "/console/offers/-/form" in page
    get(client, "/console/offers/game", 404)
    get(client, "/console/offers/game/toml", 404)


def test_a_broken_folder_is_told_and_nothing_is_published(site: Site) -> None:
    client = site.logged_on("operator")
    (site.house.operator.settings.config_dir / "offers" / "broken.toml").write_text('id = "x"\n')
    page = get(client, "/console/offers")
    assert "broken.toml" in page
    get(client, "/console/offers/game", 409)
    assert "broken.toml" in send(client, "/console/offers/preview", 422, toml=MAPS).text


def test_times_of_a_form_are_on_the_operators_clock() -> None:
    fields = fields_of("valid = { from = 2026-07-01T00:00:00Z, until = 2026-08-01 }", "en", "Europe/Berlin")
    assert (fields["from"], fields["until"]) == ("2026-07-01T02:00", "2026-08-01T00:00")
    with pytest.raises(ValueError, match="is no time"):
        source_of_form(Form([("from", "soon")]), "", "en", "Europe/Berlin")
