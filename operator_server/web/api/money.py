"""What moves money: top-ups, adjustments, payments, credit notes. Each request has an Idempotency-Key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy import Connection, select
from starlette.responses import Response

from charging.balances.tables import UnitBucket
from charging.invoices.export import to_data
from charging.invoices.model import Invoice, InvoiceError
from operator_server.balances import money
from operator_server.balances.once import BalanceError
from operator_server.receivables.books import ReceivablesError
from operator_server.receivables.credit_notes import CreditRequest, make_credit_note
from operator_server.receivables.payments import NewPayment, add_payment
from operator_server.store.accounting import InvoiceRow
from operator_server.store.receivables import CreditNoteRow, PaymentRow
from operator_server.store.rows import matching, table
from operator_server.web.api import accounts
from operator_server.web.api.forms import Amount, Form, Identifier, IdFilter, amount
from operator_server.web.api.invoices import DOWNLOAD, InvoiceForm, Number, document_response
from operator_server.web.calls import Answer, Call, IdempotencyKey
from operator_server.web.pages import Page, PageOf, page
from operator_server.web.problems import Problem, the_row
from operator_server.web.routes import Routes
from signalling.money import MoneyError, checked_currency, decimal_micros

routes = Routes("Money", "/api/v1")

SignedAmount = Annotated[
    str, Field(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,6})?$", examples=["-4.99"], description="Decimal, in major units")
]
Reason = Annotated[str, Field(min_length=1, max_length=500)]


class TopUpForm(Form):
    """Money that was paid ahead."""

    amount: Amount
    valid_until: AwareDatetime | None = Field(default=None, description="When what is left ends; null is never")
    reason: str = Field(default="", max_length=500)


class AdjustmentForm(Form):
    """A correction of what is paid ahead."""

    amount: SignedAmount
    reason: Reason


class MovementView(BaseModel):
    """What was booked on a balance."""

    account: str
    amount: str
    currency: str
    balance: str = Field(description="What is paid ahead now")
    reference: str


class BucketView(BaseModel):
    """Units that an account may use."""

    id: str
    account: str
    unit: str
    name: str
    granted: int
    remaining: int
    reserved: int
    priority: int
    valid_from: datetime
    valid_until: datetime | None
    state: str


class PaymentForm(Form):
    """Money that came in."""

    account: str | None = Field(default=None, min_length=1, max_length=64, description="Null puts it into suspense")
    amount: Amount
    currency: str = Field(pattern=r"^[A-Z]{3}$", examples=["EUR"])
    booked_on: date
    invoices: list[Annotated[str, Field(max_length=64)]] = Field(default=[], max_length=100)
    reference: str = Field(default="", max_length=200)
    payer: str = Field(default="", max_length=200)
    reason: str = Field(default="", max_length=500, description="Why it is in suspense, where it is")


class PaymentView(BaseModel):
    """A payment."""

    id: str
    account: str | None
    amount: str
    currency: str
    booked_on: date
    method: str
    state: str
    reason: str
    reference: str
    payer: str
    recorded_at: datetime


class PaymentTaken(PaymentView):
    """A payment as it was taken in."""

    settled: dict[str, str] = Field(description="What was set against which debt")
    left: str = Field(description="What stands to the account's credit")


class CreditForm(Form):
    """What is to be credited of an invoice; without lines, all that is left of it."""

    invoice: str = Field(min_length=1, max_length=64)
    lines: dict[Annotated[str, Field(max_length=16)], Amount | None] | None = Field(
        default=None, max_length=500, description="Net by line, null for all that is left of the line"
    )
    reason: Reason


class CreditNoteView(BaseModel):
    """A credit note, without its lines."""

    id: str
    number: str
    invoice: str
    account: str
    currency: str
    net: str
    tax: str
    total: str
    reason: str
    by: str
    issued_at: datetime


class CreditNoteDetail(CreditNoteView):
    """A credit note as it was made."""

    document: dict[str, Any]


def request_name(call: Call, key: str) -> str:
    """How ledger and books name the request: the same for each of its retries."""
    return "api-" + hashlib.sha256(f"{call.caller.person}\n{key}".encode()).hexdigest()[:32]


def _told(do: Callable[[], Any]) -> Any:
    """Do it; what cannot be done is a problem that says why."""
    try:
        return do()
    except BalanceError as no:
        raise Problem(
            404 if no.code == "unknown_account" else 422 if no.code == "bad_amount" else 409, str(no)
        ) from None
    except (ReceivablesError, InvoiceError) as no:
        raise Problem(409, str(no)) from None
    except (MoneyError, OverflowError) as no:
        raise Problem(422, str(no)) from None


def _moved(
    call: Call, account: str, key: str, do: Callable[[Connection], Any], micros: int, action: str, reason: str
) -> Response:
    def operation(connection: Connection) -> Answer:
        owner = accounts.one(connection, account)
        told = {"amount": amount(micros, owner.currency), "id": request_name(call, key), "reason": reason}
        _told(lambda: call.changed(connection, action, f"account/{account}", do, told))
        balance = sum(each.remaining for each in money.credits_of(connection, account, owner.currency, call.now))
        view = MovementView(
            account=account, amount=amount(micros, owner.currency), currency=owner.currency,
            balance=amount(balance, owner.currency), reference=request_name(call, key),
        )  # fmt: skip
        return Answer(view, 201)

    return call.once(key, operation)


@routes.post(
    "/accounts/{account}/top-ups", needs="balances.write", status=201, problems=[409], model=MovementView
)  # fmt: skip
def top_up(call: Call, account: Identifier, body: TopUpForm, key: IdempotencyKey) -> Response:
    """Credit money that the customer paid ahead."""
    micros, name = decimal_micros(body.amount), request_name(call, key)

    def do(connection: Connection) -> Any:
        return money.top_up(
            connection, account, micros, id=name, valid_until=body.valid_until, reason=body.reason, now=call.now
        )

    return _moved(call, account, key, do, micros, "balance.top_up", body.reason)


@routes.post(
    "/accounts/{account}/adjustments", needs="balances.write", status=201, problems=[409], model=MovementView
)  # fmt: skip
def adjust(call: Call, account: Identifier, body: AdjustmentForm, key: IdempotencyKey) -> Response:
    """Correct what is paid ahead, for a reason that is kept; never below zero."""
    micros, name = decimal_micros(body.amount), request_name(call, key)

    def do(connection: Connection) -> Any:
        return money.adjust(connection, account, micros, id=name, reason=body.reason, now=call.now)

    return _moved(call, account, key, do, micros, "balance.adjust", body.reason)


@routes.get("/accounts/{account}/buckets", needs="balances.read")
def list_buckets(call: Call, account: Identifier, paging: PageOf) -> Page[BucketView]:
    """Units that the account may use."""
    accounts.one(call.connection, account)
    bucket = table(UnitBucket)

    def make(row: Any) -> BucketView:
        shared = {name: getattr(row, name) for name in BucketView.model_fields if name != "account"}
        return BucketView(account=row.owner, **shared)

    return page(call, BucketView, select(bucket).where(bucket.c.owner == account), [bucket.c.id], paging, make)


def _payment(row: Any) -> dict[str, Any]:
    return {
        "id": row.id, "account": row.account_id, "amount": amount(row.amount, row.currency), "currency": row.currency,
        "booked_on": row.booked_on, "method": row.method, "state": row.state, "reason": row.reason,
        "reference": row.reference, "payer": row.payer, "recorded_at": row.recorded_at,
    }  # fmt: skip


@routes.get("/payments", needs="payments.read")
def list_payments(
    call: Call,
    paging: PageOf,
    account: IdFilter = "",
    state: Literal["booked", "suspense", "assigned", "returned", ""] = "",
) -> Page[PaymentView]:
    """Payments by id; `state=suspense` are those that nobody could be found for."""
    payment = table(PaymentRow)
    query = matching(select(payment), (payment.c.account_id, account), (payment.c.state, state))
    return page(call, PaymentView, query, [payment.c.id], paging, lambda row: PaymentView(**_payment(row)))


@routes.get("/payments/{payment}", needs="payments.read")
def show_payment(call: Call, payment: Identifier) -> PaymentView:
    """A payment."""
    rows = table(PaymentRow)
    row = the_row(call.connection, select(rows).where(rows.c.id == payment), f"payment {payment}")
    return PaymentView(**_payment(row))


@routes.post("/payments", needs="payments.write", status=201, problems=[404, 409], model=PaymentTaken)
def create_payment(call: Call, body: PaymentForm, key: IdempotencyKey) -> Response:
    """Take a payment in: set against the debts that it names, else the oldest; the rest stands to the credit."""

    def operation(connection: Connection) -> Answer:
        if body.account is not None:
            accounts.one(connection, body.account)

        def take(connection: Connection) -> PaymentTaken:
            new = NewPayment(
                decimal_micros(body.amount), checked_currency(body.currency), body.booked_on, body.account,
                tuple(body.invoices), request_name(call, key), reference=body.reference, payer=body.payer,
                reason=body.reason,
            )  # fmt: skip
            taken, rows = add_payment(connection, call.operator.settings, new, call.now), table(PaymentRow)
            row = connection.execute(select(rows).where(rows.c.id == taken.payment)).one()
            return PaymentTaken(
                **_payment(row), settled={number: amount(micros, row.currency) for number, micros in taken.settled},
                left=amount(taken.left, row.currency),
            )  # fmt: skip

        view = _told(
            lambda: call.changed(
                connection, "payment.take", lambda made: f"payment/{made.id}", take,
                lambda made: {"settled": made.settled, "left": made.left},
            )
        )  # fmt: skip
        return Answer(view, 201, {"Location": f"/api/v1/payments/{view.id}"})

    return call.once(key, operation)


def _note(row: Any) -> dict[str, Any]:
    return {
        "id": row.id, "number": row.number, "invoice": row.invoice_number, "account": row.account_id,
        "currency": row.currency, "net": amount(row.net, row.currency), "tax": amount(row.tax, row.currency),
        "total": amount(row.total, row.currency), "reason": row.reason, "by": row.by, "issued_at": row.issued_at,
    }  # fmt: skip


@routes.get("/credit-notes", needs="credit_notes.read")
def list_credit_notes(
    call: Call, paging: PageOf, account: IdFilter = "", invoice: IdFilter = ""
) -> Page[CreditNoteView]:
    """Credit notes, newest first; `invoice` is an invoice's number."""
    note = table(CreditNoteRow)
    query = matching(
        select(*(column for column in note.c if column.name != "document")),
        (note.c.account_id, account),
        (note.c.invoice_number, invoice),
    )
    return page(call, CreditNoteView, query, [note.c.id], paging, lambda row: CreditNoteView(**_note(row)),
                newest_first=True)  # fmt: skip


