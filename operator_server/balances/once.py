"""Operations on balances: named by their client, done once, one after another for an account."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, select, text

from charging.balances.tables import BalanceOperation
from charging.ledger.book import apply
from charging.ledger.operations import Applied, Declined, Operation
from operator_server.parties import ERASED, erased_text
from operator_server.store.parties import Account
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.money import MoneyError, format_micros

SOURCE = "balance"
"""The ledger's name of this client."""

LONGEST_NAME = 64

_operations = table(BalanceOperation)
_encoder = msgspec.json.Encoder(order="deterministic")


class BalanceError(ValueError):
    """Something that cannot be done to a balance; the text says what and why. Nothing has changed.

    ``code``: unknown_account, unknown_subscriber, unknown_bucket, unknown_share, unknown_threshold,
    unknown_reservation, unknown_charge, conflict, limit, barred, bad_amount, bad_name, reservation_closed,
    exceeds_reservation, exceeds_charge, exceeds_share, no_tariff, wrong_currency, erased.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def lock(connection: Connection, accounts: Iterable[str]) -> None:
    """Let nobody else do operations on the balances of these accounts until the transaction ends.

    SQLite has one writer, whose transaction must have begun as such (:func:`operator_server.store.engine.writing`).
    """
    if connection.dialect.name == "postgresql":
        for account in sorted(set(accounts)):
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 7))"), {"name": account})


def once(
    connection: Connection,
    name: str,
    kind: str,
    content: Mapping[str, Any],
    now: datetime,
    do: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    """The answer of an operation: of ``do`` the first time, and the same again when it comes again.

    The accounts that it is about must be locked. Raises :class:`BalanceError` for a name that had other content.
    """
    if not 0 < len(name) <= LONGEST_NAME:
        raise BalanceError("bad_name", f"id {name!r}: has 1 to {LONGEST_NAME} characters")
    digest = hashlib.sha256(_encoder.encode({"kind": kind, **content})).digest()
    before = connection.execute(select(_operations).where(_operations.c.id == name)).first()
    if before is not None:
        if before.digest != digest:
            raise BalanceError("conflict", f"id {name}: was a {before.kind} with other content; take another id")
        return dict(before.answer)
    answer = do()
    add(connection, BalanceOperation(id=name, kind=kind, digest=digest, answer=answer, at=now))
    return answer


def post(connection: Connection, operation: Operation, now: datetime) -> str:
    """Do one ledger operation; its transfer. Raises :class:`BalanceError` with the ledger's own code and reason."""
    outcome = apply(connection, [operation], to_micros(now))[0]
    if isinstance(outcome, Declined):
        raise BalanceError(outcome.code, outcome.reason)
    if not isinstance(outcome, Applied):
        raise BalanceError("conflict", f"id {operation.op_id}: the ledger has it already, as {outcome.transfer_id}")
    return outcome.transfer_id


def account_row(connection: Connection, account: str) -> Account:
    """The account of that id. Raises :class:`BalanceError`."""
    accounts = table(Account)
    row = connection.execute(select(accounts).where(accounts.c.id == account)).first()
    if row is None:
        raise BalanceError("unknown_account", f"account {account}: there is none; see `tollgate account create`")
    return Account(**row._mapping)


def open_account_row(connection: Connection, account: str) -> Account:
    """The account of that id, which is not erased. Raises :class:`BalanceError`."""
    row = account_row(connection, account)
    if row.status == ERASED:
        raise BalanceError("erased", erased_text(f"account {account}"))
    return row


def positive(amount: int, currency: str) -> int:
    """``amount`` when it is more than nothing. Raises :class:`BalanceError`."""
    if amount <= 0:
        try:
            shown = format_micros(amount, currency)
        except MoneyError:
            shown = str(amount)
        raise BalanceError("bad_amount", f"amount {shown}: must be more than zero")
    return amount
