"""Use and what was charged for it, and how a cost came about."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import select

from charging.rating import RatingError, decimal_text
from charging.tariffs import TariffBook, TariffError
from charging.tariffs.explain import explain
from operator_server.counting.tariffs import TariffVersions
from operator_server.store.accounting import Charge
from operator_server.store.rows import matching, table
from operator_server.store.usage import UsageRecord
from operator_server.usage.history import UnknownUse, find_use
from operator_server.web.api.forms import Identifier, IdFilter, amount
from operator_server.web.calls import Call
from operator_server.web.pages import Page, PageOf, page
from operator_server.web.problems import Problem, the_row
from operator_server.web.routes import Routes

routes = Routes("Use and charges", "/api/v1")


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
    query = matching(
        select(charge),
        (charge.c.account_id, account), (charge.c.agreement_id, agreement), (charge.c.invoice_id, invoice),
    )  # fmt: skip
    return page(call, ChargeView, query, [charge.c.id], paging, _charge, newest_first=True)


@routes.get("/charges/{charge}", needs="charges.read")
def show_charge(call: Call, charge: Identifier) -> ChargeView:
    """A charge."""
    rows = table(Charge)
    row = the_row(call.connection, select(rows).where(rows.c.id == charge), f"charge {charge}")
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
        agrees=found.agrees(told),
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
    query = matching(query, (record.c.source, source))

    def make(row: Any) -> UsageView:
        return UsageView(
            source=row.source, id=row.id, subscriber=row.subscriber_id, tariff=row.tariff_id, quantity=row.quantity,
            at=row.at, destination=row.destination, charge=row.charge_id, imported_at=row.imported_at,
        )  # fmt: skip

    return page(call, UsageView, query, key, paging, make)
