"""Roaming: what operators owe each other in a month, record by record, and where the two sides differ."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from sqlalchemy import select

from operator_server.store.rows import matching, table
from operator_server.store.visited import SettlementRecord
from operator_server.visited.faults import VisitedError
from operator_server.visited.partners import partners
from operator_server.visited.reconciling import open_disputes
from operator_server.visited.records import month_span, sums_of
from operator_server.web.calls import Call
from operator_server.web.console.base import Section, View, listing, show
from operator_server.web.pages import PageOf

section = Section("Roaming", "/console/roaming", needs="roaming.read")


@section.page(needs="roaming.read")
def roaming(
    call: Call,
    paging: PageOf,
    month: Annotated[str, Query(max_length=16)] = "",
    network: Annotated[str, Query(max_length=64)] = "",
    direction: Literal["", "receivable", "payable"] = "",
) -> View:
    """Settlement records of a month, with what they come to by partner."""
    wanted, fault = month.strip() or f"{call.now:%Y-%m}", ""
    try:
        begin, end = month_span(wanted)
    except VisitedError:
        wanted, fault = f"{call.now:%Y-%m}", "A month is written like 2026-11."
        begin, end = month_span(wanted)
    rows = table(SettlementRecord)
    query = select(rows).where(rows.c.agreed_at >= begin, rows.c.agreed_at < end)
    query = matching(query, (rows.c.network, network.strip()), (rows.c.direction, direction))
    found: Any = listing(call, query, [rows.c.agreed_at, rows.c.id], paging, lambda row: row, newest_first=True)
    sums = [
        each
        for each in sums_of(call.connection, begin, end, network.strip())
        if not direction or each.direction == direction
    ]
    return show(
        "roaming.html", 422 if fault else 200, list=found, sums=sums, disputes=open_disputes(call.connection),
        partners=partners(call.connection), month=wanted, network=network.strip(), direction=direction, fault=fault,
    )  # fmt: skip
