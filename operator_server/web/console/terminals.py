"""Terminals: find one, see what it is made of, what it is offered and why not, and interrogate it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from sqlalchemy import Connection

from operator_server.negotiation.why import NothingOffered, explain_terminal
from operator_server.store.configurations import Interrogation, InterrogationOrder
from operator_server.store.parties import Terminal
from operator_server.store.rows import add, table
from operator_server.web.api.forms import Identifier
from operator_server.web.calls import Call
from operator_server.web.console import terminals_data as data
from operator_server.web.console.base import Moved, Section, View, listing, moved, show
from operator_server.web.pages import PageOf
from operator_server.web.problems import Problem
from signalling.clock import to_micros
from signalling.configuration import SECTIONS
from signalling.ids import new_id

section = Section("Terminals", "/console/terminals", needs="terminals.read")

READS = "terminals.read"
TITLES = {
    "hardware": "Hardware", "firmware": "Firmware", "base_software": "Base software",
    "catalogue_items": "Installed by us",
}  # fmt: skip
STATES = Literal["", "online", "silent", "gaps", "failed", "never", "revoked"]


@section.page(needs=READS)
def terminals(
    call: Call,
    paging: PageOf,
    id: Annotated[str, Query(max_length=64)] = "",
    user: Annotated[str, Query(max_length=64)] = "",
    model: Annotated[str, Query(max_length=64)] = "",
    code: Annotated[str, Query(max_length=64)] = "",
    state: STATES = "",
) -> View:
    """Terminals, by what one knows of them."""
    begin = code.strip().lower()
    fault = "" if set(begin) <= set("0123456789abcdef") else "A code has the digits 0 to 9 and a to f."
    wanted = data.Search(id.strip(), user.strip(), model.strip(), "" if fault else begin, state)
    query = data.search(call.connection, wanted, call.now)
    found = listing(call, query, [table(Terminal).c.id], paging, lambda row: row)
    return show(
        "terminals.html", 422 if fault else 200, found=found, wanted=wanted, code=code, fault=fault, now=call.now,
        states=list(data.STATES.items()), models=data.models(call.connection, [row.code for row in found.items]),
    )  # fmt: skip


@section.page("/{terminal}", needs=READS)
def terminal(call: Call, terminal: Identifier) -> View:
    """One terminal."""
    row, connection = _one(call, terminal), call.connection
    explained, refused = None, ""
    try:
        explained = explain_terminal(connection, call.web.offers, terminal, call.now)
    except NothingOffered as no:
        refused = str(no)
    asked = table(Interrogation)
    newest = connection.execute(
        data.interrogations(terminal).order_by(asked.c.at.desc(), asked.c.id.desc()).limit(10)
    ).all()  # fmt: skip
    may = call.caller.permissions.__contains__
    deals, uses = may("agreements.read"), may("usage.read")
    return show(
        "terminal.html", row=row, now=call.now, explained=explained, refused=refused,
        account=data.account_of(connection, row.subscriber_id),
        configuration=data.configurations(connection, [row.code]).get(row.code), titles=TITLES,
        orders=data.orders(connection, terminal), asked=_told(connection, newest),
        agreements=data.agreements(connection, terminal) if deals else None,
        rejections=data.rejections(connection, row.subscriber_id) if may("rejections.read") else None,
        counters=data.counters(connection, terminal) if uses else None,
        gaps=data.gaps(connection, terminal) if uses else (),
        odd=data.refused_reports(connection, terminal) if uses else (),
        notices=data.notices(connection, terminal), sent=data.sent_out(connection, terminal),
        device=data.device(connection, terminal), card=data.card(connection, terminal),
    )  # fmt: skip


@section.page("/{terminal}/orders", needs=READS)
def orders(call: Call, terminal: Identifier) -> View:
    """What became of orders to interrogate it: a piece of its page."""
    return show("terminal_orders.html", orders=data.orders(call.connection, _one(call, terminal).id))


@section.page("/{terminal}/interrogations", needs=READS)
def interrogations(call: Call, terminal: Identifier, paging: PageOf) -> View:
    """All that the terminal was asked and answered."""
    row, asked = _one(call, terminal), table(Interrogation)
    found = listing(
        call, data.interrogations(terminal), [asked.c.at, asked.c.id], paging, lambda each: each, newest_first=True
    )  # fmt: skip
    return show(
        "terminal_interrogations.html", row=row, found=found, asked=_told(call.connection, found.items), titles=TITLES
    )


@section.form("/{terminal}/interrogate", needs="terminals.interrogate")
def interrogate(call: Call, terminal: Identifier) -> Moved:
    """Interrogate the terminal now, whoever holds its link."""
    row, order = _one(call, terminal), new_id(to_micros(call.now))
    online = row.lease_until is not None and row.lease_until > call.now

    def place(connection: Connection) -> None:
        add(connection, InterrogationOrder(id=order, terminal_id=terminal, ordered_at=call.now))
        call.audited(connection, "terminal.interrogate", f"terminal/{terminal}", None, {"order": order})

    call.write(place)
    said = "It is being asked; the outcome appears under Interrogations."
    if not online:
        said = "It is ordered. The terminal is not on line, so nothing may come of it."
    return moved(f"/console/terminals/{terminal}", said, "good" if online else "warn")


def _one(call: Call, terminal: str) -> Any:
    row = data.one(call.connection, terminal, call.now)
    if row is None:
        raise Problem(404, f"terminal {terminal}: is not enrolled; `tollgate terminal enroll` adds one")
    return row


def _told(connection: Connection, rows: Any) -> list[tuple[Any, list[data.Change] | None]]:
    """Each interrogation with what had changed; ``None`` where the answer before is not known."""
    codes = [code for row in rows if row.changed for code in (row.code, row.previous_code)]
    known = data.configurations(connection, codes)
    told = []
    for row in rows:
        before, after = known.get(row.previous_code), known.get(row.code)
        both = row.changed and before is not None and after is not None
        told.append((row, data.differences(before, after) if both and before and after else None))
    return told


assert tuple(TITLES) == SECTIONS
