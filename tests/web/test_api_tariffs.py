"""Tariffs by API: checked, published, a version scheduled and withdrawn, a month tried."""

from __future__ import annotations

import time
from typing import Any

import pytest
from test_console_tariffs import TARIFF, VERSION, use
from web_samples import Site, problem

from operator_server.audit import entries
from operator_server.offering.loading import load

GAMES = "/api/v1/tariffs/games"
TRIED = 'id = "games"\n\n[[version]]\neffective_from = 2026-01-01\n' + VERSION


def versions(site: Site, tariff: str = "games") -> list[str]:
    found = load(site.house.operator.settings).tariffs.tariff(tariff)
    return [version.version_id for version in found.versions]


def trail(site: Site, tariff: str) -> list[tuple[str, Any, Any]]:
    with site.house.engine.connect() as connection:
        return [(row.action, row.before, row.after) for row in entries(connection, reference=f"tariff/{tariff}")]


def test_a_version_is_scheduled_against_what_was_read_and_withdrawn_before_it_holds(site: Site) -> None:
    client, before = site.by("operator"), versions(site)
    read = client.get(f"{GAMES}/source")
    source = read.json()["source"]
    assert ([each["version"] for each in read.json()["versions"]], read.json()["offers"]) == (before, ["game"])
    new = {"toml": VERSION, "effective_from": "2027-01-01"}
    problem(client.post(f"{GAMES}/versions", json=new), 428)
    problem(client.post(f"{GAMES}/versions", json=new, headers={"If-Match": '"stale"'}), 412)
    made = client.post(f"{GAMES}/versions", json=new, headers={"If-Match": read.headers["etag"]})
    assert (made.status_code, made.headers["location"]) == (201, f"{GAMES}/source")
    added = [each for each in versions(site) if each not in before]
    assert len(added) == 1
    assert made.json()["versions"][-1]["effective_from"] == "2026-12-31T23:00:00Z"
    problem(client.post(f"{GAMES}/versions", json=new, headers={"If-Match": read.headers["etag"]}), 412)

    now = client.get(f"{GAMES}/source").headers["etag"]
    problem(client.delete(f"{GAMES}/versions/{added[0]}"), 428)
    problem(client.delete(f"{GAMES}/versions/{added[0]}", headers={"If-Match": read.headers["etag"]}), 412)
    assert "in force" in problem(client.delete(f"{GAMES}/versions/{before[0]}", headers={"If-Match": now}), 422)
    problem(client.delete(f"{GAMES}/versions/none", headers={"If-Match": now}), 404)
    assert client.delete(f"{GAMES}/versions/{added[0]}", headers={"If-Match": now}).status_code == 204
    assert versions(site) == before
    assert client.get(f"{GAMES}/source").json()["source"].strip() == source.strip()
    (withdrawn, was, _), (published, _, _) = trail(site, "games")
    assert (withdrawn, published, was["version"]) == ("tariff.withdraw", "tariff.publish", added[0])


def test_a_tariff_is_checked_published_and_withdrawn_with_its_only_version(site: Site) -> None:
    client = site.by("operator")
    coming = TARIFF.replace("2026-01-01", "2027-01-01")
    assert client.post("/api/v1/tariffs/check", json={"toml": coming}).json()["tariff"] == "calls"
    faults = client.post("/api/v1/tariffs/check", json={"toml": coming.replace('"0.10"', '"-1"')})
    problem(faults, 422)
    assert [each["where"] for each in faults.json()["errors"]] == ["version[0].price.amount"]
    any_ = {"If-Match": "*"}
    assert "the address says" in problem(client.put(GAMES, json={"toml": coming}, headers=any_), 422)
    problem(client.get("/api/v1/tariffs/calls/source"), 404)
    made = client.put("/api/v1/tariffs/calls", json={"toml": coming}, headers=any_)
    assert (made.status_code, made.json()["source"]) == (200, coming)
    read = client.get("/api/v1/tariffs/calls/source")
    assert made.headers["etag"] == read.headers["etag"]
    [version] = versions(site, "calls")
    gone = client.delete(f"/api/v1/tariffs/calls/versions/{version}", headers={"If-Match": read.headers["etag"]})
    assert gone.status_code == 204
    assert not (site.house.operator.settings.config_dir / "tariffs" / "calls.toml").exists()
    assert [action for action, _, _ in trail(site, "calls")] == ["tariff.withdraw", "tariff.publish"]


