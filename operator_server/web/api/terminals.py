"""Terminals: who has them, what they are made of, what they were asked and offered; and interrogating them now."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection, Select, select

from offers.why import Why
from operator_server import parties
from operator_server.negotiation.why import NothingOffered, explain_terminal
from operator_server.offering.live import read_configuration
from operator_server.parties import PartyError
from operator_server.store.configurations import ConfigurationRow, Interrogation, InterrogationOrder
from operator_server.store.parties import Binding, Notice, Terminal, TerminalSession
from operator_server.store.rows import add, matching, table
from operator_server.web.api.forms import PLAIN, Form, Identifier, IdFilter
from operator_server.web.calls import Answer, Call, IfMatch
from operator_server.web.console.terminals_data import of_model
from operator_server.web.pages import Page, PageOf, listed, page
from operator_server.web.problems import Problem, the_row
from operator_server.web.routes import Routes
from signalling.clock import to_micros
from signalling.configuration import SECTIONS
from signalling.ids import new_id

routes = Routes("Terminals", "/api/v1")

Code = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="Configuration code, hexadecimal")]
READS = "terminals.read"


class TerminalView(BaseModel):
    """A terminal, its user and where it is."""

    id: str
    label: str
    status: str
    enrolled_at: datetime
    revoked_at: datetime | None
    subscriber: str | None
    online: bool = Field(description="Whether a link process holds it now")
    code: str | None = Field(description="Configuration code of its last answer")
    interrogated_at: datetime | None
    unanswered: int = Field(description="Inquiries since the last answer")


class ConfigurationView(BaseModel):
    """What terminals of one code are made of; a code is a claim of the terminal, not an attestation."""

    code: str
    first_terminal: str
    first_seen_at: datetime
    sections: dict[str, dict[str, str]]


class ConfigurationSummary(BaseModel):
    """A configuration code."""

    code: str
    first_terminal: str
    first_seen_at: datetime


class InterrogationView(BaseModel):
    """An inquiry and its outcome."""

    id: str
    terminal: str
    trigger: str
    at: datetime
    outcome: str
    code: str | None
    changed: list[str] = Field(description="Sections that differ from the answer before")
    shown: list[str] = Field(description="Versions of the offers that went out as its menu")
    reason: str


class OrderView(BaseModel):
    """An order to interrogate a terminal now."""

    id: str
    terminal: str
    ordered_at: datetime
    state: str = Field(description="open, done, no_answer or not_connected")
    interrogation: InterrogationView | None


class ObjectionView(BaseModel):
    """A filter that keeps an offer out."""

    filter: str = Field(
        description="release, configuration, present, rejected, time, group, package, price, agreement or dependency"
    )
    text: str


class ExplainedOffer(BaseModel):
    """Whether an offer is shown on a terminal, and every filter that keeps it out."""

    offer: str
    product: str
    release: str = Field(description="What would be delivered; empty where none is published")
    shown: bool
    reasons: list[str] = Field(description="What the objections say")
    objections: list[ObjectionView]


class NoticeView(BaseModel):
    """A message to a terminal's user."""

    id: str
    kind: str
    subject: str
    text: str
    created_at: datetime
    sent_at: datetime | None
    read_at: datetime | None


class TerminalChange(Form):
    """What is to be changed; what is left out stays."""

    status: Literal["revoked"] | None = Field(default=None, description="`revoked` refuses its logons from now on")
    subscriber: str | None = Field(default=None, min_length=1, max_length=64, description="Who uses it from now on")
    reason: str = Field(default="", max_length=500)


class EnrolForm(Form):
    """A terminal to make known."""

    id: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:@-]{1,64}$")
    public_key: str = Field(pattern=r"^[0-9a-fA-F]{64}$", description="Ed25519, 64 hexadecimal digits")
    subscriber: str = Field(min_length=1, max_length=64)
    label: str = Field(default="", max_length=200, json_schema_extra=PLAIN)


def _terminals() -> Select[Any]:
    terminal, binding, session = table(Terminal), table(Binding), table(TerminalSession)
    return (
        select(
            terminal, binding.c.subscriber_id, session.c.lease_until, session.c.code, session.c.interrogated_at,
            session.c.unanswered,
        )
        .outerjoin(binding, (binding.c.terminal_id == terminal.c.id) & binding.c.valid_to.is_(None))
        .outerjoin(session, session.c.terminal_id == terminal.c.id)
    )  # fmt: skip


