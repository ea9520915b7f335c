"""The offers page in a real browser, over a real connection."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import PROGRAM, Tab, browser
from device_samples import DeviceHouse

from operator_server.store.accounting import Charge
from operator_server.store.dealings import Agreement
from operator_server.web.server import EmbeddedServer, bind, make_config, serve_here

pytestmark = [pytest.mark.peer, pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed")]

PICTURES = os.environ.get("TOLLGATE_PICTURES", "")
"""Folder that the pictures are kept in."""

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CONTRAST = """
(() => {
  const canvas = document.createElement('canvas').getContext('2d');
  const rgb = text => { const m = text.match(/[\\d.]+/g).map(Number); return m.length == 4 && m[3] == 0 ? null : m; };
  const light = ([r, g, b]) => { const f = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
  const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c) return c; } return [255, 255, 255]; };
  let worst = [99, ''];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())) continue;
    const a = light(rgb(getComputedStyle(e).color)), b = light(ground(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < worst[0]) worst = [ratio, e.textContent.trim().slice(0, 40)];
  }
  return worst;
})()
"""
UNNAMED = """
[...document.querySelectorAll('input:not([type=hidden])')].filter(e => !e.labels.length).length
"""


@pytest.fixture
def address(house: DeviceHouse) -> Iterator[str]:
    keys, listener = house.operator.keys, bind("127.0.0.1", 0)
    server = EmbeddedServer(make_config(house.app, str(keys.certificate), str(keys.private_key)))
    port = listener.getsockname()[1]
    thread = threading.Thread(target=lambda: asyncio.run(serve_here(server, listener)), daemon=True)
    thread.start()
    yield f"https://localhost:{port}"
    server.should_exit = True
    thread.join(timeout=20)


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    with browser(tmp_path / "profile") as tab:
        yield tab


def looked_at(tab: Tab, name: str, folder: Path) -> None:
    """Good at both widths, light and dark: nothing sticks out, every text can be read, every field has a name."""
    for width in (375, 1440):
        for dark in (False, True):
            tab.look(width, dark=dark)
            assert tab.evaluate(OVERFLOW) <= 0, (name, width)
            ratio, text = tab.evaluate(CONTRAST)
            assert ratio >= 4.5, (name, width, dark, ratio, text)
            tab.picture((Path(PICTURES) if PICTURES else folder) / f"{name}-{width}-{'dark' if dark else 'light'}.png")
    assert tab.evaluate(UNNAMED) == 0
    assert tab.evaluate("document.querySelectorAll('h1').length") == 1
    assert tab.evaluate("document.documentElement.lang") in ("en", "de")


def faults(tab: Tab) -> list[str]:
    """What the browser complains of: blocked styles, scripts that ran, failed requests."""
    tab.evaluate("1")
    entries = [e["params"]["entry"] for e in tab.events if e.get("method") == "Log.entryAdded"]
    return [f"{e['source']}: {e['text']}" for e in entries if "favicon" not in e.get("url", "")] + [
        "a dialog opened" for e in tab.events if e.get("method") == "Page.javascriptDialogOpening"
    ]


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
