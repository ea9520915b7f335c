"""Agreements with their evidence, use and charges, tariffs and how a cost came about."""

from __future__ import annotations

import base64
import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Path as InPath
from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import select

from charging.periods import PeriodError
from charging.periods import period as named_period
from charging.rating import RatingError, decimal_text
from charging.tariffs import Tariff, TariffBook, TariffError, TariffVersion, read_tariff
from charging.tariffs.explain import explain
from charging.tariffs.headline import headline
from charging.tariffs.simulate import Bill, simulate
from operator_server.counting.tariffs import TariffVersions
from operator_server.store.accounting import Charge, CounterReportRow
from operator_server.store.dealings import Agreement, Delivery, Installation, QuoteRow
from operator_server.store.rows import table
from operator_server.store.usage import UsageRecord
from operator_server.subscriptions.ending import AgreementError, cancel
from operator_server.subscriptions.settling import NotSettled
from operator_server.usage.history import UnknownUse, find_use, histories
from operator_server.web.api.forms import Form, Identifier, IdFilter, amount
from operator_server.web.calls import Call, Routes
from operator_server.web.pages import Page, PageOf, listed, page
from operator_server.web.problems import Fault, Problem

routes = Routes("Agreements, use and charges", "/api/v1")
tariff_routes = Routes("Tariffs", "/api/v1/tariffs")

TariffId = Annotated[str, InPath(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:-]{1,64}$")]


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


class ChargeView(BaseModel):
    """One thing charged."""

    id: str
    kind: str
    account: str
    subscriber: str
    agreement: str
    installation: str | None
    counter: str
    counter_from: int
    counter_to: int
    quantity: int
    included: int
    period: str
    effective_at: datetime
    recorded_at: datetime
    net: str
    currency: str
    tax_category: str
    tariff_version: str
    transfer: str
    reverses: str | None
    invoice: str | None = Field(description="Id of the invoice that billed it")


class UsageView(BaseModel):
    """A usage record of another system, and the charge that it became."""

    source: str
    id: str
    subscriber: str
    tariff: str
    quantity: int
    at: datetime
    destination: str
    charge: str
    imported_at: datetime


class StepView(BaseModel):
    """One step of a rating."""

    step: str
    units: int | None
    cost: str


class ExplanationView(BaseModel):
    """How a cost came about, computed a second time."""

    charge: str
    account: str
    agreement: str
    period: str
    tariff_version: str
    quantity: int
    unit: str
    destination: str | None
    at: datetime
    earlier_uses: int
    steps: list[StepView]
    cost: str
    charged: str
    currency: str
    agrees: bool


class TariffVersionView(BaseModel):
    """A version of a tariff."""

    tariff: str
    names: dict[str, str]
    version: str
    effective_from: datetime
    currency: str
    unit: str
    price: str = Field(description="The price that is shown; of several, the highest")
    content: dict[str, Any]


class SimulationForm(Form):
    """A tariff to try on past use."""

    toml: str = Field(min_length=1, max_length=100_000, description="A tariff file, as docs/tariffs.md has it")
    period: str = Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="Month of use, such as 2026-10")


class BillView(BaseModel):
    """What an account pays now, and would pay then."""

    account: str
    uses: int
    quantity: int
    now: str
    then: str
    difference: str


class SimulationView(BaseModel):
    """A month's use rated by another tariff; nothing is charged. Amounts are net."""

    period: str
    tariff: str
    version: str
    currency: str
    unit: str
    total: BillView
    accounts: list[BillView] = Field(description="The largest differences first, at most 1000")
    account_count: int
    unrated: list[dict[str, str]]


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


@routes.get("/agreements", needs="agreements.read")
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


@routes.get("/agreements/{agreement}", needs="agreements.read")
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


@routes.post("/agreements/{agreement}/cancellation", needs="agreements.cancel", problems=[409])
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


@routes.get("/agreements/{agreement}/evidence", needs="agreements.read")
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


def _charge(row: Any) -> ChargeView:
    return ChargeView(
        id=row.id, kind=row.kind, account=row.account_id, subscriber=row.subscriber_id, agreement=row.agreement_id,
        installation=row.installation_id, counter=row.counter, counter_from=row.counter_from,
        counter_to=row.counter_to, quantity=row.quantity, included=row.included, period=row.period,
        effective_at=row.effective_at, recorded_at=row.recorded_at, net=amount(row.net, row.currency),
        currency=row.currency, tax_category=row.tax_category, tariff_version=row.tariff_version,
        transfer=row.transfer_id, reverses=row.reverses_id, invoice=row.invoice_id,
    )  # fmt: skip


@routes.get("/charges", needs="charges.read")
def list_charges(
    call: Call, paging: PageOf, account: IdFilter = "", agreement: IdFilter = "", invoice: IdFilter = ""
) -> Page[ChargeView]:
    """Charges, newest first; `invoice` is an invoice's id."""
    charge = table(Charge)
    query = select(charge)
    for column, value in ((charge.c.account_id, account), (charge.c.agreement_id, agreement),
                          (charge.c.invoice_id, invoice)):  # fmt: skip
        if value:
            query = query.where(column == value)
    return page(call, ChargeView, query, [charge.c.id], paging, _charge, newest_first=True)


@routes.get("/charges/{charge}", needs="charges.read")
def show_charge(call: Call, charge: Identifier) -> ChargeView:
    """A charge."""
    rows = table(Charge)
    row = call.connection.execute(select(rows).where(rows.c.id == charge)).first()
    if row is None:
        raise Problem(404, f"charge {charge}: there is none")
    return _charge(row)


