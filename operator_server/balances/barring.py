"""Barring: an account, or one subscriber, may agree to and spend nothing until it is lifted."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, or_, select, update

from charging.balances.tables import Barring
from charging.ledger.tables import UNBILLED, LedgerAccount
from operator_server.balances.once import BalanceError, account_row, lock
from operator_server.parties import ERASED, erased_text
from operator_server.store.feed import record
from operator_server.store.parties import Account, Subscriber
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.ids import new_id

Party = Literal["account", "subscriber"]

_barrings, _ledger = table(Barring), table(LedgerAccount)


def bar(connection: Connection, party: Party, id: str, reason: str, now: datetime) -> bool:
    """Bar an account with all its subscribers, or one subscriber; ``False`` where that was done before.

    What is barred gets no new agreement, and no reservation or charge that is checked; what is reserved can still be
    captured, and what was used is still owed. Raises :class:`BalanceError` for a party that is not there, or no reason.
    """
    account = _account(connection, party, id)
    if not reason.strip():
        raise BalanceError("bad_name", f"{party} {id}: say why it is barred")
    lock(connection, [account])
    if _open(connection, party, id) is not None:
        return False
    add(
        connection,
        Barring(id=new_id(to_micros(now)), party=party, party_id=id, reason=reason.strip(), barred_at=now),
    )
    _mark(connection, party, id, reason.strip(), "barred")
    subscriber = id if party == "subscriber" else None
    record(connection, now, "barred", account=account, subscriber=subscriber, reference=id, reason=reason.strip())
    return True


def unbar(connection: Connection, party: Party, id: str, reason: str, now: datetime) -> bool:
    """Lift a barring; ``False`` where there was none. Raises :class:`BalanceError` for an account that is erased."""
    account = _account(connection, party, id)
    lock(connection, [account])
    status = connection.execute(select(table(Account).c.status).where(table(Account).c.id == account)).scalar()
    if status == ERASED:
        raise BalanceError("erased", erased_text(f"{party} {id}"))
    row = _open(connection, party, id)
    if row is None:
        return False
    lifted = update(_barrings).where(_barrings.c.id == row.id)
    connection.execute(lifted.values(lifted_at=now, lift_reason=reason.strip()))
    _mark(connection, party, id, None, "active")
    subscriber = id if party == "subscriber" else None
    record(connection, now, "unbarred", account=account, subscriber=subscriber, reference=id, reason=reason.strip())
    return True


def barred(connection: Connection, subscriber: str, account: str) -> str | None:
    """Why a subscriber, or the account that pays for it, is barred; ``None`` where neither is."""
    row = connection.execute(
        select(_barrings.c.party, _barrings.c.reason)
        .where(
            _barrings.c.lifted_at.is_(None),
            or_(
                (_barrings.c.party == "subscriber") & (_barrings.c.party_id == subscriber),
                (_barrings.c.party == "account") & (_barrings.c.party_id == account),
            ),
        )
        .order_by(_barrings.c.party)
    ).first()
    if row is None:
        return None
    return f"{row.party} {account if row.party == 'account' else subscriber} is barred: {row.reason}"


def _account(connection: Connection, party: Party, id: str) -> str:
    if party == "account":
        return account_row(connection, id).id
    subscriber = table(Subscriber)
    account = connection.execute(select(subscriber.c.account_id).where(subscriber.c.id == id)).scalar()
    if account is None:
        raise BalanceError("unknown_subscriber", f"subscriber {id}: there is none")
    return str(account)


def _open(connection: Connection, party: Party, id: str) -> Row[Any] | None:
    return connection.execute(
        select(_barrings).where(_barrings.c.party == party, _barrings.c.party_id == id, _barrings.c.lifted_at.is_(None))
    ).first()


def _mark(connection: Connection, party: Party, id: str, reason: str | None, status: str) -> None:
    rows = table(Account if party == "account" else Subscriber)
    connection.execute(update(rows).where(rows.c.id == id).values(status=status))
    if party == "account":
        connection.execute(
            update(_ledger).where(_ledger.c.owner == id, _ledger.c.kind == UNBILLED).values(barred=reason)
        )
