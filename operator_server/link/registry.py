"""Who is on line: links by terminal in this process, and leases in the store that tell other processes so.

Leases are renewed in bulk by a timer, never by a message. A lease that another process has taken over means that the
terminal logged on there: its link here is superseded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from operator_server.link.protocol import LinkProtocol
from operator_server.link.statements import insert_rows
from operator_server.store.parties import Terminal, TerminalSession
from operator_server.store.people import AuditEntry
from operator_server.store.rows import table
from signalling.clock import from_micros

LEASE = 120 * 1_000_000
"""Microseconds for which a lease holds."""

_COLUMNS = ("terminal_id", "node", "session", "lease_until", "unanswered")
_ON_CONFLICT = (
    "ON CONFLICT (terminal_id) DO UPDATE SET node = excluded.node, session = excluded.session, "
    "lease_until = excluded.lease_until"
)


_CHANGES = (
    "terminal.revoke", "terminal.replace_key", "terminal.bind", "subscriber.groups", "account.change", "account.erase",
)  # fmt: skip
"""What the audit trail calls changes of who a terminal is and what its user may."""


class Registry:
    """Links with a terminal logged on."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._links: dict[str, LinkProtocol] = {}
        self._fresh: dict[str, str] = {}
        self._departed: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[LinkProtocol]:
        return iter(list(self._links.values()))

    def get(self, terminal: str) -> LinkProtocol | None:
        """The terminal's link here."""
        return self._links.get(terminal)

    def put(self, link: LinkProtocol) -> LinkProtocol | None:
        """A terminal is logged on; the link that it had, if it had another."""
        terminal = link.terminal
        before = self._links.get(terminal)
        self._links[terminal] = link
        self._fresh[terminal] = link.session
        self._departed.pop(terminal, None)
        return before

    def remove(self, link: LinkProtocol) -> bool:
        """The link's terminal is no longer logged on over it."""
        terminal = link.terminal
        if self._links.get(terminal) is not link:
            return False
        del self._links[terminal]
        self._fresh.pop(terminal, None)
        self._departed[terminal] = link.session
        return True

    def leased(self, link: LinkProtocol) -> None:
        """The lease of the link's session stands in the store already, written with an outcome."""
        if self._fresh.get(link.terminal) == link.session:
            del self._fresh[link.terminal]

    def work(self) -> LeaseWork:
        """What is to be written now about leases."""
        fresh, self._fresh = self._fresh, {}
        departed, self._departed = self._departed, {}
        return LeaseWork(self.node, fresh, departed)

    def sessions(self) -> dict[str, str]:
        """Terminal to session, for all links here."""
        return {terminal: link.session for terminal, link in self._links.items()}


class LeaseWork:
    """Leases to take, to renew and to give back, as one operation of the store."""

    def __init__(self, node: str, fresh: dict[str, str], departed: dict[str, str]) -> None:
        self._node = node
        self._fresh = fresh
        self._departed = departed

    def __bool__(self) -> bool:
        return bool(self._fresh or self._departed)

    def write(self, connection: Connection, now: int, *, renew: bool) -> None:
        """Write it; with ``renew`` the lease of every terminal of this node."""
        session = table(TerminalSession)
        if self._fresh:
            rows = [(terminal, self._node, id, now + LEASE, 0) for terminal, id in self._fresh.items()]
            insert_rows(connection, "terminal_session", _COLUMNS, rows, _ON_CONFLICT)
        if self._departed:
            connection.execute(
                update(session)
                .where(session.c.terminal_id == bindparam("who"), session.c.session == bindparam("was"))
                .values(lease_until=None),
                [{"who": terminal, "was": id} for terminal, id in self._departed.items()],
            )
        if renew:
            held = session.c.node == self._node
            connection.execute(
                update(session)
                .where(held, session.c.lease_until.is_not(None))
                .values(lease_until=from_micros(now + LEASE))
            )


def give_back(connection: Connection, node: str) -> None:
    """No terminal is on line at this node; at its start and at its end."""
    session = table(TerminalSession)
    connection.execute(update(session).where(session.c.node == node).values(lease_until=None))


def sent_away(connection: Connection, node: str, sessions: dict[str, str]) -> dict[str, str]:
    """Of the sessions held here, those that must end, each with the reason."""
    session, terminal = table(TerminalSession), table(Terminal)
    ending: dict[str, str] = {}
    rows: Iterable[Any] = connection.execute(
        select(session.c.terminal_id, session.c.node, session.c.lease_until).where(session.c.node != node)
    )
    for who, other, lease in rows:
        if who in sessions and lease is not None:
            ending[who] = f"superseded by a link at {other}"
    revoked = connection.execute(select(terminal.c.id).where(terminal.c.status != "active"))
    ending.update({who: "revoked" for (who,) in revoked if who in sessions})
    return ending


def changed_parties(connection: Connection, since: int | None) -> tuple[int, frozenset[str]]:
    """The number of the newest entry of the audit trail, and the ``terminal/``, ``subscriber/`` and ``account/`` that
    entries after ``since`` changed; none for no ``since``."""
    entry = table(AuditEntry)
    newest: int = connection.execute(select(func.max(entry.c.id))).scalar() or 0
    if since is None or newest <= since:
        return newest, frozenset()
    rows = connection.execute(select(entry.c.reference).where(entry.c.action.in_(_CHANGES), entry.c.id > since))
    return newest, frozenset(rows.scalars())