def _note_row(connection: Connection, number: str) -> Any:
    note = table(CreditNoteRow)
    return the_row(connection, select(note).where(note.c.number == number), f"credit note {number}")


def _note_detail(row: Any) -> CreditNoteDetail:
    return CreditNoteDetail(**_note(row), document=to_data(msgspec.json.decode(row.document, type=Invoice)))


@routes.get("/credit-notes/{number}", needs="credit_notes.read")
def show_credit_note(call: Call, number: Number) -> CreditNoteDetail:
    """A credit note with its lines."""
    return _note_detail(_note_row(call.connection, number))


@routes.get("/credit-notes/{number}/{form}", needs="credit_notes.read", slow=True, problems=[409], answers=DOWNLOAD)
def download_credit_note(call: Call, number: Number, form: InvoiceForm) -> Response:
    """The credit note as PDF, as PDF with EN 16931 XML in it (Factur-X), as CSV or as JSON."""
    return document_response(msgspec.json.decode(_note_row(call.connection, number).document, type=Invoice), form)


@routes.post("/credit-notes", needs="credit_notes.write", status=201, problems=[404, 409], model=CreditNoteDetail)
def create_credit_note(call: Call, body: CreditForm, key: IdempotencyKey) -> Response:
    """Credit an invoice, or lines of it; never more than is left."""

    def operation(connection: Connection) -> Answer:
        invoices = table(InvoiceRow)
        the_row(connection, select(invoices.c.id).where(invoices.c.number == body.invoice), f"invoice {body.invoice}")
        lines = None
        if body.lines is not None:
            lines = {line: None if net is None else decimal_micros(net) for line, net in body.lines.items()}
        request = CreditRequest(body.invoice, lines, body.reason, call.caller.actor, request_name(call, key))

        def make(connection: Connection) -> CreditNoteDetail:
            made = make_credit_note(connection, call.operator.settings, request, call.now)
            return _note_detail(_note_row(connection, made.number))

        view = _told(
            lambda: call.changed(
                connection, "credit_note.make", f"invoice/{body.invoice}", make,
                lambda made: made.model_dump(exclude={"document"}),
            )
        )  # fmt: skip
        return Answer(view, 201, {"Location": f"/api/v1/credit-notes/{view.number}"})

    return call.once(key, operation)
