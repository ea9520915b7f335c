"""Offers and tariffs in a real browser: how their pages look, and a month tried with a chart of who pays more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import IN_BROWSER, faults, served
from chromium import Tab
from console_browsing import logged_on, looked_at
from operator_samples import MAPS
from test_console_tariffs import VERSION, use
from web_samples import Site

from operator_server.offering.loading import load

pytestmark = IN_BROWSER


@pytest.fixture
def address(site: Site) -> Iterator[str]:
    use(site, ("A-1", 12, 10), ("A-2", 40, 800))
    with served(site.app, site.house.operator) as address:
        yield address


def text(tab: Tab) -> str:
    return str(tab.evaluate("document.querySelector('main').innerText"))


@pytest.mark.slow
def test_the_pages_look_well_and_the_browser_complains_of_nothing(
    tab: Tab, address: str, site: Site, tmp_path: Path
) -> None:
    coming = load(site.house.operator.settings).tariffs.tariff("games").versions[-1].version_id
    logged_on(tab, address, "administrator")
    for name, path in (
        ("offers", "/console/offers"), ("offer", "/console/offers/game"), ("history", "/console/offers/game/history"),
        ("form", "/console/offers/-/form"), ("toml", "/console/offers/-/toml"), ("tariffs", "/console/tariffs"),
        ("tariff", "/console/tariffs/games"), ("version", f"/console/tariffs/games/version?v={coming}"),
        ("explain", "/console/tariffs/games/explain?quantity=25&at=2026-11-03T10:00&used=3&destination="),
        ("simulate", "/console/tariffs/games/simulate"), ("new-version", "/console/tariffs/games/new-version"),
    ):  # fmt: skip
        tab.go(f"{address}{path}")
        tab.evaluate("document.querySelectorAll('main details').forEach(e => { e.open = true })")
        looked_at(tab, f"catalogue-{name}", tmp_path)
    assert faults(tab) == []
    tab.go(f"{address}/console/offers/nothing/at/all")
    looked_at(tab, "catalogue-nowhere", tmp_path)


def test_a_month_is_tried_with_other_prices_and_the_page_shows_who_pays_more(
    tab: Tab, address: str, tmp_path: Path
) -> None:
    logged_on(tab, address, "operator")
    tab.go(f"{address}/console/tariffs/games/simulate")
    tab.evaluate("document.querySelector('[name=month]').value = '2026-10'")
    tab.evaluate(f"document.querySelector('[name=toml]').value = {json.dumps(VERSION)}")
    tab.press("form[action$='/simulate'] button.first")
    tab.wait("document.body.innerText.includes('The largest differences')")
    assert "-4.00 EUR" in text(tab)
    assert tab.evaluate("document.querySelectorAll('main svg').length") == 2
    looked_at(tab, "catalogue-tried", tmp_path)
    assert faults(tab) == []


def test_a_version_to_come_is_withdrawn_and_an_offer_checked_as_one_types(tab: Tab, address: str, site: Site) -> None:
    logged_on(tab, address, "operator")
    tab.go(f"{address}/console/tariffs/games")
    tab.press("tbody tr:first-child a")
    tab.evaluate("window.confirm = () => true")
    tab.press("form[action$='/withdraw'] button")
    assert "is withdrawn" in text(tab)
    assert len(load(site.house.operator.settings).tariffs.tariff("games").versions) == 1
    tab.go(f"{address}/console/offers/-/toml")
    field = "document.querySelector('[name=toml]')"
    tab.evaluate(f"{field}.value = {json.dumps(MAPS.replace('service', 'serivce'))}")
    tab.evaluate(f"{field}.dispatchEvent(new Event('input', {{bubbles: true}}))")
    tab.wait("document.querySelector('#checked').textContent.includes('serivce')")
    assert faults(tab) == []
