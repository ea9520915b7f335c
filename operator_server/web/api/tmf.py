"""The names of TM Forum's Open APIs on the same data: TMF620 product offering, TMF635 usage, TMF654 prepay balance,
TMF678 customer bill. Thin views: what they do not name is in the API proper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import Column, Connection, Row, Select, func, literal_column, select
from starlette.responses import Response

from charging.balances.tables import BalanceOperation
from charging.ledger.tables import PREPAID, LedgerAccount
from operator_server.balances import money
from operator_server.balances.once import BalanceError
from operator_server.store.accounting import Charge, InvoiceRow
from operator_server.store.rows import matching, table
from operator_server.web.api import accounts
from operator_server.web.api.forms import Identifier, IdFilter, amount
from operator_server.web.api.invoices import Number
from operator_server.web.api.money import request_name
from operator_server.web.api.offers import OfferId
from operator_server.web.calls import Answer, Call, IdempotencyKey
from operator_server.web.pages import FARTHEST, MOST_ITEMS
from operator_server.web.problems import Problem, the_row
from operator_server.web.routes import Routes
from signalling.money import MoneyError, decimal_micros

routes = Routes("TM Forum", "/tmf-api")

OFFERINGS = "/tmf-api/productCatalogManagement/v4/productOffering"
USAGES = "/tmf-api/usageManagement/v4/usage"
BUCKETS = "/tmf-api/prepayBalanceManagement/v4/bucket"
TOP_UPS = "/tmf-api/prepayBalanceManagement/v4/topupBalance"
BILLS = "/tmf-api/customerBillManagement/v4/customerBill"


class Entity(BaseModel):
    """A TM Forum resource: `id`, `href`, `@type` and what its API names; `fields` chooses among these."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    id: str
    href: str
    type: str = Field(alias="@type")


