"""Sends invoices to customers by e-mail: each that was asked for once, tried again with growing pauses, never for ever.

A try begins by moving the row's ``due_at`` behind the pause that follows a failure, in a transaction of its own. So two
processes do not send the same message, and one that a crash interrupts is tried again. A crash between the mail
server's yes and our note of it makes the message go out twice with the same ``Message-ID``; the other order would lose
it. Reports of mail servers (:mod:`operator_server.billing.bounces`) name that id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from email.message import EmailMessage
from functools import partial
from string import Template
from typing import Any, Literal

from babel.dates import format_date
from babel.numbers import format_currency
from sqlalchemy import Connection, Engine, Row, select, update

from charging.invoices.model import Invoice, InvoiceError
from charging.invoices.pdf import render_facturx, render_pdf
from charging.price_text import locale_of
from operator_server.billing.bounces import Report
from operator_server.billing.details import with_use
from operator_server.billing.invoices import UnknownInvoice, load_invoice
from operator_server.mail import TemplateError, find_template, is_address, mail, one_line, parse_template, read_template
from operator_server.outlets import NotSent, Outlet, outlet_of
from operator_server.parties import ERASED, erased_text
from operator_server.settings import Settings
from operator_server.store.accounting import InvoiceRow
from operator_server.store.dispatch import InvoiceDispatch
from operator_server.store.feed import record
from operator_server.store.parties import Account
from operator_server.store.rows import add, matching, table
from operator_server.store.store import transact
from signalling.clock import to_micros
from signalling.ids import new_id
from signalling.money import format_micros

Form = Literal["pdf", "facturx"]
NAMES = ("operator", "contact", "customer", "number", "period", "total", "due")
"""What a mail's template may name."""

FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=6)
MOST_FAULTS = 3
"""Passing faults one after another that end a round: the mail server is away, not one recipient's."""

_dispatch, _invoice = table(InvoiceDispatch), table(InvoiceRow)


class DispatchError(ValueError):
    """An invoice that cannot be sent; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for a month: ids of what is to go out; numbers without an address; how many went before."""

    dispatches: tuple[str, ...] = ()
    no_address: tuple[str, ...] = ()
    before: int = 0


@dataclass(frozen=True, slots=True)
class Round:
    """What a round of sending came to. ``faults``: what was not sent, and why; refused ones among them."""

    sent: int = 0
    refused: int = 0
    waiting: int = 0
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Returned:
    """What a report said of an invoice. ``state``: what its e-mail is now."""

    number: str
    account: str
    recipient: str
    state: str
    text: str


def ask(
    connection: Connection,
    number: str,
    now: datetime,
    *,
    form: Form = "pdf",
    to: str = "",
    by: str = "",
    id: str = "",
) -> str:
    """Let an invoice go out by e-mail, to its account's address or ``to``; the id of the dispatch.

    ``id``: the request's own name; the same is done once. Raises :class:`DispatchError`,
    :class:`operator_server.billing.invoices.UnknownInvoice`.
    """
    accounts = table(Account)
    row = connection.execute(
        select(_invoice.c.account_id, accounts.c.email, accounts.c.language, accounts.c.status)
        .join(accounts, accounts.c.id == _invoice.c.account_id)
        .where(_invoice.c.number == number)
    ).first()
    if row is None:
        raise UnknownInvoice(f"invoice {number!r}: there is none; `tollgate invoice list` shows all")
    name = id or new_id(to_micros(now))
    known = connection.execute(select(_dispatch.c.invoice_number).where(_dispatch.c.id == name)).scalar()
    if known is not None:
        if known != number:
            raise DispatchError(f"dispatch {name}: this id was used before for invoice {known}")
        return name
    if row.status == ERASED:
        raise DispatchError(f"invoice {number}: {erased_text(f'account {row.account_id}')}")
    recipient = checked_address(to or row.email, f"invoice {number}, account {row.account_id}")
    add(
        connection,
        InvoiceDispatch(
            id=name, invoice_number=number, account_id=row.account_id, recipient=recipient, language=row.language,
            form=form, asked_by=by, created_at=now, due_at=now,
        ),
    )  # fmt: skip
    record(connection, now, "invoice_queued", account=row.account_id, reference=number, recipient=recipient)
    return name