def _view(row: Any, now: datetime) -> TerminalView:
    return TerminalView(
        id=row.id, label=row.label, status=row.status, enrolled_at=row.enrolled_at, revoked_at=row.revoked_at,
        subscriber=row.subscriber_id, online=row.lease_until is not None and row.lease_until > now,
        code=row.code.hex() if row.code else None, interrogated_at=row.interrogated_at, unanswered=row.unanswered or 0,
    )  # fmt: skip


def _one(connection: Connection, terminal: str, now: datetime) -> TerminalView:
    row = connection.execute(_terminals().where(table(Terminal).c.id == terminal)).first()
    if row is None:
        raise Problem(404, f"terminal {terminal}: is not enrolled")
    return _view(row, now)


@routes.get("/terminals", needs=READS)
def list_terminals(
    call: Call,
    paging: PageOf,
    status: Annotated[Literal["active", "revoked", ""], Query()] = "",
    subscriber: IdFilter = "",
    id_begins: Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9._:@-]{0,64}$")] = "",
    code: Annotated[str, Query(pattern=r"^([0-9a-f]{64})?$", description="Whose last answer had this code")] = "",
    model: Annotated[str, Query(max_length=100, description="Part of the model that the last answer named")] = "",
) -> Page[TerminalView]:
    """Terminals by id, with their users."""
    terminal, binding, session, query = table(Terminal), table(Binding), table(TerminalSession), _terminals()
    query = matching(query, (terminal.c.status, status))
    if subscriber:
        owned = select(binding.c.terminal_id).where(binding.c.subscriber_id == subscriber, binding.c.valid_to.is_(None))
        query = query.where(terminal.c.id.in_(owned))
    if id_begins:
        query = query.where(terminal.c.id >= id_begins, terminal.c.id < id_begins + "\x7f")
    if code:
        having = select(session.c.terminal_id).where(session.c.code == bytes.fromhex(code))
        query = query.where(terminal.c.id.in_(having))
    if model:
        query = query.where(of_model(call.connection, model))
    return page(call, TerminalView, query, [terminal.c.id], paging, lambda row: _view(row, call.now))


@routes.get("/terminals/{terminal}", needs=READS)
def show_terminal(call: Call, terminal: Identifier) -> TerminalView:
    """A terminal."""
    return _one(call.connection, terminal, call.now)


@routes.post("/terminals", needs="terminals.write", status=201, problems=[409], model=TerminalView)
def enrol_terminal(call: Call, body: EnrolForm) -> Answer:
    """Make a terminal known by its key and bind it to a subscriber."""

    def enrol(connection: Connection) -> TerminalView:
        if parties.exists(connection, Terminal, body.id):
            raise Problem(409, f"terminal {body.id}: is enrolled already")
        try:
            call.changed(
                connection, "terminal.enrol", f"terminal/{body.id}",
                lambda c: parties.enroll_terminal(
                    c, body.id, bytes.fromhex(body.public_key), body.subscriber, call.now, label=body.label
                ), {},
            )  # fmt: skip
        except PartyError as no:
            raise Problem(409, str(no)) from None
        return _one(connection, body.id, call.now)

    return Answer(call.write(enrol), 201, {"Location": f"/api/v1/terminals/{body.id}"})


@routes.patch("/terminals/{terminal}", needs="terminals.write", problems=[409, 412, 428])
def change_terminal(call: Call, terminal: Identifier, body: TerminalChange, if_match: IfMatch) -> TerminalView:
    """Revoke a terminal, or hand it to another subscriber."""
    told = {"reason": body.reason} if body.reason else {}

    def change(connection: Connection) -> TerminalView:
        before = _one(connection, terminal, call.now)
        call.require_match(before, if_match)
        try:
            if body.subscriber is not None:
                user = body.subscriber
                call.changed(
                    connection, "terminal.bind", f"terminal/{terminal}",
                    lambda c: parties.bind_terminal(c, terminal, user, call.now), told,
                )  # fmt: skip
            if body.status is not None:
                call.changed(
                    connection, "terminal.revoke", f"terminal/{terminal}",
                    lambda c: parties.revoke_terminal(c, terminal, call.now, reason=body.reason), told,
                )  # fmt: skip
        except PartyError as no:
            raise Problem(409, str(no)) from None
        return _one(connection, terminal, call.now)

    return call.write(change)


@routes.get("/terminals/{terminal}/offers", needs=READS, problems=[409])
def explain_offers(call: Call, terminal: Identifier, paging: PageOf) -> Page[ExplainedOffer]:
    """Why each offer of the catalogue is shown on the terminal or not."""
    _one(call.connection, terminal, call.now)
    try:
        found = explain_terminal(call.connection, call.web.offers, terminal, call.now)
    except NothingOffered as no:
        raise Problem(409, str(no)) from None
    return listed(paging, ExplainedOffer, [_explained(each) for each in found.offers])


