"""What may be demanded of whom: SEPA mandates, disputes that hold a debt, reminders that were written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection, select

from operator_server.receivables.books import ReceivablesError
from operator_server.receivables.collecting import NewMandate, add_mandate, revoke_mandate
from operator_server.receivables.disputes import place_hold, release_hold
from operator_server.store.parties import Account
from operator_server.store.receivables import DisputeHold, Mandate, Reminder
from operator_server.store.rows import matching, table
from operator_server.web.api.forms import Form, Identifier, IdFilter, amount
from operator_server.web.calls import Answer, Call
from operator_server.web.pages import Page, PageOf, page
from operator_server.web.problems import Problem, the_row
from operator_server.web.routes import Routes

routes = Routes("Claims", "/api/v1")

T = TypeVar("T")

Line = Annotated[str, Field(max_length=16, description="Only this line of the invoice; empty for the whole")]
DebtNumber = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]{1,64}$")]


class MandateForm(Form):
    """A customer's permission to collect."""

    id: str = Field(min_length=1, max_length=35, description="Reference of the mandate")
    account: str = Field(min_length=1, max_length=64)
    iban: str = Field(min_length=5, max_length=50)
    signed_on: date
    bic: str = Field(default="", max_length=11)
    holder: str = Field(default="", max_length=70, description="Left out, the account's name")


class MandateView(BaseModel):
    """A mandate; of the IBAN only country and last four characters are told."""

    id: str
    account: str
    holder: str
    iban: str
    signed_on: date
    state: str = Field(description="active or revoked")
    created_at: datetime
    revoked_at: datetime | None
    first_used_on: date | None


class HoldForm(Form):
    """A debt, or a line of an invoice, that a customer disputes."""

    number: DebtNumber
    line: Line = ""
    reason: str = Field(min_length=1, max_length=500, description="What the customer says")


class HoldView(BaseModel):
    """A dispute: while it is not released, nobody is reminded of the debt, nor is it collected."""

    id: str
    number: str
    line: str
    reason: str
    by: str
    placed_at: datetime
    released_at: datetime | None
    released_by: str


class RemindedDebt(BaseModel):
    """A debt that a letter names."""

    number: str
    amount: str


class ReminderView(BaseModel):
    """A letter that was written."""

    id: str
    account: str
    level: int
    currency: str
    fee: str
    total: str
    debts: list[RemindedDebt]
    pay_by: date
    state: str = Field(description="waiting, sent, failed or no_email")
    reason: str
    made_at: datetime
    sent_at: datetime | None


def _changed(call: Call, operation: Callable[[Connection], T]) -> T:
    try:
        return call.write(operation)
    except ReceivablesError as no:
        raise Problem(409, str(no)) from None


def _mandate(row: Any) -> MandateView:
    return MandateView(
        id=row.id, account=row.account_id, holder=row.holder, iban=f"{row.iban[:2]}...{row.iban[-4:]}",
        signed_on=row.signed_on, state=row.state, created_at=row.created_at, revoked_at=row.revoked_at,
        first_used_on=row.first_used_on,
    )  # fmt: skip


def _mandate_of(connection: Connection, mandate: str) -> MandateView:
    rows = table(Mandate)
    row = the_row(connection, select(rows).where(rows.c.id == mandate), f"mandate {mandate}")
    return _mandate(row)


@routes.get("/mandates", needs="payments.read")
def list_mandates(call: Call, paging: PageOf, account: IdFilter = "") -> Page[MandateView]:
    """SEPA direct-debit mandates, by reference."""
    rows = table(Mandate)
    query = matching(select(rows), (rows.c.account_id, account))
    return page(call, MandateView, query, [rows.c.id], paging, _mandate)


@routes.get("/mandates/{mandate}", needs="payments.read")
def show_mandate(call: Call, mandate: Identifier) -> MandateView:
    """A mandate."""
    return _mandate_of(call.connection, mandate)


@routes.post("/mandates", needs="payments.write", status=201, problems=[404, 409], model=MandateView)
def create_mandate(call: Call, body: MandateForm) -> Answer:
    """Keep a mandate; the one that the account had before is revoked."""

    def keep(connection: Connection) -> MandateView:
        accounts = table(Account)
        the_row(connection, select(accounts.c.id).where(accounts.c.id == body.account), f"account {body.account}")
        rows = table(Mandate)
        known = connection.execute(select(rows.c.id).where(rows.c.id == body.id)).first() is not None
        new = NewMandate(body.id, body.account, body.iban, body.signed_on, body.bic, body.holder)
        call.changed(
            connection, "mandate.add", f"mandate/{body.id}",
            lambda c: add_mandate(c, call.operator.settings, new, call.now),
            lambda former: None if known else {"replaces": former} if former else {},
        )  # fmt: skip
        return _mandate_of(connection, body.id)

    return Answer(_changed(call, keep), 201, {"Location": f"/api/v1/mandates/{body.id}"})


