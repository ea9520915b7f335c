"""Invoices as they were made, and bill runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Path
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy import Connection, bindparam, select
from starlette.responses import Response

from charging.invoices.export import to_csv, to_data, to_json
from charging.invoices.model import Invoice, InvoiceError
from charging.invoices.pdf import render_facturx, render_pdf
from charging.periods import PeriodError
from charging.periods import period as named_period
from operator_server.store.accounting import BillRun, InvoiceRow
from operator_server.store.rows import matching, table
from operator_server.web.api.forms import PERIOD, Form, Identifier, IdFilter, Month
from operator_server.web.api.jobs import JobView, begun, jobs_of
from operator_server.web.calls import Answer, Call, etag_of
from operator_server.web.pages import Page, PageOf, ReadList, Statement, page
from operator_server.web.problems import Problem, the_row
from operator_server.web.routes import Routes
from operator_server.web.works import BILL_RUN
from signalling.clock import from_micros
from signalling.money import format_micros

routes = Routes("Invoices", "/api/v1")

Number = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]{1,64}$")]
InvoiceForm = Literal["pdf", "facturx", "csv", "json"]

_KINDS = {
    "pdf": ("application/pdf", "pdf"), "facturx": ("application/pdf", "pdf"), "csv": ("text/csv", "csv"),
    "json": ("application/json", "json"),
}  # fmt: skip


class InvoiceView(BaseModel):
    """An invoice, without its lines."""

    id: str
    number: str
    account: str
    period: str
    currency: str
    net: str
    tax: str
    total: str
    issued_at: datetime
    bill_run: str
    transfer: str


class InvoiceDetail(InvoiceView):
    """An invoice as it was made."""

    document: dict[str, Any] = Field(description="All that it says; lines carry agreement_id and charge_ids")


class BillRunView(BaseModel):
    """A bill run over a period."""

    id: str
    period: str
    until: datetime
    started_at: datetime
    finished_at: datetime | None
    state: str
    invoices: int


_decoder = msgspec.json.Decoder(Invoice)
_INVOICE = table(InvoiceRow).c
_COLUMNS = (
    _INVOICE.id, _INVOICE.number, _INVOICE.account_id, _INVOICE.period, _INVOICE.currency, _INVOICE.net, _INVOICE.tax,
    _INVOICE.total, _INVOICE.issued_at, _INVOICE.bill_run_id, _INVOICE.transfer_id,
)  # fmt: skip


def _values(row: Sequence[Any]) -> dict[str, Any]:
    """The fields of an :class:`InvoiceView` from the values of :data:`_COLUMNS` as the driver tells them."""
    id_, number, account, period, currency, net, tax, total, issued_at, run, transfer, *_ = row
    return {
        "id": id_, "number": number, "account": account, "period": period, "currency": currency,
        "net": format_micros(net, currency), "tax": format_micros(tax, currency),
        "total": format_micros(total, currency), "issued_at": from_micros(issued_at), "bill_run": run,
        "transfer": transfer,
    }  # fmt: skip


_LIST = ReadList(
    _COLUMNS, {"account": _INVOICE.account_id, "period": _INVOICE.period, "bill_run": _INVOICE.bill_run_id}, _values,
    newest_first=True,
)  # fmt: skip
_ONE: dict[str, Statement] = {}


def _row(call: Call, number: str) -> Sequence[Any]:
    """The values of :data:`_COLUMNS`, and the document. Raises :class:`Problem` 404."""
    connection = call.connection
    statement = _ONE.get(connection.dialect.name)
    if statement is None:
        query = select(*_COLUMNS, _INVOICE.document).where(_INVOICE.number == bindparam("number"))
        statement = _ONE[connection.dialect.name] = Statement(query, connection)
    rows = statement.rows(connection, {"number": number})
    if not rows:
        raise Problem(404, f"invoice {number}: there is none")
    return rows[0]


@routes.get("/invoices", needs="invoices.read", model=Page[InvoiceView])
def list_invoices(
    call: Call, paging: PageOf, account: IdFilter = "", period: Month = "", bill_run: IdFilter = ""
) -> bytes:
    """Invoices, newest first."""
    return _LIST.page(call, paging, account=account, period=period, bill_run=bill_run)


@routes.get("/invoices/{number}", needs="invoices.read", model=InvoiceDetail)
def show_invoice(call: Call, number: Number) -> bytes:
    """An invoice with its lines."""
    row = _row(call, number)
    told = _values(row)
    told["document"] = to_data(_decoder.decode(row[-1]))
    return msgspec.json.encode(told)


DOWNLOAD = {
    200: {
        "description": "The document",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("application/pdf", "text/csv")
        }
        | {"application/json": {}},
        "headers": {"Content-Disposition": {"schema": {"type": "string"}}},
    }
}


@routes.get("/invoices/{number}/{form}", needs="invoices.read", slow=True, problems=[409], answers=DOWNLOAD)
def download_invoice(call: Call, number: Number, form: InvoiceForm) -> Response:
    """The invoice as PDF, as PDF with EN 16931 XML in it (Factur-X), as CSV or as JSON."""
    invoice = _decoder.decode(_row(call, number)[-1])
    return document_response(invoice, form)


def document_response(invoice: Invoice, form: InvoiceForm) -> Response:
    """A document to be saved under its own number, whatever the request said."""
    try:
        match form:
            case "pdf":
                content = render_pdf(invoice)
            case "facturx":
                content = render_facturx(invoice)
            case "csv":
                content = to_csv(invoice).encode()
            case "json":
                content = to_json(invoice)
    except InvoiceError as no:
        raise Problem(409, f"{invoice.number}: cannot be made in this form: {no}") from None
    media_type, suffix = _KINDS[form]
    headers = {
        "Content-Disposition": f'attachment; filename="{invoice.number}.{suffix}"',
        "Cache-Control": "private, no-cache",
        "ETag": etag_of(content),
    }
    return Response(content, 200, headers, media_type)


def _run(row: Any) -> BillRunView:
    return BillRunView(
        id=row.id, period=row.period, until=row.until_at, started_at=row.started_at, finished_at=row.finished_at,
        state=row.state, invoices=row.invoices,
    )  # fmt: skip


@routes.get("/bill-runs", needs="bill_runs.read")
def list_bill_runs(call: Call, paging: PageOf, period: Month = "") -> Page[BillRunView]:
    """Bill runs, newest first."""
    run = table(BillRun)
    query = matching(select(run), (run.c.period, period))
    return page(call, BillRunView, query, [run.c.id], paging, _run, newest_first=True)


@routes.get("/bill-runs/{run}", needs="bill_runs.read")
def show_bill_run(call: Call, run: Identifier) -> BillRunView:
    """A bill run and how far it is."""
    rows = table(BillRun)
    row = the_row(call.connection, select(rows).where(rows.c.id == run), f"bill run {run}")
    return _run(row)


class BillRunForm(Form):
    """A bill run to start, or to go on with."""

    period: str = Field(pattern=f"^{PERIOD}$", description="Month, such as 2026-10")
    until: AwareDatetime | None = Field(default=None, description="Bill an open period up to this instant")
    draft: bool | None = Field(default=None, description="Make drafts to be approved; null: as the settings have it")


@routes.post("/bill-runs", needs="bill_runs.write", status=202, problems=[409], model=JobView)
def start_bill_run(call: Call, body: BillRunForm) -> Answer:
    """Start a bill run, or go on with one that stopped; one at a time. The answer says where to watch it."""
    now = call.now
    try:
        billed = named_period(body.period, call.operator.settings.operator.zone)
    except PeriodError as no:
        raise Problem(422, str(no)) from None
    if body.until is None and billed.end > now:
        raise Problem(409, f"period {body.period}: is not over; say `until` to bill a part of it")
    told = {"period": body.period, "until": body.until and body.until.isoformat(), "draft": body.draft}
    job = jobs_of(call).start(
        BILL_RUN, f"bill run {body.period}", body.period, told, call.caller.actor, also=started(call, told)
    )
    return begun(job)


def started(call: Call, given: Mapping[str, Any]) -> Callable[[Connection, str], None]:
    """What writes that a bill run was started, with what it was given, in the transaction that makes its job."""
    draft = given["draft"]
    kind = "draft" if draft else "final" if draft is False else "by the settings"

    def write(connection: Connection, job: str) -> None:
        told = {"until": given["until"], "scope": "all", "kind": kind, "job": job}
        call.audited(connection, "bill_run.start", f"period/{given['period']}", None, told)

    return write