def ask_period(connection: Connection, period: str, now: datetime, *, form: Form = "pdf", by: str = "") -> Asked:
    """Let all invoices of a month go out that did not go out before, or came back, and have an address."""
    accounts = table(Account)
    rows = connection.execute(
        select(_invoice.c.number, accounts.c.email)
        .join(accounts, accounts.c.id == _invoice.c.account_id)
        .where(_invoice.c.period == period)
        .order_by(_invoice.c.series, _invoice.c.number_in_series)
    ).all()
    gone = set(
        connection.execute(
            select(_dispatch.c.invoice_number)
            .join(_invoice, _invoice.c.number == _dispatch.c.invoice_number)
            .where(_invoice.c.period == period, _dispatch.c.state.in_(("waiting", "sent")))
        ).scalars()
    )
    made: list[str] = []
    without: list[str] = []
    for row in rows:
        if row.number in gone:
            continue
        try:
            made.append(ask(connection, row.number, now, form=form, by=by))
        except DispatchError:
            without.append(row.number)
    return Asked(tuple(made), tuple(without), len(gone))


def checked_address(text: str, whose: str) -> str:
    """One address of the form ``name@host``. Raises :class:`DispatchError`."""
    address = text.strip()
    if not is_address(address):
        raise DispatchError(
            f"{whose}: {'has no e-mail address' if not text.strip() else f'{text!r} is no e-mail address'};"
            " set it by `tollgate account change ACCOUNT --email NAME@HOST`"
        )
    return address


def dispatches_of(connection: Connection, number: str) -> list[Row[Any]]:
    """The e-mails with an invoice, the newest first."""
    query = select(_dispatch).where(_dispatch.c.invoice_number == number)
    return list(connection.execute(query.order_by(_dispatch.c.created_at.desc(), _dispatch.c.id.desc())))


def find_dispatches(
    connection: Connection, *, state: str = "", account: str = "", period: str = "", most: int = 1000
) -> list[Row[Any]]:
    """Matching e-mails, the newest first."""
    query = select(_dispatch)
    if period:
        query = query.join(_invoice, _invoice.c.number == _dispatch.c.invoice_number)
        query = query.where(_invoice.c.period == period)
    query = matching(query, (_dispatch.c.state, state), (_dispatch.c.account_id, account))
    return list(connection.execute(query.order_by(_dispatch.c.id.desc()).limit(most)))


def send_due_invoices(engine: Engine, settings: Settings, now: datetime, most: int = 100_000) -> Round:
    """Send what is due, at most ``most``. A round ends when the mail server seems to be away."""
    outlet, sent, refused, row_of_faults = outlet_of(settings), 0, 0, 0
    faults: list[str] = []
    while sent + len(faults) < most and row_of_faults < MOST_FAULTS:
        row = transact(engine, lambda connection: _claim(connection, now))
        if row is None:
            break
        try:
            _send(engine, settings, outlet, row)
        except (NotSent, TemplateError, InvoiceError) as error:
            final = isinstance(error, InvoiceError) or (isinstance(error, NotSent) and error.final)
            over = final or row.attempts + 1 >= settings.outlet.attempts
            state = "refused" if final else "failed" if over else "waiting"
            transact(engine, partial(_note, row=row, state=state, reason=str(error), now=now))
            refused += final
            row_of_faults = 0 if final else row_of_faults + 1
            faults.append(f"{row.invoice_number} to {row.recipient}: {error}")
        else:
            transact(engine, partial(_note, row=row, state="sent", reason="", now=now))
            sent, row_of_faults = sent + 1, 0
    return Round(sent, refused, len(faults) - refused, tuple(faults))


def take_report(connection: Connection, report: Report, server_id: str, now: datetime) -> Returned | None:
    """Note what a mail server reported of an invoice; ``None`` where it is about no message of ours.

    A failure makes it ``bounced``; a delay is noted and changes nothing else. The same report again changes nothing.
    """
    name, _, host = report.message_id.partition("@")
    if host != server_id:
        return None
    row = connection.execute(select(_dispatch).where(_dispatch.c.id == name)).first()
    if row is None:
        return None
    state = row.state
    if report.action == "failed" and state in ("waiting", "sent"):
        state = "bounced"
        connection.execute(
            update(_dispatch)
            .where(_dispatch.c.id == name)
            .values(state=state, reason=report.text, bounced_at=now, sent_at=row.sent_at or now)
        )
        record(
            connection, now, "invoice_bounced", account=row.account_id, reference=row.invoice_number,
            recipient=row.recipient, reason=report.text,
        )  # fmt: skip
    elif report.action == "delayed" and state == "sent":
        noted = update(_dispatch).where(_dispatch.c.id == name)
        connection.execute(noted.values(reason=f"delayed: {report.text}"[:500]))
    return Returned(row.invoice_number, row.account_id, row.recipient, state, report.text)


