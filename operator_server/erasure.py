"""Erasure of a person's data: what names a customer is overwritten, what the law has kept stays until its time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, literal, or_, select, update
from sqlmodel import SQLModel

from charging.balances.tables import BalanceShare, Barring, UnitBucket
from charging.ledger.book import balances
from operator_server.audit import audited
from operator_server.balances.barring import bar
from operator_server.erasure_trail import Traces, forget_in_trail
from operator_server.parties import ERASED, PartyError, keep_taxpayer, revoke_terminal
from operator_server.receivables.books import take_in_invoices
from operator_server.settings import Settings
from operator_server.store.accounting import InvoiceRow
from operator_server.store.billing import Commitment
from operator_server.store.cards import Card
from operator_server.store.dealings import Agreement, Rejection
from operator_server.store.devices import Device, WebToken
from operator_server.store.dispatch import BalanceMail, InvoiceDispatch
from operator_server.store.feed import record
from operator_server.store.invitations import OutgoingMessage, WebSession
from operator_server.store.parties import Account, Binding, Event, Notice, Subscriber, Terminal
from operator_server.store.people import AnsweredRequest
from operator_server.store.receivables import (
    CreditNoteRow,
    DisputeHold,
    Mandate,
    PaymentRow,
    ReceivableItem,
    Reminder,
    WriteOff,
)
from operator_server.store.rows import table
from operator_server.store.terms import AgreementTerm
from operator_server.store.tones import DeliveryReport, PhoneLocation, ToneWish
from signalling.money import format_micros


class ErasureError(PartyError):
    """An account that cannot be erased yet; the text says why and what to do first."""


@dataclass(frozen=True)
class Erased:
    """What was done: terminals that are refused from now on, and what stays since invoices rest on it.

    ``trail``: entries of the audit trail that lost what named the person.
    """

    account: str
    subscribers: int
    terminals: tuple[str, ...]
    invoices: int
    credit_notes: int
    trail: int


def erase_account(connection: Connection, settings: Settings, account: str, now: datetime, actor: str) -> Erased:
    """Overwrite what names or reaches the person behind ``account``; call it in a transaction of its own.

    Name, address, e-mail, VAT id and the names of subscribers go, with messages, contacts, numbers of cards and the
    reasons that the person gave. Terminals are revoked and unbound, mandates ended, the account is barred for good.
    Invoices, credit notes, payments, collections, the ledger and signed agreements stay as they are: they are what must
    be kept. In the audit trail stay who changed what and when; an entry of ``actor`` tells what was overwritten there.
    Raises :class:`ErasureError` while money is owed either way or something still runs.
    """
    accounts = table(Account)
    row = connection.execute(select(accounts).where(accounts.c.id == account)).first()
    if row is None:
        raise ErasureError(f"account {account}: there is none")
    if row.status == ERASED:
        raise ErasureError(f"account {account}: is erased already")
    # Barred first: it locks the account's balances, so that nothing is charged between the look and the end.
    bar(connection, "account", account, ERASED, now)
    take_in_invoices(connection, settings, now, account)
    _refuse_while_owed(connection, account)
    _refuse_while_running(connection, account)
    subscribers = _ids(connection, Subscriber, "id", account_id=[account])
    terminals = _end_terminals(connection, subscribers, now)
    traces = _traces(connection, account, subscribers, terminals)
    _forget(connection, account, subscribers, terminals, now)
    keep_taxpayer(connection, account, ["vat_id"], now)
    _set(
        connection, Account, {"id": [account]}, name=ERASED, address=[], vat_id="", email="", tax_reason="",
        status=ERASED,
    )  # fmt: skip
    _set(connection, Subscriber, {"account_id": [account]}, name="", groups=[], status=ERASED)
    record(connection, now, "account_erased", account=account)
    trail, told = forget_in_trail(connection, traces)
    told = {"status": ERASED, "subscribers": len(subscribers), "terminals": terminals, **told}
    audited(connection, actor, "account.erase", f"account/{account}", {"status": row.status}, told, now)
    return Erased(
        account,
        len(subscribers),
        tuple(terminals),
        len(_ids(connection, InvoiceRow, "id", account_id=[account])),
        len(_ids(connection, CreditNoteRow, "id", account_id=[account])),
        trail,
    )


def _refuse_while_owed(connection: Connection, account: str) -> None:
    for each in balances(connection, account):
        if not each.balance and not each.reserved:
            continue
        amount = format_micros(abs(each.balance or each.reserved), each.currency)
        text, todo = _OWED.get(each.kind if each.balance else "reserved", (each.kind, "settle it"))
        raise ErasureError(f"account {account}: {amount} {each.currency} {text}; {todo}, then erase it")


_OWED = {
    "unbilled": ("is not billed yet", "run the bill"),
    "receivable": ("of invoices is open", "take the payment, credit or write it off, or refund it"),
    "prepaid": ("paid ahead is left", "pay it out with `tollgate account pay-out`"),
    "reserved": ("is reserved", "let what it is reserved for end"),
}


def _refuse_while_running(connection: Connection, account: str) -> None:
    agreement, term = table(Agreement), table(AgreementTerm)
    running = connection.execute(
        select(agreement.c.id)
        .join(term, term.c.agreement_id == agreement.c.id)
        .where(
            agreement.c.account_id == account, agreement.c.state.not_in(("failed", "ended")), term.c.state != "ended"
        )
        .limit(1)
    ).scalar()
    if running is not None:
        raise ErasureError(
            f"account {account}: agreement {running} still runs; end it with `tollgate agreement cancel`, "
            "bill what it cost, then erase the account"
        )


def _end_terminals(connection: Connection, subscribers: list[str], now: datetime) -> list[str]:
    binding = table(Binding)
    bound = connection.execute(
        select(binding.c.terminal_id).where(binding.c.subscriber_id.in_(subscribers), binding.c.valid_to.is_(None))
    )
    terminals = sorted(bound.scalars())
    for terminal in terminals:
        revoke_terminal(connection, terminal, now, reason="account erased")
    ended = update(binding).where(binding.c.subscriber_id.in_(subscribers), binding.c.valid_to.is_(None))
    connection.execute(ended.values(valid_to=now))
    return terminals


def _traces(connection: Connection, account: str, subscribers: list[str], terminals: list[str]) -> Traces:
    """What entries of the audit trail are about, and what in any entry is this person's alone."""
    mine, theirs, on = {"account_id": [account]}, {"subscriber_id": subscribers}, {"terminal_id": terminals}
    numbers = _ids(connection, Card, "msisdn", **on)
    invoices = [
        *_ids(connection, InvoiceRow, "number", **mine), *_ids(connection, ReceivableItem, "number", **mine),
    ]  # fmt: skip
    owned: dict[str, list[str]] = {
        "account": [account], "subscriber": subscribers, "terminal": terminals, "device": terminals, "card": terminals,
        "phone": numbers, "invoice": invoices, "debt": invoices,
        "mandate": _ids(connection, Mandate, "id", **mine), "payment": _ids(connection, PaymentRow, "id", **mine),
        "write_off": _ids(connection, WriteOff, "id", **mine), "commitment": _ids(connection, Commitment, "id", **mine),
        "rejection": _ids(connection, Rejection, "id", **theirs),
        "agreement": _ids(connection, Agreement, "id", **mine),
        "bucket": _ids(connection, UnitBucket, "id", owner=[account]),
        "share": _ids(connection, BalanceShare, "id", owner=[account]),
    }  # fmt: skip
    unique = {
        *_ids(connection, Account, "email", id=[account]), *_ids(connection, Account, "vat_id", id=[account]),
        *_ids(connection, Mandate, "iban", **mine), *_ids(connection, InvoiceDispatch, "recipient", **mine),
        *_ids(connection, Device, "contact", **on), *numbers, *_ids(connection, Card, "imsi", **on),
    }  # fmt: skip
    return Traces(
        frozenset(f"{kind}/{each}" for kind, ids in owned.items() for each in ids),
        frozenset({account, *subscribers}),
        frozenset(each for each in unique if each),
    )


