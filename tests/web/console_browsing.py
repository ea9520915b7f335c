"""The console in a real browser: logging on, and how its pages have to look."""

from __future__ import annotations

from pathlib import Path

from browsing import fits
from chromium import Tab
from web_samples import PASSWORD


def logged_on(tab: Tab, address: str, name: str) -> None:
    tab.go(f"{address}/logon")
    tab.evaluate(f"document.querySelector('#name').value = '{name}'")
    tab.evaluate(f"document.querySelector('#password').value = '{PASSWORD}'")
    tab.press("button.first")


def looked_at(tab: Tab, name: str, folder: Path) -> None:
    """It fits, every table has a caption, and there is one main part."""
    fits(tab, name, folder)
    assert tab.evaluate("[...document.querySelectorAll('table')].filter(e => !e.caption).length") == 0
    assert tab.evaluate("document.querySelectorAll('main').length") == 1
