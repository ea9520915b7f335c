"""Accounts, invoices and months in a real browser, at both widths, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import IN_BROWSER, faults, served
from chromium import Tab
from console_browsing import logged_on, looked_at
from web_money import whole_life
from web_samples import Site

pytestmark = IN_BROWSER
NUMBER = "R-2026-000001"


@pytest.fixture
def address(site: Site) -> Iterator[str]:
    whole_life(site.house)
    with served(site.app, site.house.operator) as address:
        yield address


@pytest.mark.slow
def test_the_pages_look_well_and_the_browser_complains_of_nothing(
    tab: Tab, address: str, site: Site, tmp_path: Path
) -> None:
    with site.house.engine.connect() as connection:
        find = connection.exec_driver_sql
        radio = find("SELECT id FROM agreement WHERE offer_id = 'radio'").scalar()
        charge, line = find(
            "SELECT id, invoice_line FROM charge WHERE kind = 'use' AND invoice_id IS NOT NULL ORDER BY id DESC"
        ).first() or ("", "")
    logged_on(tab, address, "administrator")
    for name, path in (
        ("accounts", "/console/accounts"), ("account", "/console/accounts/A-1"),
        ("ledger", "/console/accounts/A-1/ledger"), ("agreement", f"/console/accounts/A-1/agreements/{radio}"),
        ("nobody", "/console/accounts?q=nobody"), ("invoices", "/console/invoices"),
        ("invoice", f"/console/invoices/{NUMBER}"), ("line", f"/console/invoices/{NUMBER}/lines/{line}"),
        ("charge", f"/console/invoices/{NUMBER}/charges/{charge}"), ("months", "/console/months"),
        ("month", "/console/months/2026-11"), ("open-month", "/console/months/2026-12"),
    ):  # fmt: skip
        tab.go(f"{address}{path}")
        tab.evaluate("document.querySelectorAll('main details').forEach(e => { e.open = true })")
        looked_at(tab, f"money-{name}", tmp_path)
    assert faults(tab) == []


def test_a_disputed_line_is_followed_to_its_evidence_and_credited(tab: Tab, address: str) -> None:
    logged_on(tab, address, "billing")
    tab.go(f"{address}/console/invoices?q={NUMBER}")
    assert tab.evaluate("location.pathname") == f"/console/invoices/{NUMBER}"
    row = "[...document.querySelectorAll('tbody tr')].find(e => e.textContent.includes('per use'))"
    line = tab.evaluate(f"{row}.querySelector('a').getAttribute('href')")
    tab.go(f"{address}{line}")
    assert "all evidence is valid" in tab.evaluate("document.body.textContent")
    tab.go(address + tab.evaluate("document.querySelector('a[href*=\"/charges/\"]').getAttribute('href')"))
    assert "computed again, the same" in tab.evaluate("document.body.textContent")
    tab.go(f"{address}/console/invoices/{NUMBER}")
    number = line.rpartition("/")[2]
    tab.evaluate("window.confirm = () => true")
    tab.evaluate(f"document.querySelector('#net-{number}').value = '1.00'")
    tab.evaluate("document.querySelector('#credit-reason').value = 'was down'")
    tab.press("form[action$='/credit'] button")
    assert "takes back 1.19 EUR" in tab.evaluate("document.querySelector('.said.good').textContent")
    assert faults(tab) == []


def test_the_archive_of_a_month_is_fetched_and_the_page_tells_when_it_is_whole(
    tab: Tab, address: str, tmp_path: Path
) -> None:
    logged_on(tab, address, "billing")
    tab.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    tab.go(f"{address}/console/months/2026-11")
    tab.evaluate("document.querySelector('a[download]').click()")
    tab.wait("document.body.textContent.includes('All 2 invoices are in the archive')")
    assert (tmp_path / "invoices-2026-11.zip").is_file()