@routes.get("/charges/{charge}/explanation", needs="charges.read", slow=True, problems=[409])
def explain_charge(call: Call, charge: Identifier) -> ExplanationView:
    """How the cost of a use came about, step by step, by the tariff as it was."""
    try:
        found = find_use(call.connection, TariffVersions(lambda: TariffBook([])), charge)
    except UnknownUse as no:
        known = call.connection.execute(select(table(Charge).c.id).where(table(Charge).c.id == charge)).first()
        raise Problem(404 if known is None else 409, str(no)) from None
    except (TariffError, RatingError) as no:
        raise Problem(409, str(no)) from None
    told, row, use = explain(found.uses), found.charge, found.uses[-1]
    return ExplanationView(
        charge=row.id, account=row.account_id, agreement=row.agreement_id, period=row.period,
        tariff_version=use.version.version_id, quantity=use.quantity, unit=use.version.unit,
        destination=use.destination, at=use.at, earlier_uses=told.earlier,
        steps=[
            StepView(step=step.text, units=step.quantity, cost=decimal_text(step.cost)) for step in told.steps
        ],
        cost=amount(told.cost_micros, row.currency), charged=amount(row.net, row.currency), currency=row.currency,
        agrees=told.cost_micros == row.net,
    )  # fmt: skip


@routes.get("/usage", needs="usage.read")
def list_usage(
    call: Call,
    paging: PageOf,
    account: IdFilter = "",
    source: Annotated[str, Query(max_length=255)] = "",
) -> Page[UsageView]:
    """Usage records of other systems, by source and id; those of an account by their charges."""
    record, charge = table(UsageRecord), table(Charge)
    query, key = select(record), [record.c.source, record.c.id]
    if account:
        query = select(record, charge.c.id.label("of")).join(charge, charge.c.id == record.c.charge_id)
        query, key = query.where(charge.c.account_id == account), [record.c.charge_id]
    if source:
        query = query.where(record.c.source == source)

    def make(row: Any) -> UsageView:
        return UsageView(
            source=row.source, id=row.id, subscriber=row.subscriber_id, tariff=row.tariff_id, quantity=row.quantity,
            at=row.at, destination=row.destination, charge=row.charge_id, imported_at=row.imported_at,
        )  # fmt: skip

    return page(call, UsageView, query, key, paging, make)


def _version(tariff: Tariff, version: TariffVersion) -> TariffVersionView:
    price = headline(version)
    size = f"{price.size} " if price.size > 1 else ""
    text = f"{amount(price.amount, version.currency)} {version.currency} per {size}{version.unit}"
    return TariffVersionView(
        tariff=tariff.tariff_id, names=dict(tariff.names), version=version.version_id,
        effective_from=version.effective_from, currency=version.currency, unit=version.unit,
        price=text if price.exact else f"up to {text}", content=json.loads(version.content),
    )  # fmt: skip


@tariff_routes.get("", needs="tariffs.read")
def list_tariffs(call: Call, paging: PageOf) -> Page[TariffVersionView]:
    """The versions of the tariffs in force."""
    rows = [_version(tariff, version) for tariff in call.web.offers.tariffs for version in tariff.versions]
    return listed(paging, TariffVersionView, rows)


@tariff_routes.get("/{tariff}", needs="tariffs.read")
def show_tariff(call: Call, tariff: TariffId, paging: PageOf) -> Page[TariffVersionView]:
    """All versions of a tariff."""
    try:
        found = call.web.offers.tariffs.tariff(tariff)
    except TariffError as no:
        raise Problem(404, str(no)) from None
    return listed(paging, TariffVersionView, [_version(found, version) for version in found.versions])


@tariff_routes.post("/simulate", needs="tariffs.read", slow=True, problems=[409])
def simulate_tariff(call: Call, body: SimulationForm) -> SimulationView:
    """Rate a month's past use by another tariff and see who would pay more and less. Nothing is charged."""
    with tempfile.TemporaryDirectory(prefix="tollgate-tariff-") as folder:
        file = Path(folder) / "tariff.toml"
        file.write_text(body.toml, encoding="utf-8")
        tariff, problems = read_tariff(file)
    if tariff is None:
        faults = [Fault(where=each.key or "toml", reason=str(each.reason)) for each in problems[:50]]
        raise Problem(422, "; ".join(f"{fault.where}: {fault.reason}" for fault in faults)[:2000], errors=faults)
    version = tariff.versions[-1]
    try:
        named_period(body.period, call.operator.settings.operator.zone)
        kept = TariffVersions(lambda: TariffBook([]))
        past = list(histories(call.connection, kept, tariff.tariff_id, body.period))
    except (PeriodError, TariffError) as no:
        raise Problem(422, str(no)) from None
    if not past:
        raise Problem(409, f"no use was charged by tariff {tariff.tariff_id!r} in {body.period}; nothing to compare")
    other = {each.use.version.currency for history in past for each in history.charged} - {version.currency}
    if other:
        raise Problem(409, f"the tariff is in {version.currency}, but {body.period} in {', '.join(sorted(other))}")
    result = simulate(past, version)

    def view(bill: Bill) -> BillView:
        now, then, more = (amount(each, version.currency) for each in (bill.now, bill.then, bill.difference))
        return BillView(
            account=bill.account, uses=bill.uses, quantity=bill.quantity, now=now, then=then, difference=more
        )

    bills = sorted(result.bills, key=lambda bill: -abs(bill.difference))
    return SimulationView(
        period=body.period, tariff=version.tariff_id, version=version.version_id, currency=version.currency,
        unit=version.unit, total=view(result.total), accounts=[view(bill) for bill in bills[:1000]],
        account_count=len(bills),
        unrated=[{"account": a, "agreement": g, "reason": r} for a, g, r in result.unrated[:1000]],
    )  # fmt: skip
