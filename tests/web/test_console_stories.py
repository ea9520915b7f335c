"""What the console is for, in a real browser: an offer put live and taken, a month billed and fetched.

The third story, from a disputed line to its evidence and its credit note, is in ``test_console_money_browser``.
"""

from __future__ import annotations

import json
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from browsing import IN_BROWSER, faults, served
from chromium import Tab
from console_browsing import logged_on
from operator_samples import House
from web_samples import Site

from operator_server.billing.proof import verify_billing
from operator_server.store.accounting import InvoiceRow
from signalling.configuration import Configuration

pytestmark = [*IN_BROWSER, pytest.mark.slow]

MAPS = """id = "maps"
product = "maps"
kind = "service"
text.en = { title = "Maps" }
target = { model = ["aurora-*"] }

[[mode]]
id = "buy"
kind = "one_off"
label = { en = "Open them" }
amount = "2.00"
currency = "EUR"
tax_category = "S"
"""


def text(tab: Tab) -> str:
    return str(tab.evaluate("document.querySelector('main').innerText"))


def typed(tab: Tab, name: str, value: str) -> None:
    """Type into a field, as far as scripts of the page can tell."""
    field = f"document.querySelector('[name={name}]')"
    tab.evaluate(f"{field}.value = {json.dumps(value)}")
    tab.evaluate(f"{field}.dispatchEvent(new Event('input', {{bubbles: true}}))")


def test_an_offer_is_published_after_its_preview_and_a_terminal_takes_it(tab: Tab, site: Site) -> None:
    house = site.house
    house.interrogated("T-3", Configuration(hardware={"model": "boreal-note"}))
    with served(site.app, site.house.operator) as address:
        logged_on(tab, address, "operator")
        tab.go(f"{address}/console/offers")
        tab.press("a[href='/console/offers/-/toml']")
        typed(tab, "toml", MAPS.replace('"2.00"', '"two"'))
        tab.wait("document.querySelector('#checked').textContent.includes('mode[0].amount')")
        typed(tab, "toml", MAPS)
        tab.wait("document.querySelector('#checked').textContent.includes('maps fits 2 of 3 terminals')")
        tab.press("button.first")
        assert "Nothing is published yet" in text(tab)
        assert "of 3 terminals match" in text(tab)
        assert "aurora-3" in text(tab)
        assert "boreal" not in tab.evaluate("document.querySelector('[aria-labelledby=audience]').innerText")
        house.take_over()
        assert "maps" not in house.user().menu()
        tab.press("form[action='/console/offers/publish'] button.first")
        assert "maps is published" in text(tab)
        house.take_over()
        assert "maps" not in house.user("T-3", "A-2").menu()
        house.user().take("maps", "buy")
        tab.go(f"{address}/console/terminals/T-1")
        [row] = tab.evaluate(
            "[...document.querySelectorAll('tr')].map(e => e.innerText).filter(e => e.includes('buy (one off)'))"
        )
        assert "maps" in row
        assert "2.00 EUR" in row
        assert faults(tab) == []


def bought(house: House) -> None:
    """Two customers, who owe for November; it is December."""
    house.user().take("game", "buy")
    house.user("T-3", "A-2").take("game", "buy")
    house.clock.advance(timedelta(days=32))


def test_a_month_is_run_approved_and_its_pdfs_are_fetched(tab: Tab, site: Site, tmp_path: Path) -> None:
    bought(site.house)
    with served(site.app, site.house.operator) as address:
        logged_on(tab, address, "billing")
        tab.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        tab.go(f"{address}/console/months")
        tab.press("a[href='/console/months/2026-11']")
        tab.evaluate("document.querySelector('[name=how]').value = 'draft'")
        tab.press("form[action$='/run'] button")
        tab.wait("document.body.innerText.includes('Approve 2 drafts')")
        assert site.house.rows(InvoiceRow) == []
        tab.press("form[action$='/approve'] button")
        tab.evaluate("window.confirm = () => true")
        tab.press("form[action$='/finalise'] button")
        tab.wait("document.querySelector('a[download]') !== null")
        tab.evaluate("document.querySelector('a[download]').click()")
        tab.wait("document.body.innerText.includes('All 2 invoices are in the archive')")
        with zipfile.ZipFile(tmp_path / "invoices-2026-11.zip") as archive:
            files = [archive.read(name) for name in archive.namelist() if name.endswith(".pdf")]
        assert [file[:5] for file in files] == [b"%PDF-"] * 2
        with site.house.engine.connect() as connection:
            assert list(verify_billing(connection)) == []
        assert faults(tab) == []
