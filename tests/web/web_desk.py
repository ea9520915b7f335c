"""A person at a browser in the console: pages looked at, forms filled and sent."""

from __future__ import annotations

import re
import time
from typing import Any

from operator_samples import House
from sqlalchemy import select
from starlette.testclient import TestClient
from web_samples import Site

from operator_server.audit import entries
from operator_server.store.dealings import Agreement
from operator_server.store.rows import table

HTML = {"Accept": "text/html"}
SCRIPT = "<script>alert(1)</script>"
NUMBER = "R-2026-000001"
MONTH = "2026-11"
ACCOUNT = "/console/accounts/A-1"
INVOICE = f"/console/invoices/{NUMBER}"


class Desk:
    """A person at a browser who looks at pages and sends their forms."""

    def __init__(self, site: Site, role: str) -> None:
        self.client: TestClient = site.logged_on(role)
        del self.client.headers["X-CSRF-Token"]

    def page(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path, headers=HTML)
        assert answer.status_code == status, answer.text
        if status == 200:
            assert answer.text.count("<h1") == 1
            assert not re.search(r"<script>| style=| on[a-z]+=", answer.text)
        return answer.text

    def hidden(self, on: str, action: str) -> dict[str, str]:
        """The hidden fields of the form of a page that is sent to ``action``."""
        text = self.page(on)
        form = re.search(rf'<form method="post" action="{re.escape(action)}".*?</form>', text, re.S)
        assert form, f"{on} has no form for {action}"
        return dict(re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)"', form[0]))

    def send(self, action: str, fields: dict[str, str], status: int = 303) -> str:
        """Send fields as they are; what the page after says, or the page that says no."""
        answer = self.client.post(action, data=fields, headers=HTML)
        assert answer.status_code == status, answer.text
        if status != 303:
            return re.sub(r"<[^>]*>", "", answer.text)
        after = self.page(answer.headers["location"])
        said = re.search(r'<p class="said good" role="status">(.*?)</p>', after)
        return said[1] if said else ""

    def fill(self, on: str, action: str, status: int = 303, **fields: str) -> str:
        return self.send(action, self.hidden(on, action) | fields, status)


def rows(house: House, model: Any) -> list[Any]:
    with house.engine.connect() as connection:
        return list(connection.execute(select(table(model))))


def trail(house: House) -> list[tuple[str, str]]:
    with house.engine.connect() as connection:
        return [(entry.actor, entry.action) for entry in entries(connection)]


def agreement_of(house: House) -> Any:
    return next(row for row in rows(house, Agreement) if row.account_id == "A-1")


def pages(house: House) -> dict[str, str]:
    """Every page and what it needs."""
    agreement = agreement_of(house).id
    with house.engine.connect() as connection:
        charge = connection.exec_driver_sql("SELECT id FROM charge WHERE invoice_id IS NOT NULL").scalar()
    return {
        "/console/accounts": "accounts.read", ACCOUNT: "accounts.read", f"{ACCOUNT}/ledger": "balances.read",
        f"{ACCOUNT}/agreements/{agreement}": "agreements.read", "/console/invoices": "invoices.read",
        INVOICE: "invoices.read", f"{INVOICE}/lines/1": "invoices.read",
        f"{INVOICE}/charges/{charge}": "charges.read", "/console/months": "bill_runs.read",
        f"/console/months/{MONTH}": "bill_runs.read",
    }  # fmt: skip


def waited(desk: Desk, month: str) -> str:
    """The page of the month once its job has ended."""
    for _ in range(200):
        text = desk.page(month)
        if "is under way" not in text:
            return text
        time.sleep(0.05)
    raise AssertionError("the job never ended")