_LIST = {
    200: {
        "description": "The resources; X-Total-Count says how many there are",
        "content": {
            "application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/Entity"}}}
        },
        "headers": {
            "X-Total-Count": {"schema": {"type": "integer"}, "description": f"Exact up to {FARTHEST}"},
            "X-Result-Count": {"schema": {"type": "integer"}},
        },
    }
}
_ONE = {
    200: {
        "description": "The resource",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Entity"}}},
    }
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which fields of which part of a list; no fields are all."""

    fields: frozenset[str]
    offset: int
    limit: int


async def _fields(
    fields: Annotated[str, Query(max_length=500, pattern=r"^[@A-Za-z,.]*$", description="Only these")] = "",
) -> frozenset[str]:
    return frozenset(name for name in fields.split(",") if name)


Fields = Annotated[frozenset[str], Depends(_fields)]


async def _wanted(
    fields: Fields,
    offset: Annotated[int, Query(ge=0, le=FARTHEST)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = 50,
) -> Wanted:
    return Wanted(fields, offset, limit)


Part = Annotated[Wanted, Depends(_wanted)]


def _chosen(entity: dict[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    if not fields:
        return entity
    kept = fields | {"id", "href", "@type"}
    return {name: value for name, value in entity.items() if name in kept}


def _told(content: Any, headers: dict[str, str] | None = None, status: int = 200) -> Response:
    told = {"Cache-Control": "private, no-cache", **(headers or {})}
    return Response(msgspec.json.encode(content), status, told, "application/json")


def _listed(entities: Sequence[dict[str, Any]], total: int, wanted: Wanted) -> Response:
    counts = {"X-Total-Count": str(min(total, FARTHEST)), "X-Result-Count": str(len(entities))}
    return _told([_chosen(entity, wanted.fields) for entity in entities], counts)


def _rows(
    call: Call,
    query: Select[Any],
    key: Column[Any],
    wanted: Wanted,
    make: Callable[[Row[Any]], dict[str, Any]],
) -> Response:
    some = query.with_only_columns(key).limit(FARTHEST + 1).subquery()
    total = int(call.connection.execute(select(func.count()).select_from(some)).scalar_one())
    rows = call.connection.execute(query.order_by(key.desc()).offset(wanted.offset).limit(wanted.limit))
    return _listed([make(row) for row in rows], total, wanted)


def _offering(call: Call, offer: Any) -> dict[str, Any]:
    language = call.operator.settings.operator.language
    valid = {
        name: at.isoformat()
        for name, at in (("startDateTime", offer.valid_from), ("endDateTime", offer.valid_until))
        if at is not None
    }
    return {
        "id": offer.id, "href": f"{OFFERINGS}/{offer.id}", "@type": "ProductOffering", "name": offer.title(language),
        "description": offer.description(language), "version": offer.version, "lifecycleStatus": "Active",
        "isBundle": False, "validFor": valid,
        "productSpecification": {"id": offer.product, "@type": "ProductSpecificationRef", "name": offer.product},
        "productOfferingPrice": [
            {"id": f"{offer.id}:{mode.id}", "name": mode.label(language), "@type": "ProductOfferingPriceRef"}
            for mode in offer.modes
        ],
    }  # fmt: skip


@routes.get("/productCatalogManagement/v4/productOffering", needs="offers.read", answers=_LIST)
def list_product_offerings(call: Call, wanted: Part) -> Response:
    """TMF620: the offers in force."""
    found = [_offering(call, offer) for offer in call.web.offers.memory.catalogue]
    return _listed(found[wanted.offset : wanted.offset + wanted.limit], len(found), wanted)


@routes.get("/productCatalogManagement/v4/productOffering/{offer}", needs="offers.read", answers=_ONE)
def show_product_offering(call: Call, offer: OfferId, fields: Fields) -> Response:
    """TMF620: an offer."""
    found = call.web.offers.memory.catalogue.get(offer)
    if found is None:
        raise Problem(404, f"product offering {offer}: there is none")
    return _told(_chosen(_offering(call, found), fields))


def _usage(row: Row[Any]) -> dict[str, Any]:
    def characteristic(name: str, value: Any) -> dict[str, Any]:
        return {"name": name, "value": value, "@type": "UsageCharacteristic"}

    return {
        "id": row.id, "href": f"{USAGES}/{row.id}", "@type": "Usage", "usageDate": row.effective_at.isoformat(),
        "usageType": row.counter or row.kind, "status": "billed" if row.invoice_id else "rated",
        "usageCharacteristic": [
            characteristic("quantity", row.quantity), characteristic("agreement", row.agreement_id),
            characteristic("period", row.period),
        ],
        "ratedProductUsage": [
            {
                "@type": "RatedProductUsage", "ratingDate": row.recorded_at.isoformat(),
                "taxExcludedRatingAmount": {"unit": row.currency, "value": amount(row.net, row.currency)},
                "isBilled": row.invoice_id is not None, "usageRatingTag": "usage",
            }
        ],
        "relatedParty": [{"id": row.account_id, "role": "customer", "@referredType": "Account"}],
    }  # fmt: skip


@routes.get("/usageManagement/v4/usage", needs="usage.read", answers=_LIST)
def list_tmf_usage(call: Call, wanted: Part, account: IdFilter = "") -> Response:
    """TMF635: what was charged for use, newest first."""
    charge = table(Charge)
    # A literal, since the index of charges for use serves no parameter.
    query = matching(select(charge).where(charge.c.kind == literal_column("'use'")), (charge.c.account_id, account))
    return _rows(call, query, charge.c.id, wanted, _usage)


@routes.get("/usageManagement/v4/usage/{usage}", needs="usage.read", answers=_ONE)
def show_tmf_usage(call: Call, usage: Identifier, fields: Fields) -> Response:
    """TMF635: one charge for use."""
    charge = table(Charge)
    row = the_row(call.connection, select(charge).where(charge.c.id == usage, charge.c.kind == "use"), f"usage {usage}")
    return _told(_chosen(_usage(row), fields))


def _bucket(connection: Connection, row: Row[Any]) -> dict[str, Any]:
    name = f"{row.owner}:{row.currency}"
    return {
        "id": name, "href": f"{BUCKETS}/{name}", "@type": "Bucket", "usageType": "monetary", "status": "active",
        "remainingValue": {"units": row.currency, "amount": amount(-row.balance, row.currency)},
        "reservedValue": {"units": row.currency, "amount": amount(row.reserved, row.currency)},
        "relatedParty": [{"id": row.owner, "role": "customer", "@referredType": "Account"}],
    }  # fmt: skip


def _prepaid() -> Select[Any]:
    ledger = table(LedgerAccount)
    return select(ledger).where(ledger.c.kind == PREPAID)


@routes.get("/prepayBalanceManagement/v4/bucket", needs="balances.read", answers=_LIST, problems=[404])
def list_tmf_buckets(
    call: Call,
    wanted: Part,
    account: Annotated[str, Query(min_length=1, max_length=64, description="Whose")],
) -> Response:
    """TMF654: what an account has paid ahead, one bucket a currency."""
    accounts.one(call.connection, account)
    ledger = table(LedgerAccount)
    rows = call.connection.execute(_prepaid().where(ledger.c.owner == account).order_by(ledger.c.currency)).all()
    found = [_bucket(call.connection, row) for row in rows]
    return _listed(found[wanted.offset : wanted.offset + wanted.limit], len(found), wanted)


@routes.get("/prepayBalanceManagement/v4/bucket/{bucket}", needs="balances.read", answers=_ONE)
def show_tmf_bucket(call: Call, bucket: Identifier, fields: Fields) -> Response:
    """TMF654: one bucket; its id is the account's, a colon and the currency."""
    owner, _, currency = bucket.rpartition(":")
    ledger = table(LedgerAccount)
    row = call.connection.execute(_prepaid().where(ledger.c.owner == owner, ledger.c.currency == currency)).first()
    if row is None:
        raise Problem(404, f"bucket {bucket}: there is none; ids are such as A-1001:EUR")
    return _told(_chosen(_bucket(call.connection, row), fields))


class Quantity(BaseModel):
    """An amount of money."""

    amount: str = Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})?$", examples=["10.00"])
    units: str = Field(pattern=r"^[A-Z]{3}$", examples=["EUR"])