def _forget(connection: Connection, account: str, subscribers: list[str], terminals: list[str], now: datetime) -> None:
    theirs = {"subscriber_id": subscribers}
    _forget_in_events(connection, account, subscribers)
    _forget_answers(connection, [account, *subscribers])
    _delete(connection, Notice, theirs)
    _set(connection, Rejection, theirs, reason="", undo_reason="")
    _set(connection, OutgoingMessage, theirs, recipient="", sealed_token=None, reason="")
    _set(connection, OutgoingMessage, {**theirs, "state": ["waiting"]}, state="failed", reason=ERASED)
    _set(connection, WebToken, theirs, expires_at=now)
    _set(connection, WebSession, {**theirs, "ended_at": [None]}, ended_at=now)
    _set(connection, InvoiceDispatch, {"account_id": [account]}, recipient="", reason="")
    _set(connection, InvoiceDispatch, {"account_id": [account], "state": ["waiting"]}, state="failed", reason=ERASED)
    _set(connection, Reminder, {"account_id": [account]}, recipient="")
    _set(connection, BalanceMail, {"account_id": [account]}, recipient="", text="", reason="")
    _set(connection, BalanceMail, {"account_id": [account], "state": ["waiting"]}, state="failed", reason=ERASED)
    debts = _ids(connection, ReceivableItem, "number", account_id=[account])
    _set(connection, DisputeHold, {"number": debts}, reason="")
    _set(connection, Barring, {"party_id": [account, *subscribers]}, reason=ERASED, lift_reason="")
    _set(connection, Mandate, {"account_id": [account], "state": ["active"]}, state="revoked", revoked_at=now)
    _set(connection, Mandate, {"account_id": [account], "first_used_on": [None]}, holder=ERASED, iban="", bic="")
    _set(connection, Terminal, {"id": terminals}, label="")
    _set(connection, Device, {"terminal_id": terminals}, contact="", next_poll_at=None, state="paused")
    numbers = _ids(connection, Card, "msisdn", terminal_id=terminals)
    _delete(connection, PhoneLocation, {"msisdn": numbers})
    _delete(connection, DeliveryReport, {"terminal_id": terminals})
    _delete(connection, ToneWish, {"terminal_id": terminals})
    for place, terminal in enumerate(terminals):
        # A number is a card's alone, so what stands in its place has to be too.
        _set(connection, Card, {"terminal_id": [terminal]}, imsi="", msisdn=f"-{int(now.timestamp() * 1e6):x}{place}")


