"""Agreements: what was agreed and signed, and how it is cancelled."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection, select
from starlette.responses import Response

from operator_server.store.accounting import CounterReportRow
from operator_server.store.dealings import Agreement, Delivery, Installation, QuoteRow
from operator_server.store.rows import matching, table
from operator_server.subscriptions import ending, views
from operator_server.subscriptions.ending import AgreementError
from operator_server.subscriptions.settling import NotSettled
from operator_server.web.api.forms import Form, Identifier, IdFilter, amount
from operator_server.web.calls import Answer, Call, IdempotencyKey
from operator_server.web.pages import Page, PageOf, page
from operator_server.web.problems import Problem, the_row
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
    query = matching(
        select(*_columns()),
        (agreement.c.account_id, account), (agreement.c.subscriber_id, subscriber), (agreement.c.state, state),
    )  # fmt: skip
    return page(call, AgreementView, query, [agreement.c.id], paging, _agreement, newest_first=True)


@routes.get("/{agreement}", needs="agreements.read")
def show_agreement(call: Call, agreement: Identifier) -> AgreementView:
    """An agreement."""
    row = the_row(
        call.connection, select(*_columns()).where(table(Agreement).c.id == agreement), f"agreement {agreement}"
    )
    return _agreement(row)


class PriceView(BaseModel):
    """A price that was announced, and from when it holds."""

    holds_from: datetime
    announced_at: datetime
    amount: str | None
    tariff_version: str | None


class LifeView(BaseModel):
    """An agreement over time: what was agreed in words, its terms, what it charged."""

    agreement: str
    state: str = Field(description="As it is now; cancelled while it runs to its end")
    text: str = Field(description="The terms that the user agreed to")
    payment: str
    price: str
    charged: str
    currency: str
    started_at: datetime | None
    trial_ends_at: datetime | None
    charged_from: datetime | None
    next_at: datetime | None = Field(description="When its next period is charged")
    minimum_until: datetime | None
    cancelled_at: datetime | None
    ends_at: datetime | None
    reason: str | None
    prices: list[PriceView]


@routes.get("/{agreement}/life", needs="agreements.read")
def show_life(call: Call, agreement: Identifier) -> LifeView:
    """An agreement over time: trial, minimum term, periods, cancellation, announced prices."""
    try:
        found = views.agreement(call.connection, agreement)
    except AgreementError as no:
        raise Problem(404, str(no)) from None
    at = {f"{name}_at": found[name] for name in ("started", "trial_ends", "next", "cancelled", "ends")}
    return LifeView(
        agreement=agreement, state=found["state"], text=found["text"], payment=found["payment"], price=found["price"],
        charged=found["charged"], currency=found["currency"], charged_from=found["charged_from"],
        minimum_until=found["minimum_until"], reason=found["reason"], **at,
        prices=[
            PriceView(holds_from=each["from"], announced_at=each["announced"], amount=each["amount"],
                      tariff_version=each["tariff_version"])
            for each in found["prices"]
        ],
    )  # fmt: skip


class ReasonForm(Form):
    """Why it is done; it is kept."""

    reason: str = Field(min_length=1, max_length=500)


class CancellationView(BaseModel):
    """When a cancellation takes effect."""

    agreement: str
    ends_at: datetime
    because: str = Field(description="now, trial, notice, minimum or price")


class WithdrawalView(BaseModel):
    """What was taken back with a withdrawn agreement."""

    agreement: str
    net: str
    tax: str
    currency: str
    charges: list[str] = Field(description="Ids of the charges that are taken back")


def _exists(connection: Connection, agreement: str) -> None:
    rows = table(Agreement)
    the_row(connection, select(rows.c.id).where(rows.c.id == agreement), f"agreement {agreement}")


@routes.post("/{agreement}/cancellation", needs="agreements.cancel", problems=[409])
def cancel_agreement(call: Call, agreement: Identifier, body: ReasonForm) -> CancellationView:
    """End an agreement as its terms allow. Asked again, the answer is the same."""

    def change(connection: Connection) -> CancellationView:
        _exists(connection, agreement)
        try:
            ends = call.changed(
                connection, "agreement.cancel", f"agreement/{agreement}",
                lambda c: ending.cancel(c, agreement, call.operator.settings, call.now),
                lambda ends: {"reason": body.reason, "ends_at": ends.ends_at, "because": ends.because},
            )  # fmt: skip
        except (AgreementError, NotSettled) as no:
            raise Problem(409, str(no)) from None
        return CancellationView(agreement=agreement, ends_at=ends.ends_at, because=ends.because)

    return call.write(change)


@routes.post("/{agreement}/renewal", needs="agreements.cancel", problems=[409])
def renew_agreement(call: Call, agreement: Identifier, body: ReasonForm) -> AgreementView:
    """Take a cancellation back, as long as the agreement runs."""

    def change(connection: Connection) -> AgreementView:
        _exists(connection, agreement)
        try:
            call.changed(
                connection, "agreement.renew", f"agreement/{agreement}",
                lambda c: ending.renew(c, agreement, call.operator.settings, call.now), {"reason": body.reason},
            )  # fmt: skip
        except (AgreementError, NotSettled) as no:
            raise Problem(409, str(no)) from None
        return _agreement(connection.execute(select(*_columns()).where(table(Agreement).c.id == agreement)).one())

    return call.write(change)


@routes.post(
    "/{agreement}/withdrawal", needs="agreements.cancel", status=201, problems=[409], model=WithdrawalView
)  # fmt: skip
def withdraw_agreement(call: Call, agreement: Identifier, body: ReasonForm, key: IdempotencyKey) -> Response:
    """End an agreement from its beginning within the days for that; all that it charged is taken back."""

    def operation(connection: Connection) -> Answer:
        _exists(connection, agreement)

        def withdraw(connection: Connection) -> WithdrawalView:
            back = ending.withdraw(connection, agreement, call.operator.settings, call.now)
            return WithdrawalView(
                agreement=agreement, net=amount(back.net, back.currency), tax=amount(back.tax, back.currency),
                currency=back.currency, charges=list(back.charges),
            )  # fmt: skip

        try:
            view = call.changed(
                connection, "agreement.withdraw", f"agreement/{agreement}", withdraw,
                lambda view: view.model_dump() | {"reason": body.reason},
            )  # fmt: skip
        except (AgreementError, NotSettled) as no:
            raise Problem(409, str(no)) from None
        return Answer(view, 201)

    return call.once(key, operation)


@routes.get("/{agreement}/evidence", needs="agreements.read")
def show_evidence(call: Call, agreement: Identifier) -> EvidenceView:
    """What both parties signed, the delivery's receipt, and the counter reports, each as it was received."""
    rows, quotes, deliveries = table(Agreement), table(QuoteRow), table(Delivery)
    row = the_row(call.connection, select(rows).where(rows.c.id == agreement), f"agreement {agreement}")
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
