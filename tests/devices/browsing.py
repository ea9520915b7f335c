"""Pages in a real browser: served on a port of their own, looked at, and what the browser complains of."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from chromium import PROGRAM, Tab, browser

from operator_server.context import Operator
from operator_server.web.server import EmbeddedServer, bind, make_config, serve_here

IN_BROWSER = [pytest.mark.peer, pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed")]
"""Marks of tests that need it."""

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


@contextmanager
def served(app: Any, operator: Operator) -> Iterator[str]:
    """The address of an application for browsers, with the operator's certificate."""
    keys, listener = operator.keys, bind("127.0.0.1", 0)
    server = EmbeddedServer(make_config(app, str(keys.certificate), str(keys.private_key)))
    thread = threading.Thread(target=lambda: asyncio.run(serve_here(server, listener)), daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    with browser(tmp_path / "profile") as tab:
        yield tab


def fits(tab: Tab, name: str, folder: Path) -> None:
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


def faults(tab: Tab) -> list[str]:
    """What the browser complains of: what was blocked, requests that failed, errors of scripts, dialogs."""
    tab.evaluate("1")
    entries = [e["params"]["entry"] for e in tab.events if e.get("method") == "Log.entryAdded"]
    return [
        *(f"{e['source']}: {e['text']}" for e in entries if "favicon" not in e.get("url", "")),
        *(str(e) for e in tab.events if e.get("method") == "Runtime.exceptionThrown"),
        *("a dialog opened" for e in tab.events if e.get("method") == "Page.javascriptDialogOpening"),
    ]
