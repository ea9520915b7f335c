"""Agreements: what was agreed and signed, and how it is cancelled."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import select

from operator_server.store.accounting import CounterReportRow
from operator_server.store.dealings import Agreement, Delivery, Installation, QuoteRow
from operator_server.store.rows import table
from operator_server.subscriptions.ending import AgreementError, cancel
from operator_server.subscriptions.settling import NotSettled
from operator_server.web.api.forms import Form, Identifier, IdFilter, amount
from operator_server.web.calls import Call
from operator_server.web.pages import Page, PageOf, page
from operator_server.web.problems import Problem
from operator_server.web.routes import Routes

routes = Routes("Agreements", "/api/v1/agreements")


class AgreementView(BaseModel):
    """A closed negotiation."""

    id: str
    account: str
    subscriber: str
    terminal: str
    offer: str
    offer_version: str
    product: str
    release: str
    mode: str
    mode_kind: str
    currency: str
    amount: str
    tariff_version: str
    spending_limit: str | None
    agreed_at: datetime
    state: str


class SignedView(BaseModel):
    """A document as it was signed: bytes in base64, as they came."""

    document: str
    signature: str
    content: dict[str, Any] = Field(description="The document read, for people")


class EvidenceView(BaseModel):
    """What both parties signed."""

    agreement: str
    kind: str = Field(description="ed25519, card_mac, web_token or operator")
    quote: SignedView
    confirmation: SignedView
    delivery_state: str | None
    receipt: SignedView | None
    counters: list[dict[str, Any]] = Field(description="Counter reports, newest first, at most 100")


def _agreement(row: Any) -> AgreementView:
    limit = row.spending_limit
    return AgreementView(
        id=row.id, account=row.account_id, subscriber=row.subscriber_id, terminal=row.terminal_id, offer=row.offer_id,
        offer_version=row.offer_version, product=row.product, release=row.release, mode=row.mode,
        mode_kind=row.mode_kind, currency=row.currency, amount=amount(row.amount, row.currency),
        tariff_version=row.tariff_version, spending_limit=None if limit is None else amount(limit, row.currency),
        agreed_at=row.agreed_at, state=row.state,
    )  # fmt: skip


def _columns() -> list[Any]:
    return [column for column in table(Agreement).c if column.name not in ("confirmation", "proof", "digest")]


@routes.get(needs="agreements.read")
def list_agreements(
    call: Call,
    paging: PageOf,
    account: IdFilter = "",
    subscriber: IdFilter = "",
    state: Annotated[
        Literal["agreed", "granted", "installed", "failed", "ended", "standing", ""], Query()
    ] = "",
) -> Page[AgreementView]:  # fmt: skip
    """Agreements, newest first."""
    agreement = table(Agreement)
    query = select(*_columns())
    for column, value in ((agreement.c.account_id, account), (agreement.c.subscriber_id, subscriber),
                          (agreement.c.state, state)):  # fmt: skip
        if value:
            query = query.where(column == value)
    return page(call, AgreementView, query, [agreement.c.id], paging, _agreement, newest_first=True)


@routes.get("/{agreement}", needs="agreements.read")
def show_agreement(call: Call, agreement: Identifier) -> AgreementView:
    """An agreement."""
    row = call.connection.execute(select(*_columns()).where(table(Agreement).c.id == agreement)).first()
    if row is None:
        raise Problem(404, f"agreement {agreement}: there is none")
    return _agreement(row)


class CancellationView(BaseModel):
    """When a cancellation takes effect."""

    agreement: str
    ends_at: datetime
    because: str = Field(description="now, trial, notice, minimum or price")


class CancellationForm(Form):
    """Why an agreement is cancelled."""

    reason: str = Field(min_length=1, max_length=500)


@routes.post("/{agreement}/cancellation", needs="agreements.cancel", problems=[409])
def cancel_agreement(call: Call, agreement: Identifier, body: CancellationForm) -> CancellationView:
    """End an agreement as its terms allow. Asked again, the answer is the same."""

    def change(connection: Any) -> CancellationView:
        rows = table(Agreement)
        row = connection.execute(select(rows.c.state).where(rows.c.id == agreement)).first()
        if row is None:
            raise Problem(404, f"agreement {agreement}: there is none")
        try:
            ends = cancel(connection, agreement, call.operator.settings, call.now)
        except (AgreementError, NotSettled) as no:
            raise Problem(409, str(no)) from None
        view = CancellationView(agreement=agreement, ends_at=ends.ends_at, because=ends.because)
        told = view.model_dump() | {"reason": body.reason}
        call.audited(connection, "agreement.cancel", f"agreement/{agreement}", {"state": row.state}, told)
        return view

    return call.write(change)


@routes.get("/{agreement}/evidence", needs="agreements.read")
def show_evidence(call: Call, agreement: Identifier) -> EvidenceView:
    """What both parties signed, the delivery's receipt, and the counter reports, each as it was received."""
    rows, quotes, deliveries = table(Agreement), table(QuoteRow), table(Delivery)
    row = call.connection.execute(select(rows).where(rows.c.id == agreement)).first()
    if row is None:
        raise Problem(404, f"agreement {agreement}: there is none")
    quote = call.connection.execute(select(quotes).where(quotes.c.id == row.quote_id)).one()
    delivery = call.connection.execute(select(deliveries).where(deliveries.c.agreement_id == agreement)).first()
    report, installation = table(CounterReportRow), table(Installation)
    installed = select(installation.c.id).where(installation.c.agreement_id == agreement)
    reports = call.connection.execute(
        select(report).where(report.c.installation_id.in_(installed)).order_by(report.c.sequence.desc()).limit(100)
    )
    receipt = None
    if delivery is not None and delivery.receipt is not None:
        receipt = _signed(delivery.receipt, delivery.receipt_signature or b"")
    return EvidenceView(
        agreement=agreement, kind=row.evidence_kind, quote=_signed(quote.document, quote.signature),
        confirmation=_signed(row.confirmation, row.proof),
        delivery_state=None if delivery is None else delivery.state, receipt=receipt,
        counters=[
            {
                "counter": each.counter, "epoch": each.epoch, "sequence": each.sequence, "value": each.value,
                "status": each.status, "reason": each.reason, "received_at": each.received_at.isoformat(),
                "document": base64.b64encode(each.document).decode(),
                "signature": base64.b64encode(each.signature).decode(),
            }
            for each in reports
        ],
    )  # fmt: skip


def _signed(document: bytes, signature: bytes) -> SignedView:
    return SignedView(
        document=base64.b64encode(document).decode(), signature=base64.b64encode(signature).decode(),
        content=_read(document),
    )  # fmt: skip


def _read(document: bytes) -> dict[str, Any]:
    """A signed document (MessagePack) as plain JSON; empty where it is none."""
    try:
        value = msgspec.msgpack.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    plain = msgspec.json.decode(msgspec.json.encode(value)) if isinstance(value, dict) else {"value": None}
    return plain if isinstance(plain, dict) else {}
