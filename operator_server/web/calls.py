"""Calls that come in on routes: who asks, when, the database, and what an answer may be besides a model."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Header
from pydantic import BaseModel
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import Request
from starlette.responses import Response

from operator_server.audit import audited
from operator_server.context import Operator
from operator_server.offering.live import LiveOffers
from operator_server.people.sessions import Caller
from operator_server.store.people import AnsweredRequest
from operator_server.store.races import lost_race
from operator_server.store.rows import table
from operator_server.store.store import transact
from operator_server.trail import told_change
from operator_server.web.cursors import Cursors
from operator_server.web.gate import Gate
from operator_server.web.problems import Problem

THREADS = 4
"""More threads only take the interpreter from each other: the work is Python's, not the disk's."""
MOST_WAITING = 400
NOBODY = Caller("", "", "", frozenset(), "public")

Pool = Literal["quick", "slow", "logon"]
T = TypeVar("T")


class Web:
    """What the routes stand on; one for each application, at ``app.state.web``."""

    def __init__(
        self, operator: Operator, offers: LiveOffers, *, gate: Gate | None = None, threads: int = THREADS
    ) -> None:
        self.operator = operator
        self.offers = offers
        self.gate = gate or Gate(operator)
        self.cursors = Cursors(operator.keys.signing.private_bytes_raw())
        self.totals: dict[str, tuple[float, int]] = {}
        self._pools = {
            "quick": ThreadPoolExecutor(threads, "web"),
            "slow": ThreadPoolExecutor(2, "web-slow"),
            "logon": ThreadPoolExecutor(2, "web-logon"),
        }
        self._waiting = 0

    async def run(self, work: Callable[[], T], *, pool: Pool = "quick") -> T:
        """Do blocking work in a pool of threads: what is slow does not keep others, nor whoever logs on, waiting.

        Raises :class:`Problem` 503 where too much waits for it already.
        """
        if self._waiting >= MOST_WAITING:
            raise _busy()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pools[pool], work)
        except (PoolTimeout, OperationalError) as error:
            if isinstance(error, PoolTimeout) or "locked" in str(error) or lost_race(error):
                raise _busy() from None
            raise
        finally:
            self._waiting -= 1


def _busy() -> Problem:
    return Problem(503, "the server has too much to do; try again in a moment", headers={"Retry-After": "2"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route answers when status or headers are not the usual ones."""

    content: BaseModel | None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Call:
    """A request in work: who asks, when, and the database."""

    def __init__(self, web: Web, request: Request, caller: Caller) -> None:
        self.web = web
        self.operator = web.operator
        self.request = request
        self.caller = caller
        self.now: datetime = web.operator.clock.now()
        self._connection: Connection | None = None

    @property
    def connection(self) -> Connection:
        """For reading: one snapshot for the whole call."""
        if self._connection is None:
            self._connection = self.operator.engine.connect()
        return self._connection

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()

    def write(self, operation: Callable[[Connection], T]) -> T:
        """A writing transaction of its own; all or nothing."""
        self.close()
        self._connection = None
        return transact(self.operator.engine, operation)

    def audited(
        self,
        connection: Connection,
        action: str,
        reference: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        """Write a change of this call into the audit trail, in the transaction of the change."""
        audited(connection, self.caller.actor, action, reference, before, after, self.now)

    def changed(
        self,
        connection: Connection,
        action: str,
        about: str | Callable[[T], str],
        operation: Callable[[Connection], T],
        told: Mapping[str, Any] | Callable[[T], Mapping[str, Any] | None],
    ) -> T:
        """Run a change of this call in the transaction of ``connection`` and write before and after into the trail.

        As :func:`operator_server.trail.told_change`.
        """
        return told_change(connection, self.caller.actor, action, about, operation, self.now, told)

    def once(self, key: str, operation: Callable[[Connection], Answer]) -> Response:
        """Do what moves money once for each Idempotency-Key: sent again, the same request gets the same answer.

        A key that was used for something else is a 422. The answer is kept in the transaction of the operation; an
        operation that fails keeps nothing.
        """
        asked = f"{self.request.method} {self.request.url.path}\n".encode() + self.request._body
        digest, kept = hashlib.sha256(asked).digest(), table(AnsweredRequest)

        def transaction(connection: Connection) -> Response:
            row = connection.execute(select(kept).where(kept.c.actor == self.caller.person, kept.c.key == key)).first()
            if row is not None:
                if bytes(row.request_digest) != digest:
                    raise Problem(422, "Idempotency-Key: was used for another request; make a new one for this one")
                return Response(row.body, row.status, {"Idempotent-Replay": "true"}, "application/json")
            answer = operation(connection)
            body = answer.content.model_dump_json(by_alias=True).encode() if answer.content is not None else b""
            connection.execute(
                insert(kept).values(
                    actor=self.caller.person, key=key, request_digest=digest, status=answer.status, body=body,
                    answered_at=self.now,
                )
            )  # fmt: skip
            return Response(body, answer.status, answer.headers, "application/json")

        return self.write(transaction)

    def require_match(self, view: BaseModel, given: str) -> None:
        """Raises :class:`Problem` 412 unless ``If-Match`` names what is there now."""
        if given.strip() != "*" and etag_of(view.model_dump_json().encode()) not in tags_of(given):
            raise Problem(412, "If-Match: it was changed since you read it; read it again and decide anew")


def etag_of(body: bytes) -> str:
    """A strong validator of an answer."""
    return f'"{hashlib.sha256(body).hexdigest()[:24]}"'


def tags_of(header: str) -> set[str]:
    """The validators that a header names."""
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


async def _if_match(
    if_match: Annotated[
        str | None, Header(description="ETag of what you read; without it the answer is 428", max_length=300)
    ] = None,
) -> str:
    if if_match is None:
        raise Problem(428, "If-Match: is needed; read the resource first and send its ETag")
    return if_match


async def _idempotency_key(
    idempotency_key: Annotated[
        str,
        Header(
            description="A name of your own for this request, sent again with each retry",
            min_length=8, max_length=128, pattern=r"^[!-~]+$",
        ),
    ],
) -> str:  # fmt: skip
    return idempotency_key


IfMatch = Annotated[str, Depends(_if_match)]
IdempotencyKey = Annotated[str, Depends(_idempotency_key)]
