"""The audit trail: who changed what, when, from what to what."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Query

from operator_server.store.people import AuditEntry
from operator_server.store.rows import table
from operator_server.web.calls import Call
from operator_server.web.console import audit_data as data
from operator_server.web.console.base import Section, View, listing, show
from operator_server.web.pages import PageOf

section = Section("Audit", "/console/audit", needs="audit.read")

PAGES = {
    "account": "/console/accounts/", "terminal": "/console/terminals/", "invoice": "/console/invoices/",
    "offer": "/console/offers/",
}  # fmt: skip


@section.page(needs="audit.read")
def audit(
    call: Call,
    paging: PageOf,
    who: Annotated[str, Query(max_length=160)] = "",
    what: Annotated[str, Query(max_length=320)] = "",
    begin: Annotated[str, Query(max_length=10, alias="from")] = "",
    end: Annotated[str, Query(max_length=10, alias="to")] = "",
) -> View:
    """Changes, newest first."""
    zone, faults = call.operator.settings.operator.time_zone, {}
    days: dict[str, date | None] = {"from": None, "to": None}
    for name, text in (("from", begin), ("to", end)):
        try:
            days[name] = date.fromisoformat(text) if text else None
        except ValueError:
            faults[name] = "A date is written like 2026-11-30."
    first, last = days["from"], days["to"]
    query = data.search(
        call.connection, who.strip(), what.strip(), data.midnight(first, zone) if first else None,
        data.after_day(last, zone) if last else None,
    )  # fmt: skip
    found = listing(call, query, [table(AuditEntry).c.id], paging, _told, newest_first=True)
    return show(
        "audit.html", 422 if faults else 200, found=found, who=who, what=what, first=begin, last=end, faults=faults
    )


def _told(row: Any) -> tuple[Any, list[data.Difference], str]:
    """An entry, its differences, and the page of what it is about."""
    kind, _, id = row.reference.partition("/")
    return row, data.differences(row.before, row.after), PAGES[kind] + quote(id, safe="") if kind in PAGES else ""