def _explained(each: Why) -> ExplainedOffer:
    objections = [ObjectionView(filter=objection.filter, text=objection.text) for objection in each.objections]
    return ExplainedOffer(
        offer=each.offer.id, product=each.offer.product, release=each.release, shown=each.shown,
        reasons=[objection.text for objection in objections], objections=objections,
    )  # fmt: skip


@routes.get("/terminals/{terminal}/interrogations", needs=READS)
def list_interrogations(call: Call, terminal: Identifier, paging: PageOf) -> Page[InterrogationView]:
    """What the terminal was asked and answered, newest first: its changes over time."""
    _one(call.connection, terminal, call.now)
    asked = table(Interrogation)
    query = select(asked).where(asked.c.terminal_id == terminal)
    return page(
        call, InterrogationView, query, [asked.c.at, asked.c.id], paging, _interrogation_view, newest_first=True
    )  # fmt: skip


def _interrogation_view(row: Any) -> InterrogationView:
    """A row as it is told."""
    return InterrogationView(
        id=row.id, terminal=row.terminal_id, trigger=row.trigger, at=row.at, outcome=row.outcome,
        code=row.code.hex() if row.code else None, changed=[part for part in row.changed.split(",") if part],
        shown=row.shown.split(), reason=row.reason,
    )  # fmt: skip


@routes.get("/terminals/{terminal}/notices", needs=READS)
def list_notices(call: Call, terminal: Identifier, paging: PageOf) -> Page[NoticeView]:
    """Messages to the terminal's user, newest first."""
    _one(call.connection, terminal, call.now)
    notice = table(Notice)
    query = select(notice).where(notice.c.terminal_id == terminal)

    def make(row: Any) -> NoticeView:
        return NoticeView(**{name: getattr(row, name) for name in NoticeView.model_fields})

    return page(call, NoticeView, query, [notice.c.id], paging, make, newest_first=True)


@routes.post("/terminals/{terminal}/interrogations", needs="terminals.interrogate", status=202, model=OrderView)
def interrogate(call: Call, terminal: Identifier) -> Answer:
    """Interrogate the terminal now, whoever holds its link; the answer says where the outcome will be."""
    order = new_id(to_micros(call.now))

    def place(connection: Connection) -> OrderView:
        _one(connection, terminal, call.now)
        add(connection, InterrogationOrder(id=order, terminal_id=terminal, ordered_at=call.now))
        call.audited(connection, "terminal.interrogate", f"terminal/{terminal}", None, {"order": order})
        return OrderView(id=order, terminal=terminal, ordered_at=call.now, state="open", interrogation=None)

    return Answer(call.write(place), 202, {"Location": f"/api/v1/interrogation-orders/{order}"})


@routes.get("/interrogation-orders/{order}", needs=READS)
def show_order(call: Call, order: Identifier) -> OrderView:
    """What became of an order to interrogate."""
    orders, asked = table(InterrogationOrder), table(Interrogation)
    row = the_row(call.connection, select(orders).where(orders.c.id == order), f"order {order}")
    found = None
    if row.interrogation_id is not None:
        found = call.connection.execute(select(asked).where(asked.c.id == row.interrogation_id)).first()
    return OrderView(
        id=row.id, terminal=row.terminal_id, ordered_at=row.ordered_at, state=row.state,
        interrogation=_interrogation_view(found) if found is not None else None,
    )  # fmt: skip


@routes.get("/configurations", needs=READS)
def list_configurations(call: Call, paging: PageOf) -> Page[ConfigurationSummary]:
    """Every configuration code that was ever seen."""
    row = table(ConfigurationRow)

    def make(each: Any) -> ConfigurationSummary:
        return ConfigurationSummary(
            code=each.code.hex(), first_terminal=each.first_terminal, first_seen_at=each.first_seen_at
        )

    return page(call, ConfigurationSummary, select(row), [row.c.code], paging, make)


@routes.get("/configurations/{code}", needs=READS)
def show_configuration(call: Call, code: Code) -> ConfigurationView:
    """What terminals of this code are made of."""
    rows = table(ConfigurationRow)
    row = call.connection.execute(select(rows).where(rows.c.code == bytes.fromhex(code))).first()
    if row is None:
        raise Problem(404, f"configuration {code[:16]}...: is not stored")
    whole = read_configuration(call.connection, row.code)
    return ConfigurationView(
        code=code, first_terminal=row.first_terminal, first_seen_at=row.first_seen_at,
        sections={name: dict(whole.section(name)) for name in SECTIONS},
    )  # fmt: skip
