"""The desk that answers what the user may know: validity, authorization, counters and charges (claim 11)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import Connection, select
from twisted.internet.defer import Deferred

from charging.ledger.book import available, balances
from operator_server.desk import Handler, Visitor
from operator_server.store.accounting import CounterState
from operator_server.store.dealings import Agreement, Installation, Release
from operator_server.store.parties import Account
from operator_server.store.rows import table
from operator_server.store.store import Store
from operator_server.validation.comparison import ReleaseValidity
from operator_server.validation.notices import mark_read
from signalling.clock import Clock
from signalling.messages import ChargeStatus, InstallationStatus, Message, NoticeRead, Status, StatusRequest


class StatusDesk:
    """Answers status requests and takes note of what was read."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def handlers(self) -> dict[type[Message], Handler]:
        """The messages that this desk answers."""
        return {StatusRequest: self._status, NoticeRead: self._notice_read}

    def _status(self, visitor: Visitor, message: StatusRequest) -> Deferred[Sequence[Message]]:
        return self._store.read(lambda connection: (status(connection, visitor, self._clock.now()),))

    def _notice_read(self, visitor: Visitor, message: NoticeRead) -> Deferred[Sequence[Message]]:
        def note(connection: Connection) -> Sequence[Message]:
            mark_read(connection, visitor.terminal, message.notices, self._clock.now())
            return ()

        return self._store.write(note)


def status(connection: Connection, visitor: Visitor, now: datetime) -> Status:
    """Everything that the user of this terminal may know of it."""
    installation, agreement = table(Installation), table(Agreement)
    rows = connection.execute(
        select(installation, agreement.c.subscriber_id, agreement.c.state)
        .join(agreement, agreement.c.id == installation.c.agreement_id)
        .where(
            installation.c.terminal_id == visitor.terminal,
            installation.c.installed_at.is_not(None),
            installation.c.removed_at.is_(None),
        )
        .order_by(installation.c.id)
    ).all()
    counters = _counters(connection, [row.id for row in rows])
    validity = _release_validity(connection, [row.product for row in rows])
    installations = []
    for row in rows:
        known = validity.get((row.product, row.release))
        own = row.subscriber_id == visitor.subscriber
        installations.append(
            InstallationStatus(
                installation=row.id,
                product=row.product,
                release=row.release,
                validity="valid" if known is None else known.at(now),
                authorization="not_authorized" if not own else "ended" if row.state == "ended" else "authorized",
                counters=counters.get(row.id, {}),
                agreement=row.agreement_id,
            )
        )
    return Status(installations=installations, charges=charges(connection, visitor.account))


def charges(connection: Connection, account: str) -> list[ChargeStatus]:
    """The money of an account, one entry a currency."""
    held = balances(connection, account)
    accounts = table(Account)
    own = connection.execute(select(accounts.c.currency).where(accounts.c.id == account)).scalar()
    result = []
    for currency in sorted({balance.currency for balance in held} | {cast(str, own)}):
        by_kind = {balance.kind: balance for balance in held if balance.currency == currency}
        left = available(connection, account, currency)
        result.append(
            ChargeStatus(
                currency=currency,
                unbilled=by_kind["unbilled"].balance if "unbilled" in by_kind else 0,
                open=by_kind["receivable"].balance if "receivable" in by_kind else 0,
                reserved=sum(balance.reserved for balance in by_kind.values()),
                available=2**53 if left is None else left,
            )
        )
    return result


def _release_validity(connection: Connection, products: Sequence[str]) -> dict[tuple[str, str], ReleaseValidity]:
    """Status of every release of these products."""
    release = table(Release)
    rows = connection.execute(select(release).where(release.c.product.in_(products)))
    return {(row.product, row.version): ReleaseValidity(row.status, row.valid_until, row.reason) for row in rows}


def _counters(connection: Connection, installations: Sequence[str]) -> dict[str, dict[str, int]]:
    state = table(CounterState)
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(select(state).where(state.c.installation_id.in_(installations))):
        found.setdefault(row.installation_id, {})[row.counter] = row.value
    return found


def entitled_products(connection: Connection, visitor: Visitor) -> set[str]:
    """Products that the subscriber has an agreement on that has not failed or ended."""
    agreement = table(Agreement)
    rows = connection.execute(
        select(agreement.c.product).where(
            agreement.c.subscriber_id == visitor.subscriber, agreement.c.state.in_(("agreed", "granted", "installed"))
        )
    )
    return set(rows.scalars())
