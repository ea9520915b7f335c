"""What the audit trail tells of a change: how the thing that a reference names stood before it and stands after it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, LargeBinary, select
from sqlmodel import SQLModel

from charging.balances.tables import BalanceShare, Barring, Threshold, UnitBucket
from charging.ledger.book import balances
from charging.ledger.tables import PREPAID
from operator_server.audit import audited, written
from operator_server.store.accounting import BillRun, Charge, InvoiceRow
from operator_server.store.billing import Commitment, PeriodLock
from operator_server.store.cards import Card, CardMaster
from operator_server.store.dealings import Agreement, Release
from operator_server.store.devices import Device, DeviceCredential
from operator_server.store.dispatch import InvoiceDispatch
from operator_server.store.parties import Account, Binding, Subscriber, Terminal, TerminalKey
from operator_server.store.receivables import (
    Collection,
    DisputeHold,
    Mandate,
    PaymentRow,
    ReceivableItem,
    WriteOff,
)
from operator_server.store.rows import table
from operator_server.store.terms import AgreementTerm, SubscriberLimit
from operator_server.store.tones import PhoneLocation, ToneRow
from operator_server.store.visited import FeatureTableRow, RoamingPartner
from signalling.money import format_micros

T = TypeVar("T")
State = dict[str, Any]

_UNTOLD = frozenset({"id", "created_at", "iban", "payer_iban", "menu", "notes", "hint", "ca_pem", "answer", "rtttl"})
_MONEY = frozenset({"credit_limit", "minimum_amount", "amount", "recovered", "total", "net"})

_ROWS: dict[str, tuple[type[SQLModel], str]] = {
    "account": (Account, "id"),
    "subscriber": (Subscriber, "id"),
    "terminal": (Terminal, "id"),
    "device": (Device, "terminal_id"),
    "credential": (DeviceCredential, "name"),
    "card": (Card, "terminal_id"),
    "agreement": (Agreement, "id"),
    "bucket": (UnitBucket, "id"),
    "share": (BalanceShare, "id"),
    "threshold": (Threshold, "id"),
    "commitment": (Commitment, "id"),
    "charge": (Charge, "id"),
    "mandate": (Mandate, "id"),
    "payment": (PaymentRow, "id"),
    "collection": (Collection, "id"),
    "write_off": (WriteOff, "id"),
    "tone": (ToneRow, "id"),
    "phone": (PhoneLocation, "msisdn"),
    "roaming_partner": (RoamingPartner, "network"),
}
"""Kind of a reference to table and key. What is more than a row is in ``_MORE``."""


def told_change(
    connection: Connection,
    actor: str,
    action: str,
    about: str | Callable[[T], str],
    operation: Callable[[Connection], T],
    now: datetime,
    told: Mapping[str, Any] | Callable[[T], Mapping[str, Any] | None],
) -> T:
    """Run ``operation`` and write into the trail, in its transaction, what it changed of what ``about`` names.

    ``before`` has the values that are not as they were, ``after`` the new ones beside ``told``. ``about`` may be made
    of the result, where the id is known only then. A change that writes an entry itself gets no second one. ``told``
    may be made of the result too: ``None`` says that all was so before, and there is no entry.
    """
    entry = written(connection)
    before = state_of(connection, about) if isinstance(about, str) else None
    result = operation(connection)
    more = told(result) if callable(told) else told
    if written(connection) == entry and more is not None:
        reference = about if isinstance(about, str) else about(result)
        was, new = difference(before, state_of(connection, reference))
        audited(connection, actor, action, reference, was, {**more, **(new or {})} or None, now)
    return result


def difference(before: State | None, after: State | None) -> tuple[State | None, State | None]:
    """Only what is not the same in both; ``None`` for nothing. Of what was made or is gone: what is not empty."""
    if before is None or after is None:
        return _filled(before), _filled(after)
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: before.get(name) for name in names} or None, {name: after.get(name) for name in names} or None


def _filled(state: State | None) -> State | None:
    return None if state is None else {name: value for name, value in state.items() if value not in (None, "", [], {})}


def state_of(connection: Connection, reference: str) -> State | None:
    """What ``kind/id`` names, as it is now; ``None`` where there is none, or nothing is known of that kind.

    Bytes, secrets and account numbers of banks are not in it; amounts are texts.
    """
    kind, _, name = reference.partition("/")
    state: State | None = None
    if kind in _ROWS:
        model, key = _ROWS[kind]
        rows = table(model)
        row = connection.execute(select(rows).where(rows.c[key] == name)).first()
        if row is None:
            return None
        binary = {column.name for column in rows.c if isinstance(column.type, LargeBinary)}
        state = _values(row._mapping, binary | {key})
    if kind in _MORE:
        more = _MORE[kind](connection, name)
        state = more if state is None else {**state, **(more or {})}
    return state


def _values(row: Mapping[Any, Any], left_out: set[str]) -> State:
    currency = row.get("currency")
    return {
        name: format_micros(value, currency) if name in _MONEY and currency and isinstance(value, int) else value
        for name, value in row.items()
        if name not in _UNTOLD and name not in left_out
    }


def _account(connection: Connection, account: str) -> State:
    prepaid = {
        each.currency: format_micros(-each.balance, each.currency)
        for each in balances(connection, account)
        if each.kind == PREPAID
    }
    return {"barred": _barred(connection, "account", account), "prepaid": prepaid}


def _subscriber(connection: Connection, subscriber: str) -> State:
    limit = table(SubscriberLimit)
    limits = {
        row.currency: format_micros(row.amount, row.currency)
        for row in connection.execute(select(limit).where(limit.c.subscriber_id == subscriber))
    }
    return {"barred": _barred(connection, "subscriber", subscriber), "limits": limits}


def _barred(connection: Connection, party: str, name: str) -> str | None:
    barring = table(Barring)
    return connection.execute(
        select(barring.c.reason).where(
            barring.c.party == party, barring.c.party_id == name, barring.c.lifted_at.is_(None)
        )
    ).scalar()


def _terminal(connection: Connection, terminal: str) -> State:
    key = table(TerminalKey)
    public = connection.execute(
        select(key.c.public_key).where(key.c.terminal_id == terminal, key.c.valid_to.is_(None))
    ).scalar()
    fingerprint = "" if public is None else hashlib.sha256(public).hexdigest()[:16]
    return {"fingerprint": fingerprint, **_user(connection, terminal)}


def _user(connection: Connection, terminal: str) -> State:
    binding = table(Binding)
    bound = select(binding.c.subscriber_id).where(binding.c.terminal_id == terminal, binding.c.valid_to.is_(None))
    return {"subscriber": connection.execute(bound).scalar()}


def _agreement(connection: Connection, agreement: str) -> State | None:
    term = table(AgreementTerm)
    row = connection.execute(select(term).where(term.c.agreement_id == agreement)).first()
    return None if row is None else {"term": row.state, "cancelled_at": row.cancelled_at, "ends_at": row.ends_at}


def _debt(connection: Connection, number: str) -> State | None:
    item, hold, dispatch = table(ReceivableItem), table(DisputeHold), table(InvoiceDispatch)
    owed = connection.execute(select(item.c.open, item.c.currency).where(item.c.number == number)).first()
    if owed is None:
        # Not taken in yet: all of it is open.
        invoice = table(InvoiceRow)
        total = select(invoice.c.total.label("open"), invoice.c.currency).where(invoice.c.number == number)
        owed = connection.execute(total).first()
    held = connection.execute(
        select(hold.c.line, hold.c.reason).where(hold.c.number == number, hold.c.released_at.is_(None))
    )
    sent = connection.execute(select(dispatch.c.id).where(dispatch.c.invoice_number == number)).all()
    return {
        "open": None if owed is None else format_micros(owed.open, owed.currency),
        "held": [{"line": row.line, "reason": row.reason} for row in held],
        "mails": len(sent),
    }


def _period(connection: Connection, period: str) -> State | None:
    run, lock = table(BillRun), table(PeriodLock)
    states = connection.execute(select(run.c.state).where(run.c.period == period).order_by(run.c.started_at))
    locked = connection.execute(select(lock.c.locked_by).where(lock.c.period == period)).scalar()
    return {"runs": list(states.scalars()), "locked_by": locked}


def _release(connection: Connection, name: str) -> State | None:
    product, _, version = name.partition("/")
    rows = table(Release)
    columns = (rows.c.status, rows.c.reason, rows.c.valid_until, rows.c.sealed)
    found = connection.execute(select(*columns).where(rows.c.product == product, rows.c.version == version)).first()
    return None if found is None else dict(found._mapping)


def _master_keys(connection: Connection, _: str) -> State:
    numbers = connection.execute(select(table(CardMaster).c.number).order_by(table(CardMaster).c.number))
    return {"numbers": list(numbers.scalars())}


def _features(connection: Connection, _: str) -> State:
    rows = table(FeatureTableRow)
    newest = connection.execute(select(rows.c.sequence).order_by(rows.c.sequence.desc()).limit(1)).scalar()
    return {"sequence": newest}


_MORE: dict[str, Callable[[Connection, str], State | None]] = {
    "account": _account,
    "subscriber": _subscriber,
    "terminal": _terminal,
    "device": _user,
    "card": _user,
    "agreement": _agreement,
    "invoice": _debt,
    "debt": _debt,
    "period": _period,
    "release": _release,
    "card_master": _master_keys,
    "feature_table": _features,
}