def test_what_an_offer_charges_by_is_not_withdrawn(site: Site) -> None:
    client, any_ = site.by("operator"), {"If-Match": "*"}
    coming = TARIFF.replace("2026-01-01", "2027-01-01")
    client.put("/api/v1/tariffs/calls", json={"toml": coming}, headers=any_)
    shop = site.house.operator.settings.config_dir / "offers" / "shop.toml"
    shop.write_text(shop.read_text().replace('tariff = "games"', 'tariff = "calls"'))
    [version] = versions(site, "calls")
    told = problem(client.delete(f"/api/v1/tariffs/calls/versions/{version}", headers=any_), 422)
    assert "calls" in told
    assert versions(site, "calls") == [version]


@pytest.mark.parametrize("role", ["billing", "support", "auditor"])
def test_only_operators_change_tariffs(site: Site, role: str) -> None:
    client, any_ = site.by(role), {"If-Match": "*"}
    problem(client.put(GAMES, json={"toml": TARIFF}, headers=any_), 403)
    problem(client.post(f"{GAMES}/versions", json={"toml": VERSION, "effective_from": "2027-01-01"}, headers=any_), 403)
    problem(client.delete(f"{GAMES}/versions/x", headers=any_), 403)
    assert client.get(f"{GAMES}/source").status_code == 200


def test_a_month_is_tried_at_once_and_in_the_background_alike(site: Site) -> None:
    use(site, ("A-1", 12, 10), ("A-2", 40, 800), ("A-1", 1, 10))
    client, body = site.by("support"), {"toml": TRIED, "period": "2026-10"}
    told = client.post("/api/v1/tariffs/simulate", json=body).json()
    assert [(each["account"], each["difference"]) for each in told["accounts"]] == [("A-2", "-4.00"), ("A-1", "1.10")]
    assert (told["total"]["difference"], told["account_count"], told["unrated_count"]) == ("-2.90", 2, 0)
    begun = client.post("/api/v1/tariff-simulations", json=body)
    assert (begun.status_code, begun.json()["result"]) == (202, None)
    end = time.monotonic() + 10
    while (found := client.get(begun.headers["location"]).json())["job"]["state"] == "running":
        assert time.monotonic() < end
        time.sleep(0.02)
    assert (found["job"]["done"], found["job"]["of"]) == (3, 3)
    assert found["result"] == told
    problem(client.get("/api/v1/tariff-simulations/none"), 404)
    nothing = {"toml": TRIED, "period": "2026-09"}
    assert "no use was charged" in problem(client.post("/api/v1/tariffs/simulate", json=nothing), 409)
    assert "USD" not in problem(client.post("/api/v1/tariffs/simulate", json=body | {"toml": "id ="}), 422)


def test_the_console_withdraws_a_version_that_is_to_come_and_no_other(site: Site) -> None:
    old, coming = versions(site)
    client = site.logged_on("operator")
    accept = {"Accept": "text/html"}
    page = client.get(f"{'/console/tariffs/games/version'}?v={coming}", headers=accept).text
    assert "Withdraw this version" in page
    assert "Withdraw" not in client.get(f"/console/tariffs/games/version?v={old}", headers=accept).text
    form = {"csrf": client.headers["X-CSRF-Token"], "version": old}
    refused = client.post("/console/tariffs/games/withdraw", data=form, headers=accept)
    assert (refused.status_code, "stays as it is" in refused.text) == (409, True)
    done = client.post("/console/tariffs/games/withdraw", data=form | {"version": coming}, headers=accept)
    assert (done.status_code, done.headers["location"]) == (303, "/console/tariffs/games")
    assert versions(site) == [old]
    assert client.post("/console/tariffs/games/withdraw", data={"version": old}, headers=accept).status_code == 403
