"""The guides' pictures of the console: ``make screenshots`` (needs Chromium).

The operator that is shown is made by the product's own functions, as its tests make one; they lend their browser, too.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from PIL import Image
from sqlalchemy import Connection, update

from operator_server.store.configurations import Interrogation
from operator_server.store.feed import sequence
from operator_server.store.parties import Event, Subscriber, TerminalSession
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.configuration import Configuration
from signalling.ids import new_id
from signalling.messages import Reject

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("web", "negotiation", "devices")]

from browsing import served  # noqa: E402
from chromium import PROGRAM, Tab, browser  # noqa: E402
from operator_samples import House, furnish  # noqa: E402
from web_money import whole_life  # noqa: E402
from web_samples import PASSWORD, Site, furnish_people  # noqa: E402

INVOICE = "R-2026-000001"
HEIGHT = {1440: 900, 375: 812}
COLOURS = 64
MAPS = """id = "maps"
product = "maps"
kind = "service"
text.en = { title = "Maps", description = "Where you are, and how to go on." }
target = { model = ["aurora-*"] }

[[mode]]
id = "month"
kind = "subscription"
label = { en = "By the month" }
amount = "2.99"
currency = "EUR"
tax_category = "S"
period = "month"
charged = "advance"
"""
SHOWN: tuple[tuple[str, str, int, bool], ...] = (
    ("overview", "/console", 1440, False),
    ("overview-narrow-dark", "/console", 375, True),
    ("terminal", "/console/terminals/T-2", 1440, False),
    ("offers", "/console/offers", 1440, False),
    ("offer-preview", "/console/offers/-/toml", 1440, False),
    ("offer-narrow", "/console/offers/game", 375, False),
    ("tariff", "/console/tariffs/games", 1440, False),
    ("account", "/console/accounts/A-1", 1440, False),
    ("account-narrow", "/console/accounts/A-1", 375, False),
    ("invoice", f"/console/invoices/{INVOICE}", 1440, False),
    ("line", f"/console/invoices/{INVOICE}/lines/{{line}}", 1440, False),
    ("month-dark", "/console/months/2026-11", 1440, True),
)
"""Name, address, width in pixels, dark."""


def today(house: House) -> None:
    """What the overview shows of a day: logons, purchases, a rejection, a terminal that does not answer."""
    aurora = Configuration(hardware={"model": "aurora-12", "memory_mib": "2048"}, base_software={"os": "5.1"})
    codes = {"T-1": house.interrogated("T-1", aurora), "T-2": house.interrogated("T-2", aurora)}
    codes["T-3"] = house.interrogated("T-3", Configuration(hardware={"model": "boreal-note"}))
    user, other = house.user("T-2"), house.user("T-3", "A-2")
    user.take("hotline", "buy")
    other.take("radio", "monthly")
    other.say(Reject("notes", other.version("notes"), "no need"))
    now, session, people = house.clock.now(), table(TerminalSession), table(Subscriber)

    def happen(connection: Connection) -> None:
        for minute in range(24):
            terminal, at, answered = f"T-{1 + minute % 3}", now - timedelta(minutes=minute), minute != 5
            id = new_id(to_micros(at))
            add(connection, Interrogation(
                id=id, terminal_id=terminal, trigger="logon", at=at,
                outcome="answered" if answered else "no_answer", code=codes[terminal] if answered else None,
                previous_code=codes[terminal], shown="game@1 notes@1 hotline@1" if answered else "",
                reason="" if answered else "nothing came within 30 s",
            ), Event(id=id, at=at, kind="interrogated", terminal_id=terminal, reference=id))  # fmt: skip
        connection.execute(update(session).where(session.c.terminal_id == "T-3").values(unanswered=3))
        connected = update(session).where(session.c.terminal_id != "T-3")
        connection.execute(connected.values(lease_until=now + timedelta(days=400)))
        connection.execute(update(people).where(people.c.id == "A-1").values(name="Erika Muster"))

    house.change(happen)
    while house.change(sequence):
        pass
    house.operator.repository.refresh_timestamp(now)


def logged_on(tab: Tab, address: str) -> None:
    """Somebody who may see everything."""
    tab.go(f"{address}/logon")
    tab.evaluate("document.querySelector('#name').value = 'administrator'")
    tab.evaluate(f"document.querySelector('#password').value = '{PASSWORD}'")
    tab.press("button.first")
    tab.ask("Emulation.setScrollbarsHidden", hidden=True)


def sized(tab: Tab, width: int, height: int) -> None:
    """Make the window this large."""
    tab.ask(
        "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
    )  # fmt: skip


def kept(tab: Tab, name: str, width: int, folder: Path) -> None:
    """The page, at most two windows of it, in few colours: a file of some kilobytes."""
    sized(tab, width, HEIGHT[width])
    whole = int(tab.evaluate("document.documentElement.scrollHeight"))
    height = min(max(whole, HEIGHT[width]), 2 * HEIGHT[width])
    sized(tab, width, height)
    raw = folder / "raw.png"
    tab.picture(raw)
    with Image.open(raw) as picture:
        cut = picture.convert("RGB").crop((0, 0, picture.width, min(picture.height, height)))
        cut.quantize(COLOURS, dither=Image.Dither.NONE).save(IMAGES / f"console-{name}.png", optimize=True)


def main() -> None:
    """Take the pictures."""
    if PROGRAM is None:
        raise SystemExit("chromium is not installed; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "operator").mkdir()
        furnish(folder / "operator")
        house = House(folder / "operator")
        furnish_people(house)
        whole_life(house)
        today(house)
        with house.engine.connect() as connection:
            line = connection.exec_driver_sql(
                "SELECT invoice_line FROM charge WHERE kind = 'use' AND invoice_id IS NOT NULL"
            ).scalar()
        with served(Site(house).app, house.operator) as address, browser(folder / "profile") as tab:
            logged_on(tab, address)
            for name, path, width, dark in SHOWN:
                tab.look(width, dark=dark)
                tab.go(address + path.format(line=line))
                if name == "offer-preview":
                    tab.evaluate(f"document.querySelector('[name=toml]').value = {json.dumps(MAPS)}")
                    tab.press("button.first")
                kept(tab, name, width, folder)
        house.engine.dispose()


if __name__ == "__main__":
    main()
