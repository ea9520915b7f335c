"""The offers page in a real browser, over a real connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import IN_BROWSER, faults, fits, served
from chromium import Tab
from device_samples import DeviceHouse

from operator_server.store.accounting import Charge
from operator_server.store.dealings import Agreement

pytestmark = IN_BROWSER


@pytest.fixture
def address(house: DeviceHouse) -> Iterator[str]:
    with served(house.app, house.operator) as address:
        yield address


def looked_at(tab: Tab, name: str, folder: Path) -> None:
    """It fits, and says in which language it is."""
    fits(tab, name, folder)
    assert tab.evaluate("document.documentElement.lang") in ("en", "de")


@pytest.mark.parametrize("device", ["D-1", "D-2"])
def test_a_user_goes_from_the_link_to_the_agreement(
    house: DeviceHouse, address: str, tab: Tab, device: str, tmp_path: Path
) -> None:
    link = address + house.link(device).removeprefix("https://localhost:7780")
    tab.go(link)
    looked_at(tab, f"{device}-link", tmp_path)
    tab.press("main button")
    assert tab.evaluate("location.pathname") == "/offers"
    looked_at(tab, f"{device}-menu", tmp_path)
    tab.evaluate("document.getElementById('volume-limit').value = '0.5'")
    tab.press("button[value=request]")
    looked_at(tab, f"{device}-quote", tmp_path)
    tab.press("button[value=confirm]")
    looked_at(tab, f"{device}-taken", tmp_path)
    tab.press("main a.button")
    looked_at(tab, f"{device}-have", tmp_path)
    [agreement] = house.rows(Agreement)
    assert (agreement.product, agreement.spending_limit, agreement.state) == ("volume", 2_000_000, "installed")
    tab.go(link)
    looked_at(tab, f"{device}-used", tmp_path)
    tab.press("main a.button")
    assert tab.evaluate("location.pathname") == "/offers"
    assert [fault for fault in faults(tab) if "410" not in fault] == []


def test_it_works_by_keyboard_with_scripts_switched_off(house: DeviceHouse, address: str, tab: Tab) -> None:
    tab.ask("Emulation.setScriptExecutionDisabled", value=True)
    tab.go(address + house.link().removeprefix("https://localhost:7780"))
    reach(tab, "main button")
    tab.key("Enter", "\r")
    tab.wait("location.pathname == '/offers' && document.readyState == 'complete'")
    reach(tab, "section[aria-labelledby=title-hotline] button[value=request]")
    tab.key("Enter", "\r")
    tab.wait("location.pathname.startsWith('/offers/quote/') && document.readyState == 'complete'")
    reach(tab, "button[value=confirm]")
    tab.key("Enter", "\r")
    tab.wait("location.pathname.startsWith('/offers/taken/')")
    assert [row.net for row in house.rows(Charge)] == [5_000_000]


def reach(tab: Tab, selector: str) -> None:
    """Go to an element by the tabulator; where one is must be seen."""
    for _ in range(60):
        if tab.evaluate(f"document.activeElement === document.querySelector('{selector}')"):
            assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            return
        tab.key("Tab")
    raise AssertionError(f"the keyboard does not reach {selector}")