def _forget_in_events(connection: Connection, account: str, subscribers: list[str]) -> None:
    """What the feed tells of the person in words; that it happened, when and for how much stays."""
    event = table(Event)
    theirs = or_(event.c.account_id == account, event.c.subscriber_id.in_(subscribers))
    for row in connection.execute(select(event.c.id, event.c.data).where(theirs)).all():
        if not _TOLD.isdisjoint(row.data):
            data = {name: value for name, value in row.data.items() if name not in _TOLD}
            connection.execute(update(event).where(event.c.id == row.id).values(data=data))


def _forget_answers(connection: Connection, names: list[str]) -> None:
    """What programs were answered about the person; the same request again is refused from now on."""
    answers = table(AnsweredRequest)
    for name in names:
        text = json.dumps(name).encode()
        found = func.instr(answers.c.body, text)
        if connection.dialect.name == "postgresql":
            found = func.position(literal(text).op("IN")(answers.c.body))
        connection.execute(answers.delete().where(found > 0))


_TOLD = frozenset({"recipient", "email", "contact", "name", "reason", "holder", "payer", "to"})


def _where(model: type[SQLModel], where: dict[str, list[Any]]) -> list[Any]:
    columns = table(model).c
    return [
        columns[name].is_(None) if values == [None] else columns[name].in_(values) for name, values in where.items()
    ]


def _ids(connection: Connection, model: type[SQLModel], column: str, **where: list[Any]) -> list[str]:
    found = select(table(model).c[column]).where(*_where(model, where))
    return list(connection.execute(found).scalars())


def _set(connection: Connection, model: type[SQLModel], where: dict[str, list[Any]], **values: Any) -> None:
    connection.execute(update(table(model)).where(*_where(model, where)).values(**values))


def _delete(connection: Connection, model: type[SQLModel], where: dict[str, list[Any]]) -> None:
    connection.execute(table(model).delete().where(*_where(model, where)))