@routes.post("/mandates/{mandate}/revoke", needs="payments.write", problems=[409])
def end_mandate(call: Call, mandate: Identifier) -> MandateView:
    """Collect nothing by the mandate any more; one that is revoked already stays so."""

    def revoke(connection: Connection) -> MandateView:
        _mandate_of(connection, mandate)
        call.changed(
            connection, "mandate.revoke", f"mandate/{mandate}",
            lambda c: revoke_mandate(c, call.operator.settings, mandate, call.now), lambda was: {} if was else None,
        )  # fmt: skip
        return _mandate_of(connection, mandate)

    return _changed(call, revoke)


def _hold(row: Any) -> HoldView:
    return HoldView(**{name: getattr(row, name) for name in HoldView.model_fields})


def _hold_of(connection: Connection, dispute: str) -> HoldView:
    rows = table(DisputeHold)
    row = the_row(connection, select(rows).where(rows.c.id == dispute), f"dispute {dispute}")
    return _hold(row)


@routes.get("/disputes", needs="payments.read")
def list_disputes(
    call: Call,
    paging: PageOf,
    number: IdFilter = "",
    released: Annotated[bool, Query(description="Released ones too")] = False,
) -> Page[HoldView]:
    """Disputes, the oldest first."""
    rows = table(DisputeHold)
    query = matching(select(rows), (rows.c.number, number))
    if not released:
        query = query.where(rows.c.released_at.is_(None))
    return page(call, HoldView, query, [rows.c.id], paging, _hold)


@routes.post("/disputes", needs="payments.write", status=201, problems=[409], model=HoldView)
def hold_debt(call: Call, body: HoldForm) -> Answer:
    """Hold an invoice, a fee, or a line: nobody is reminded of it and it is not collected until it is released.

    One that is held already stays as it is.
    """

    def hold(connection: Connection) -> HoldView:
        rows = table(DisputeHold)
        before = set(connection.execute(select(rows.c.id).where(rows.c.number == body.number)).scalars())
        id = call.changed(
            connection, "dispute.hold", f"debt/{body.number}",
            lambda c: place_hold(
                c, call.operator.settings, body.number, call.now, line=body.line, reason=body.reason,
                by=call.caller.actor,
            ),
            lambda id: None if id in before else {"dispute": id, "line": body.line, "reason": body.reason},
        )  # fmt: skip
        return _hold_of(connection, id)

    return Answer(_changed(call, hold), 201)


@routes.post("/disputes/{dispute}/release", needs="payments.write", problems=[409])
def release_debt(call: Call, dispute: Identifier) -> HoldView:
    """End a dispute: what is due is demanded again."""

    def release(connection: Connection) -> HoldView:
        before = _hold_of(connection, dispute)
        if before.released_at is not None:
            raise Problem(409, f"dispute {dispute}: was released by {before.released_by or 'somebody'} before")
        call.changed(
            connection, "dispute.release", f"debt/{before.number}",
            lambda c: release_hold(
                c, call.operator.settings, before.number, call.now, line=before.line, by=call.caller.actor
            ),
            {"dispute": dispute, "line": before.line},
        )  # fmt: skip
        return _hold_of(connection, dispute)

    return _changed(call, release)


def _reminder(row: Any) -> ReminderView:
    return ReminderView(
        id=row.id, account=row.account_id, level=row.level, currency=row.currency, fee=amount(row.fee, row.currency),
        total=amount(row.total, row.currency),
        debts=[
            RemindedDebt(number=each["number"], amount=amount(each["micros"], row.currency)) for each in row.items
        ],
        pay_by=row.pay_by, state=row.state, reason=row.reason, made_at=row.made_at, sent_at=row.sent_at,
    )  # fmt: skip


@routes.get("/reminders", needs="payments.read")
def list_reminders(call: Call, paging: PageOf, account: IdFilter = "") -> Page[ReminderView]:
    """Reminders, the newest first."""
    rows = table(Reminder)
    query = matching(select(rows), (rows.c.account_id, account))
    return page(call, ReminderView, query, [rows.c.id], paging, _reminder, newest_first=True)
