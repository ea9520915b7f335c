"""Roaming: partners, our terminals elsewhere, their mobiles here, feature codes, and what operators owe each other.

What partners themselves ask of us comes over the role ``roaming``, where they show certificates, and not here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Path
from pydantic import BaseModel, Field
from sqlalchemy import select

from operator_server.store.rows import matching, table
from operator_server.store.visited import (
    FeatureTableRow,
    Roamer,
    RoamingPartner,
    SettlementDispute,
    SettlementRecord,
    VisitorRow,
)
from operator_server.visited.codes import Features
from operator_server.visited.faults import VisitedError
from operator_server.visited.records import month_span, sums_of
from operator_server.web.api.forms import PERIOD, Identifier, IdFilter, Month, amount
from operator_server.web.calls import Call
from operator_server.web.pages import Page, PageOf, page
from operator_server.web.problems import Problem, the_row
from operator_server.web.routes import Routes

routes = Routes("Roaming", "/api/v1/roaming")

PERMISSION = "roaming.read"
DirectionFilter = Literal["receivable", "payable", ""]
StateFilter = Literal["waiting", "acknowledged", "refused", ""]


class PartnerView(BaseModel):
    """An operator with whom roaming is agreed."""

    network: str
    name: str
    url: str = Field(description="Where its role roaming listens")
    fingerprint: str = Field(description="SHA-256 of its certificate, in hex; empty: it must be introduced")
    status: str = Field(description="active or blocked")
    created_at: datetime


class RoamerView(BaseModel):
    """A terminal of ours that may roam."""

    terminal: str
    network: str = Field(description="Where it registered last; empty: nowhere yet")
    registered_at: datetime | None
    created_at: datetime


class VisitorView(BaseModel):
    """A mobile of a partner, registered here."""

    network: str
    terminal: str
    registered_at: datetime
    display: bool
    supports: list[str]
    active: list[str] = Field(description="Features that are switched on")
    paid: list[str] = Field(description="Features with a surcharge that were accepted")
    asked: str = Field(description="The feature that an answer is waited for, or that waits for home; empty for none")


class CodeTableView(BaseModel):
    """A set of feature codes as it was put in force."""

    sequence: int = Field(description="Mobiles compare it; the highest one is in force")
    digest: str
    loaded_at: datetime


class FeatureCodeView(BaseModel):
    """A feature code; with a surcharge where it costs visitors something."""

    feature: str
    title: str
    activate: str
    deactivate: str
    menu: str
    supported: bool
    number: int = Field(description="0 where it is free")
    surcharge: str
    currency: str


class CodeTable(CodeTableView):
    """A set of feature codes with its codes."""

    download: str = Field(description="registration or on_demand")
    features: list[FeatureCodeView]


class RecordView(BaseModel):
    """A settlement record: what one operator owes the other for a feature."""

    id: str
    direction: str = Field(description="receivable: they owe us; payable: we owe them")
    network: str
    terminal: str
    feature: str
    amount: str
    currency: str
    agreement: str
    quote: str
    agreed_at: datetime
    state: str = Field(description="waiting, acknowledged or refused")
    reason: str
    attempts: int
    done_at: datetime | None
    digest: str = Field(description="Over all that both sides must hold alike")
    transfer: str | None = Field(description="Its ledger transfer; null until it is acknowledged")


class SumView(BaseModel):
    """Records of a month with a partner, in a direction, state and currency, together."""

    network: str
    direction: str
    state: str
    currency: str
    records: int
    amount: str


class MonthSums(BaseModel):
    """What a month comes to; months are of UTC, so that both sides mean the same."""

    month: str
    sums: list[SumView]


class DisputeView(BaseModel):
    """A record on which we and a partner differ."""

    network: str
    direction: str
    record: str
    month: str
    raised_by: str = Field(description="us or them")
    what: str
    found_at: datetime
    seen_at: datetime
    closed_at: datetime | None


def _record(row: Any) -> RecordView:
    return RecordView(
        id=row.id, direction=row.direction, network=row.network, terminal=row.terminal, feature=row.feature,
        amount=amount(row.amount, row.currency), currency=row.currency, agreement=row.agreement_id,
        quote=row.quote_id, agreed_at=row.agreed_at, state=row.state, reason=row.reason, attempts=row.attempts,
        done_at=row.done_at, digest=bytes(row.digest).hex(), transfer=row.transfer_id,
    )  # fmt: skip


@routes.get("/partners", needs=PERMISSION)
def list_partners(call: Call, paging: PageOf) -> Page[PartnerView]:
    """Operators with whom roaming is or was agreed."""
    rows = table(RoamingPartner)

    def make(row: Any) -> PartnerView:
        return PartnerView(**{name: getattr(row, name) for name in PartnerView.model_fields})

    return page(call, PartnerView, select(rows), [rows.c.network], paging, make)


@routes.get("/roamers", needs=PERMISSION)
def list_roamers(call: Call, paging: PageOf, network: IdFilter = "") -> Page[RoamerView]:
    """Our terminals that may roam; `network` is where they registered last."""
    rows = table(Roamer)
    query = matching(select(rows), (rows.c.network, network))

    def make(row: Any) -> RoamerView:
        return RoamerView(
            terminal=row.terminal_id, network=row.network, registered_at=row.registered_at, created_at=row.created_at
        )

    return page(call, RoamerView, query, [rows.c.terminal_id], paging, make)


@routes.get("/visitors", needs=PERMISSION)
def list_visitors(call: Call, paging: PageOf, network: IdFilter = "") -> Page[VisitorView]:
    """Mobiles of partners that are registered here; `network` is their home."""
    rows = table(VisitorRow)
    query = matching(select(rows), (rows.c.network, network))

    def make(row: Any) -> VisitorView:
        return VisitorView(
            network=row.network, terminal=row.terminal, registered_at=row.registered_at, display=row.display,
            supports=row.features, active=row.active, paid=sorted(row.paid), asked=row.waiting.get("feature", ""),
        )  # fmt: skip

    return page(call, VisitorView, query, [rows.c.network, rows.c.terminal], paging, make)


@routes.get("/codes", needs=PERMISSION)
def list_code_tables(call: Call, paging: PageOf) -> Page[CodeTableView]:
    """Sets of feature codes, the one in force first."""
    rows = table(FeatureTableRow)
    query = select(rows.c.sequence, rows.c.digest, rows.c.loaded_at)

    def make(row: Any) -> CodeTableView:
        return CodeTableView(sequence=row.sequence, digest=bytes(row.digest).hex(), loaded_at=row.loaded_at)

    return page(call, CodeTableView, query, [rows.c.sequence], paging, make, newest_first=True)


@routes.get("/codes/{sequence}", needs=PERMISSION)
def show_code_table(call: Call, sequence: Annotated[int, Path(ge=1, le=2**31 - 1)]) -> CodeTable:
    """A set of feature codes."""
    rows = table(FeatureTableRow)
    row = call.connection.execute(select(rows).where(rows.c.sequence == sequence)).first()
    if row is None:
        raise Problem(404, f"sequence {sequence}: there are no such codes")
    held = msgspec.json.decode(row.document, type=Features)
    return CodeTable(
        sequence=row.sequence, digest=bytes(row.digest).hex(), loaded_at=row.loaded_at, download=held.download,
        features=[_code(held, each) for each in held.feature],
    )  # fmt: skip


def _code(held: Features, each: Any) -> FeatureCodeView:
    surcharge = held.surcharge.get(each.feature)
    return FeatureCodeView(
        feature=each.feature, title=each.title, activate=each.activate, deactivate=each.deactivate, menu=each.menu,
        supported=each.supported, number=each.ef, surcharge=surcharge.amount if surcharge else "",
        currency=surcharge.currency if surcharge else "",
    )  # fmt: skip


@routes.get("/records", needs=PERMISSION)
def list_settlement_records(
    call: Call,
    paging: PageOf,
    network: IdFilter = "",
    month: Month = "",
    direction: DirectionFilter = "",
    state: StateFilter = "",
) -> Page[RecordView]:
    """Settlement records, newest first; `month` is one of UTC, by when the subscriber agreed."""
    rows = table(SettlementRecord)
    query = matching(select(rows), (rows.c.network, network), (rows.c.direction, direction), (rows.c.state, state))
    if month:
        begin, end = _span(month)
        query = query.where(rows.c.agreed_at >= begin, rows.c.agreed_at < end)
    return page(call, RecordView, query, [rows.c.agreed_at, rows.c.id], paging, _record, newest_first=True)


def _span(month: str) -> tuple[datetime, datetime]:
    try:
        return month_span(month)
    except VisitedError as no:
        raise Problem(422, f"month: {no.reason}") from None


@routes.get("/records/{record}", needs=PERMISSION)
def show_settlement_record(call: Call, record: Identifier) -> RecordView:
    """A settlement record."""
    rows = table(SettlementRecord)
    row = the_row(call.connection, select(rows).where(rows.c.id == record), f"record {record}")
    return _record(row)


@routes.get("/months/{month}", needs=PERMISSION)
def sum_settlement_records(
    call: Call, month: Annotated[str, Path(pattern=f"^{PERIOD}$")], network: IdFilter = ""
) -> MonthSums:
    """What a month of UTC comes to, by partner, direction, state and currency."""
    begin, end = _span(month)
    sums = [
        SumView(
            network=each.network, direction=each.direction, state=each.state, currency=each.currency,
            records=each.records, amount=amount(each.micros, each.currency),
        )
        for each in sums_of(call.connection, begin, end, network)
    ]  # fmt: skip
    return MonthSums(month=month, sums=sums)


@routes.get("/disputes", needs=PERMISSION)
def list_settlement_disputes(
    call: Call, paging: PageOf, network: IdFilter = "", state: Literal["open", "closed", ""] = ""
) -> Page[DisputeView]:
    """Records on which we and a partner differ, by partner."""
    rows = table(SettlementDispute)
    query = matching(select(rows), (rows.c.network, network))
    if state:
        query = query.where(rows.c.closed_at.is_(None) if state == "open" else rows.c.closed_at.is_not(None))

    def make(row: Any) -> DisputeView:
        shared = {name: getattr(row, name) for name in DisputeView.model_fields if name != "record"}
        return DisputeView(record=row.record_id, **shared)

    key = [rows.c.network, rows.c.direction, rows.c.record_id, rows.c.raised_by]
    return page(call, DisputeView, query, key, paging, make)
