"""Sends what waits in the table of messages: each once, tried again with growing pauses, and never for ever.

A try begins by moving the row's ``due_at`` behind the pause that follows a failure, in a transaction of its own. So two
workers do not send the same message, and one that a crash interrupts is tried again later. A crash between the mail
server's yes and our note of it makes the message go out twice, with the same ``Message-ID``; the other order would lose
it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update
from twisted.logger import Logger

from operator_server.context import Operator
from operator_server.delivery.vault import VaultError
from operator_server.devices.invitations import sealed_name
from operator_server.devices.links import text_of
from operator_server.devices.messages import Letter, compose
from operator_server.mail import TemplateError
from operator_server.outlets import NotSent, Outlet, outlet_of
from operator_server.store.devices import WebToken
from operator_server.store.feed import record
from operator_server.store.invitations import Invitation, OutgoingMessage
from operator_server.store.parties import Terminal
from operator_server.store.rows import table
from operator_server.store.store import transact

log = Logger()

FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=6)

_message = table(OutgoingMessage)


def send_due(operator: Operator, most: int = 50) -> int:
    """Send what is due, at most ``most`` messages; returns how many went out. Ends at the first that did not."""
    outlet, sent = outlet_of(operator.settings), 0
    while sent < most and _send_next(operator, outlet):
        sent += 1
    return sent


def _send_next(operator: Operator, outlet: Outlet) -> bool:
    now = operator.clock.now()
    row = transact(operator.engine, lambda connection: _claim(connection, now))
    if row is None:
        return False
    try:
        _send(operator, outlet, row, now)
    except (NotSent, TemplateError, VaultError) as error:
        _note_failure(operator, row, str(error), now, final=isinstance(error, NotSent) and error.final)
        log.warn("message {message} to the user of {terminal}: {reason}", message=row.id, terminal=row.terminal_id,
                 reason=str(error))  # fmt: skip
        return False
    transact(operator.engine, lambda connection: _finish(connection, row, "sent", "", now))
    return True


def _claim(connection: Connection, now: datetime) -> Row[Any] | None:
    token, terminal = table(WebToken), table(Terminal)
    row = connection.execute(
        select(_message, token.c.expires_at, terminal.c.label)
        .join(token, token.c.id == _message.c.token_id)
        .join(terminal, terminal.c.id == _message.c.terminal_id)
        .where(_message.c.state == "waiting", _message.c.due_at <= now)
        .order_by(_message.c.due_at, _message.c.id)
        .limit(1)
    ).first()
    if row is None:
        return None
    pause = min(FIRST_PAUSE * 2**row.attempts, LONGEST_PAUSE)
    claimed = connection.execute(
        update(_message)
        .where(_message.c.id == row.id, _message.c.state == "waiting", _message.c.due_at == row.due_at)
        .values(attempts=row.attempts + 1, due_at=now + pause)
    )
    return row if claimed.rowcount == 1 else None


def _send(operator: Operator, outlet: Outlet, row: Row[Any], now: datetime) -> None:
    if now >= row.expires_at:
        raise NotSent("the link expired before the message could be sent", final=True)
    token = text_of(operator.vault.open(row.sealed_token, sealed_name(row.token_id)))
    letter = Letter(
        id=row.id,
        recipient=row.recipient,
        language=row.language,
        device=row.label or row.terminal_id,
        titles=row.titles,
        link=f"{operator.settings.page_url()}/o/{token}",
        until=row.expires_at,
        written=row.created_at,
    )
    outlet.send(row.id, compose(operator.settings, letter))


def _note_failure(operator: Operator, row: Row[Any], reason: str, now: datetime, *, final: bool) -> None:
    if final or row.attempts + 1 >= operator.settings.outlet.attempts:
        transact(operator.engine, lambda connection: _give_up(connection, row, reason, now))
    else:
        noted = update(_message).where(_message.c.id == row.id).values(reason=reason)
        transact(operator.engine, lambda connection: connection.execute(noted))


def _give_up(connection: Connection, row: Row[Any], reason: str, now: datetime) -> None:
    _finish(connection, row, "failed", reason, now)
    # The user was told of nothing: the offers are new to him at the next interrogation.
    told = table(Invitation)
    connection.execute(delete(told).where(told.c.message_id == row.id))


def _finish(connection: Connection, row: Row[Any], state: str, reason: str, now: datetime) -> None:
    connection.execute(
        update(_message)
        .where(_message.c.id == row.id)
        .values(state=state, reason=reason, sealed_token=None, sent_at=now if state == "sent" else None)
    )
    record(
        connection, now, f"link_{state}", terminal=row.terminal_id, subscriber=row.subscriber_id, reference=row.id,
        reason=reason,
    )  # fmt: skip