def compose_invoice(settings: Settings, row: Row[Any], invoice: Invoice, content: bytes) -> EmailMessage:
    """The e-mail with the invoice attached. Raises :class:`operator_server.mail.TemplateError`."""
    kind = "credit-note" if invoice.kind == "credit_note" else "invoice"
    place, template = find_template(
        settings, "operator_server.billing", row.language, lambda language: [f"{kind}.{language}.txt"]
    )
    return mail(
        settings, parse_mail(place, template), _values(settings, row.language, invoice),
        id=row.id, recipient=row.recipient, language=row.language, written=row.created_at,
        attachment=(f"{invoice.number}.pdf", content),
    )  # fmt: skip


def parse_mail(place: str, template: str) -> tuple[Template, Template]:
    """Subject and text of a template. Raises :class:`operator_server.mail.TemplateError`."""
    return parse_template(place, template, NAMES)


def check_invoice_templates(settings: Settings) -> None:
    """Raises :class:`operator_server.mail.TemplateError` for the operator's first template that cannot be used."""
    for kind in ("invoice", "credit-note"):
        for path in sorted((settings.config_dir / "templates").glob(f"{kind}*.txt")):
            if not re.fullmatch(rf"{kind}\.[a-z]{{2}}\.txt", path.name):
                raise TemplateError(f"{path}: is never used; name it {kind}.LANGUAGE.txt")
            parse_mail(str(path), read_template(path))


def _claim(connection: Connection, now: datetime) -> Row[Any] | None:
    row = connection.execute(
        select(_dispatch)
        .where(_dispatch.c.state == "waiting", _dispatch.c.due_at <= now)
        .order_by(_dispatch.c.due_at, _dispatch.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return None
    pause = min(FIRST_PAUSE * 2**row.attempts, LONGEST_PAUSE)
    claimed = update(_dispatch).where(_dispatch.c.id == row.id)
    connection.execute(claimed.values(attempts=row.attempts + 1, due_at=now + pause))
    return row


def _send(engine: Engine, settings: Settings, outlet: Outlet, row: Row[Any]) -> None:
    with engine.connect() as connection:
        invoice = with_use(connection, load_invoice(connection, row.invoice_number))
    content = render_facturx(invoice) if row.form == "facturx" else render_pdf(invoice)
    outlet.send(row.id, compose_invoice(settings, row, invoice, content))


def _note(connection: Connection, row: Row[Any], state: str, reason: str, now: datetime) -> None:
    # A report of its failure may have come before this note.
    noted = update(_dispatch).where(_dispatch.c.id == row.id, _dispatch.c.state == "waiting")
    values: dict[str, Any] = {"state": state, "reason": reason[:500]}
    connection.execute(noted.values(**values | ({"sent_at": now} if state == "sent" else {})))
    if state != "waiting":
        record(
            connection, now, f"invoice_{state}", account=row.account_id, reference=row.invoice_number,
            recipient=row.recipient, reason=reason[:500],
        )  # fmt: skip


def _values(settings: Settings, language: str, invoice: Invoice) -> dict[str, str]:
    locale = locale_of(language)

    def day(value: date) -> str:
        return str(format_date(value, "long", locale=locale))

    payable = Decimal(format_micros(invoice.totals.payable_micros, invoice.currency))
    return {
        "operator": settings.operator.name,
        "contact": settings.operator.email or settings.operator.name,
        "customer": one_line(invoice.customer.name),
        "number": invoice.number,
        "period": f"{day(invoice.period_from)} \N{EN DASH} {day(invoice.period_to)}",
        "total": str(format_currency(payable, invoice.currency, locale=locale)),
        "due": day(invoice.due_date),
    }