class PartyRef(BaseModel):
    """Whose balance it is."""

    id: str = Field(min_length=1, max_length=64)


class TopUpOrder(BaseModel):
    """A top-up (TMF654)."""

    model_config = ConfigDict(extra="ignore")

    amount: Quantity
    relatedParty: list[PartyRef] = Field(min_length=1, max_length=1)
    validUntil: AwareDatetime | None = None
    description: str = Field(default="", max_length=500)


@routes.post(
    "/prepayBalanceManagement/v4/topupBalance", needs="balances.write", status=201, problems=[404, 409], model=Entity
)
def create_tmf_top_up(call: Call, body: TopUpOrder, key: IdempotencyKey) -> Response:
    """TMF654: credit money that the customer paid ahead."""
    owner, name = body.relatedParty[0].id, request_name(call, key)

    def operation(connection: Connection) -> Answer:
        held = accounts.one(connection, owner)
        if held.currency != body.amount.units:
            raise Problem(409, f"account {owner}: is in {held.currency}, not in {body.amount.units}")
        try:
            micros = decimal_micros(body.amount.amount)
            call.changed(
                connection, "balance.top_up", f"account/{owner}",
                lambda c: money.top_up(
                    c, owner, micros, id=name, valid_until=body.validUntil, reason=body.description, now=call.now
                ),
                {"amount": amount(micros, held.currency), "id": name, "reason": body.description},
            )  # fmt: skip
        except (BalanceError, MoneyError, OverflowError) as no:
            raise Problem(422, str(no)) from None
        told = _top_up(connection, name)
        assert told is not None
        return Answer(Entity(**told), 201, {"Location": f"{TOP_UPS}/{name}"})

    return call.once(key, operation)


def _top_up(connection: Connection, name: str) -> dict[str, Any] | None:
    rows = table(BalanceOperation)
    row = connection.execute(select(rows).where(rows.c.id == name, rows.c.kind == "top_up")).first()
    if row is None:
        return None
    owner, currency = row.answer["account"], row.answer["currency"]
    return {
        "id": name, "href": f"{TOP_UPS}/{name}", "@type": "TopupBalance", "status": "confirmed",
        "confirmationDate": row.at.isoformat(),
        "amount": {"amount": amount(row.answer["amount"], currency), "units": currency},
        "bucket": {"id": f"{owner}:{currency}", "href": f"{BUCKETS}/{owner}:{currency}", "@type": "BucketRef"},
        "relatedParty": [{"id": owner, "role": "customer", "@referredType": "Account"}],
    }  # fmt: skip


@routes.get("/prepayBalanceManagement/v4/topupBalance/{topup}", needs="balances.read", answers=_ONE)
def show_tmf_top_up(call: Call, topup: Identifier, fields: Fields) -> Response:
    """TMF654: a top-up that was made."""
    found = _top_up(call.connection, topup)
    if found is None:
        raise Problem(404, f"top-up {topup}: there is none")
    return _told(_chosen(found, fields))


def _bill(row: Row[Any]) -> dict[str, Any]:
    def sum_of(micros: int) -> dict[str, str]:
        return {"unit": row.currency, "value": amount(micros, row.currency)}

    return {
        "id": row.number, "href": f"{BILLS}/{row.number}", "@type": "CustomerBill", "billNo": row.number,
        "billDate": row.issued_at.isoformat(), "state": "sent", "category": "normal", "runType": "onCycle",
        "taxExcludedAmount": sum_of(row.net), "taxIncludedAmount": sum_of(row.net + row.tax),
        "amountDue": sum_of(row.total),
        "billDocument": [
            {"name": f"{row.number}.pdf", "mimeType": "application/pdf", "@type": "AttachmentRefOrValue",
             "url": f"/api/v1/invoices/{row.number}/pdf"}
        ],
        "relatedParty": [{"id": row.account_id, "role": "customer", "@referredType": "Account"}],
    }  # fmt: skip


@routes.get("/customerBillManagement/v4/customerBill", needs="invoices.read", answers=_LIST)
def list_customer_bills(call: Call, wanted: Part, account: IdFilter = "") -> Response:
    """TMF678: invoices, newest first."""
    invoices = table(InvoiceRow)
    query = matching(
        select(*(column for column in invoices.c if column.name != "document")), (invoices.c.account_id, account)
    )
    return _rows(call, query, invoices.c.id, wanted, _bill)


@routes.get("/customerBillManagement/v4/customerBill/{number}", needs="invoices.read", answers=_ONE)
def show_customer_bill(call: Call, number: Number, fields: Fields) -> Response:
    """TMF678: an invoice."""
    invoices = table(InvoiceRow)
    row = the_row(call.connection, select(invoices).where(invoices.c.number == number), f"customer bill {number}")
    return _told(_chosen(_bill(row), fields))
