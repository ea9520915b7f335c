"""Invoices sent by e-mail: asked for, how far they are, and which came back."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection, select

from operator_server.billing.dispatch import DispatchError, ask, ask_period
from operator_server.billing.invoices import UnknownInvoice
from operator_server.store.accounting import InvoiceRow
from operator_server.store.dispatch import InvoiceDispatch
from operator_server.store.rows import matching, table
from operator_server.web.api.forms import Form, IdFilter
from operator_server.web.api.invoices import Number
from operator_server.web.api.months import Period
from operator_server.web.calls import Answer, Call
from operator_server.web.pages import Page, PageOf, page
from operator_server.web.problems import Problem
from operator_server.web.routes import Routes
from signalling.clock import to_micros
from signalling.ids import new_id

routes = Routes("Invoices by e-mail", "/api/v1")


class DispatchForm(Form):
    """How an invoice is to be sent."""

    form: Literal["pdf", "facturx"] = "pdf"
    to: str = Field(default="", max_length=254, description="Empty: the account's e-mail address")


class DispatchView(BaseModel):
    """One e-mail with one invoice."""

    id: str
    invoice: str
    account: str
    recipient: str
    form: str
    state: str = Field(description="waiting, sent, refused, failed or bounced")
    reason: str = Field(description="What the mail server said of one that did not arrive")
    attempts: int
    created_at: datetime
    sent_at: datetime | None
    bounced_at: datetime | None
    asked_by: str


class SentView(BaseModel):
    """What was asked for a month."""

    period: str
    dispatches: int = Field(description="Invoices that wait for the worker, which sends them")
    sent_before: int
    no_address: list[str] = Field(description="Invoices without an e-mail address, at most 1000")


def _view(row: Any) -> DispatchView:
    return DispatchView(
        id=row.id, invoice=row.invoice_number, account=row.account_id, recipient=row.recipient, form=row.form,
        state=row.state, reason=row.reason, attempts=row.attempts, created_at=row.created_at, sent_at=row.sent_at,
        bounced_at=row.bounced_at, asked_by=row.asked_by,
    )  # fmt: skip


@routes.get("/dispatches", needs="invoices.read")
def list_dispatches(
    call: Call,
    paging: PageOf,
    account: IdFilter = "",
    invoice: IdFilter = "",
    state: Annotated[Literal["waiting", "sent", "refused", "failed", "bounced", ""], Query()] = "",
) -> Page[DispatchView]:
    """E-mails with invoices, the newest first; `state=bounced` are those that came back."""
    sent = table(InvoiceDispatch)
    query = matching(
        select(sent), (sent.c.account_id, account), (sent.c.invoice_number, invoice), (sent.c.state, state)
    )
    return page(call, DispatchView, query, [sent.c.id], paging, _view, newest_first=True)


@routes.post("/invoices/{number}/dispatches", needs="invoices.send", status=201, problems=[409], model=DispatchView)
def send_invoice(call: Call, number: Number, body: DispatchForm) -> Answer:
    """Send an invoice by e-mail, or send it again; the worker does it within seconds."""

    def send(connection: Connection) -> DispatchView:
        name = new_id(to_micros(call.now))
        try:
            call.changed(
                connection, "invoice.send", f"invoice/{number}",
                lambda c: ask(c, number, call.now, form=body.form, to=body.to, by=call.caller.actor, id=name),
                {"to": body.to or "the account's address", "form": body.form},
            )  # fmt: skip
        except UnknownInvoice as no:
            raise Problem(404, str(no)) from None
        except DispatchError as no:
            raise Problem(409, str(no)) from None
        sent = table(InvoiceDispatch)
        return _view(connection.execute(select(sent).where(sent.c.id == name)).one())

    view = call.write(send)
    return Answer(view, 201, {"Location": f"/api/v1/dispatches?invoice={number}"})


@routes.post("/months/{period}/dispatches", needs="invoices.send", status=202, slow=True, model=SentView)
def send_month(call: Call, period: Period) -> Answer:
    """Send all invoices of a month that did not go out before, or came back."""

    def send(connection: Connection) -> SentView:
        invoice = table(InvoiceRow)
        if connection.execute(select(invoice.c.id).where(invoice.c.period == period).limit(1)).first() is None:
            raise Problem(404, f"month {period} has no invoices; run its bills first")
        asked = ask_period(connection, period, call.now, by=call.caller.actor)
        told = {"form": "pdf", "invoices": len(asked.dispatches), "no_address": list(asked.no_address[:100])}
        call.audited(connection, "invoice.send", f"period/{period}", None, told)
        return SentView(
            period=period, dispatches=len(asked.dispatches), sent_before=asked.before,
            no_address=list(asked.no_address[:1000]),
        )  # fmt: skip

    return Answer(call.write(send), 202)
