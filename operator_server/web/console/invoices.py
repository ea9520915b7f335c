"""Invoices: find one, see why each line is on it, correct it, send it, note what was paid."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from sqlalchemy import Connection, Select, select
from starlette.responses import Response

from charging.invoices.export import to_data
from charging.invoices.model import InvoiceError
from charging.rating import RatingError, decimal_text
from charging.tariffs import TariffError
from charging.tariffs.explain import explain
from charging.tariffs.headline import headline
from operator_server.billing.details import with_use
from operator_server.billing.dispatch import DispatchError, ask
from operator_server.billing.invoices import UnknownInvoice
from operator_server.counting.tariffs import TariffVersions
from operator_server.receivables.books import ReceivablesError, decode
from operator_server.receivables.credit_notes import CreditRequest, load_credit_note, make_credit_note
from operator_server.receivables.disputes import place_hold, release_hold
from operator_server.receivables.payments import NewPayment, add_payment
from operator_server.store.accounting import Charge, InvoiceRow
from operator_server.store.parties import Account
from operator_server.store.receivables import DisputeHold
from operator_server.store.rows import matching, table
from operator_server.usage.history import UnknownUse, find_use
from operator_server.web.api.forms import Identifier
from operator_server.web.api.forms import amount as amount_text
from operator_server.web.api.invoices import InvoiceForm, Number, document_response
from operator_server.web.calls import Call
from operator_server.web.console import invoices_data as data
from operator_server.web.console.base import Form, Moved, Section, View, listing, moved, posted, show
from operator_server.web.console.once import fresh, once
from operator_server.web.console.render import money as money_text
from operator_server.web.pages import PageOf
from operator_server.web.problems import Problem
from signalling.money import MoneyError, decimal_micros

section = Section("Invoices", "/console/invoices", needs="invoices.read")

MOST_LINES = 200
CHARGES_A_PAGE = 50

MODES = {
    "free": "free", "one_off": "one-off", "per_use": "per use", "recurring": "recurring", "standing": "standing",
}  # fmt: skip


@section.page(needs="invoices.read")
def invoices(
    call: Call,
    paging: PageOf,
    q: Annotated[str, Query(max_length=64)] = "",
    account: Annotated[str, Query(max_length=64)] = "",
    period: Annotated[str, Query(max_length=16)] = "",
) -> View | Moved:
    """Find an invoice."""
    rows, wanted = table(InvoiceRow), q.strip().upper()
    if wanted and data.invoice_row(call.connection, wanted) is not None:
        return moved(_url(wanted))
    accounts = table(Account)
    query: Select[Any] = select(*(column for column in rows.c if column.name != "document"), accounts.c.name).join(
        accounts, accounts.c.id == rows.c.account_id
    )
    if wanted:
        query = query.where(rows.c.number >= wanted, rows.c.number < wanted + "\U0010ffff")
    query = matching(query, (rows.c.account_id, account.strip()), (rows.c.period, period.strip()))
    # By number where it is looked for, along its index.
    key = [rows.c.number] if wanted else [rows.c.id]
    found = listing(call, query, key, paging, lambda row: row, newest_first=True)
    return show("invoices_list.html", list=found, q=q.strip(), account=account.strip(), period=period.strip())


@section.page("/{number}", needs="invoices.read")
def invoice(call: Call, number: Number) -> View:
    """An invoice with its lines and what became of it."""
    row = _row(call.connection, number)
    shown = data.invoice_shown(call.connection, row)
    nets = {each.line_id: each.net_micros for each in shown.invoice.totals.lines}
    account = call.connection.execute(select(table(Account)).where(table(Account).c.id == row.account_id)).one()
    return show(
        "invoices_one.html", shown=shown, row=row, invoice=shown.invoice, nets=nets, account=account, once=fresh,
        lines=shown.invoice.lines[:MOST_LINES], more=max(0, len(shown.invoice.lines) - MOST_LINES),
        today=call.now.astimezone(call.operator.settings.operator.zone).date(),
        held=[each for each in shown.holds if each.released_at is None],
        sendable=call.operator.settings.outlet.kind, modes=MODES,
    )  # fmt: skip


@section.page("/{number}/lines/{line}", needs="invoices.read")
def line(call: Call, number: Number, line: Identifier, after: Annotated[str, Query(max_length=64)] = "") -> View:
    """A line of an invoice with its agreement, charges, reports and records."""
    row, made = _row(call.connection, number), None
    document = decode(row.document)
    made = next((each for each in document.lines if each.line_id == line), None)
    if made is None or not line.isdigit():
        raise Problem(404, f"invoice {number} has no line {line}")
    charges = data.charges_of_line(call.connection, row.id, line, after, CHARGES_A_PAGE + 1)
    following = charges[CHARGES_A_PAGE - 1].id if len(charges) > CHARGES_A_PAGE else ""
    charges = charges[:CHARGES_A_PAGE]
    net = next(each for each in document.totals.lines if each.line_id == line)
    may = call.caller.permissions.__contains__
    return show(
        "invoices_line.html", row=row, invoice=document, line=made, net=net, charges=charges,
        following=following,
        records=data.records_of(call.connection, [each.id for each in charges]) if may("usage.read") else {},
        evidence=data.evidence_of(call.connection, call.operator, made.agreement_id)
        if may("agreements.read") else None,
        modes=MODES,
    )  # fmt: skip


@section.page("/{number}/charges/{charge}", needs="charges.read")
def charge(call: Call, number: Number, charge: Identifier) -> View:
    """How a charge came about, step by step, computed a second time."""
    row, charges = _row(call.connection, number), table(Charge)
    found = call.connection.execute(
        select(charges).where(charges.c.id == charge, charges.c.invoice_id == row.id)
    ).first()  # fmt: skip
    if found is None:
        raise Problem(404, f"invoice {number} has no charge {charge}")
    steps, problem = None, ""
    versions = TariffVersions(lambda: call.web.offers.tariffs)
    if found.tariff_version:
        try:
            steps = _steps(call, versions, charge)
        except (UnknownUse, TariffError, RatingError) as no:
            problem = str(no)
    report = data.report_of(call.connection, found) if found.counter else None
    agreement = data.evidence_of(call.connection, call.operator, found.agreement_id)
    checked = None
    if report is not None and agreement is not None:
        checked = data.checked_report(call.connection, report, agreement.row.terminal_id)
    return show(
        "invoices_charge.html", row=row, charge=found, steps=steps, problem=problem, report=checked,
        record=data.records_of(call.connection, [charge]).get(charge),
        reverses=found.reverses_id,
    )  # fmt: skip


def _steps(call: Call, versions: TariffVersions, charge: str) -> dict[str, Any]:
    found = find_use(call.connection, versions, charge)
    explained = explain(found.uses)
    use, before = explained.use, explained.before
    return {
        "version": use.version,
        "price": headline(use.version),
        "quantity": use.quantity,
        "unit": use.version.unit,
        "destination": use.destination,
        "at": use.at,
        "earlier": explained.earlier,
        "used_before": before.used,
        "due_before": decimal_text(before.due),
        "steps": [(step.text, step.quantity, decimal_text(step.cost)) for step in explained.steps],
        "cost": decimal_text(explained.cost_micros),
        "agrees": found.agrees(explained),
    }


@section.page("/{number}/download/{form}", needs="invoices.read", slow=True)
def download(call: Call, number: Number, form: InvoiceForm) -> Response:
    """The invoice as a file."""
    made = decode(_row(call.connection, number).document)
    return document_response(with_use(call.connection, made), form)


@section.page("/{number}/credit-notes/{note}/{form}", needs="credit_notes.read", slow=True)
def download_note(call: Call, number: Number, note: Number, form: InvoiceForm) -> Response:
    """A credit note of the invoice as a file."""
    try:
        made = load_credit_note(call.connection, note)
    except ReceivablesError as no:
        raise Problem(404, str(no)) from None
    if made.corrects != number:
        raise Problem(404, f"credit note {note} is not of invoice {number}")
    return document_response(made, form)


@section.form("/{number}/credit", needs="credit_notes.write")
def credit(call: Call, number: Number) -> Moved:
    """Make a credit note: of all that is left, of whole lines, or of amounts."""
    form = posted(call)
    lines, reason = _credited(form), _reason(form)

    def operation(connection: Connection, name: str) -> Moved:
        _row(connection, number)
        request = CreditRequest(number, lines, reason, call.caller.actor, name)
        made = _told(
            lambda: call.changed(
                connection, "credit_note.make", f"invoice/{number}",
                lambda c: make_credit_note(c, call.operator.settings, request, call.now),
                lambda made: {
                    "number": made.number, "total": amount_text(made.totals.gross_micros, made.currency),
                    "currency": made.currency, "reason": reason, "lines": to_data(made)["lines"],
                },
            )
        )  # fmt: skip
        total = money_text(made.totals.gross_micros, made.currency)
        return moved(_url(number), f"Credit note {made.number} takes back {total}.")

    return once(call, operation)


def _credited(form: Form) -> dict[str, int | None] | None:
    """Net by line, or all that is left of it; ``None`` for the whole invoice."""
    match form.text("what"):
        case "all":
            return None
        case "lines":
            lines: dict[str, int | None] = dict.fromkeys(form.all("line"))
            for name, text in form.values().items():
                if name.startswith("net-") and text:
                    lines[name.removeprefix("net-")] = _amount(text)
            if not lines:
                raise Problem(422, "lines: choose at least one, or credit all that is left")
            return lines
    raise Problem(422, "what: choose whether all that is left is credited, or some lines")


@section.form("/{number}/pay", needs="payments.write")
def pay(call: Call, number: Number) -> Moved:
    """Take a payment of this invoice in."""
    form = posted(call)
    micros = _amount(form.text("amount"))

    def operation(connection: Connection, name: str) -> Moved:
        row = _row(connection, number)
        booked = call.now.astimezone(call.operator.settings.operator.zone).date()
        new = NewPayment(
            micros, row.currency, booked, row.account_id, (number,), name, reference=form.text("reference")[:200]
        )
        taken = _told(
            lambda: call.changed(
                connection, "payment.take", lambda taken: f"payment/{taken.payment}",
                lambda c: add_payment(c, call.operator.settings, new, call.now),
                lambda taken: {
                    "settled": {debt: amount_text(each, row.currency) for debt, each in taken.settled},
                    "left": amount_text(taken.left, row.currency),
                },
            )
        )  # fmt: skip
        amount, settled = money_text(micros, row.currency), sum(each for _, each in taken.settled)
        rest = f"; {money_text(taken.left, row.currency)} stand to the account's credit" if taken.left else ""
        return moved(_url(number), f"{amount} taken in, {money_text(settled, row.currency)} of it settle debts{rest}.")

    return once(call, operation)


@section.form("/{number}/send", needs="invoices.send")
def send(call: Call, number: Number) -> Moved:
    """Send the invoice by e-mail; the worker does it within seconds."""
    form = posted(call)
    attached: Literal["pdf", "facturx"] = "facturx" if form.text("form") == "facturx" else "pdf"

    def operation(connection: Connection, name: str) -> Moved:
        _row(connection, number)
        try:
            call.changed(
                connection, "invoice.send", f"invoice/{number}",
                lambda c: ask(c, number, call.now, form=attached, to=form.text("to"), by=call.caller.actor, id=name),
                {"to": form.text("to") or "the account's address", "form": attached},
            )  # fmt: skip
        except UnknownInvoice as no:
            raise Problem(404, str(no)) from None
        except DispatchError as no:
            raise Problem(422, str(no)) from None
        return moved(_url(number), "It waits for the worker, which sends it within seconds.")

    return once(call, operation)


@section.form("/{number}/hold", needs="payments.write")
def hold(call: Call, number: Number) -> Moved:
    """Hold the invoice, or a line of it, while it is disputed."""
    form = posted(call)
    line, reason, settings = form.text("line"), _reason(form), call.operator.settings

    def change(connection: Connection) -> None:
        _row(connection, number)
        rows = table(DisputeHold)
        before = set(connection.execute(select(rows.c.id).where(rows.c.number == number)).scalars())
        _told(
            lambda: call.changed(
                connection, "dispute.hold", f"debt/{number}",
                lambda c: place_hold(c, settings, number, call.now, line=line, reason=reason, by=call.caller.actor),
                lambda id: None if id in before else {"dispute": id, "line": line, "reason": reason},
            )
        )  # fmt: skip

    call.write(change)
    what = f"Line {line}" if line else "The invoice"
    return moved(_url(number), f"{what} is held: nobody is reminded of it and it is not collected.")


@section.form("/{number}/release", needs="payments.write")
def release(call: Call, number: Number) -> Moved:
    """End a dispute."""
    line = posted(call).text("line")

    def change(connection: Connection) -> bool:
        _row(connection, number)
        settings = call.operator.settings
        done = _told(
            lambda: call.changed(
                connection, "dispute.release", f"debt/{number}",
                lambda c: release_hold(c, settings, number, call.now, line=line, by=call.caller.actor),
                lambda done: {"line": line} if done else None,
            )
        )  # fmt: skip
        return bool(done)

    return moved(_url(number), "It is released." if call.write(change) else "Nothing was held.")


def _url(number: str) -> str:
    return f"{section.path}/{number}"


def _row(connection: Connection, number: str) -> Any:
    row = data.invoice_row(connection, number)
    if row is None:
        raise Problem(404, f"invoice {number}: there is none")
    return row


def _reason(form: Form) -> str:
    text = form.text("reason")
    if not text:
        raise Problem(422, "reason: is needed; it is kept with the change")
    return text[:500]


def _amount(text: str) -> int:
    try:
        micros = decimal_micros(text.replace(",", "."))
    except MoneyError as no:
        raise Problem(422, f"amount: {no}; write it as 12.50") from None
    if micros <= 0:
        raise Problem(422, f"amount: {text} is not above zero")
    return micros


def _told(do: Any) -> Any:
    try:
        return do()
    except (ReceivablesError, InvoiceError) as no:
        raise Problem(409, str(no)) from None
    except (MoneyError, OverflowError) as no:
        raise Problem(422, str(no)) from None
