"""Our own terminals, as the base station knows them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from operator_server.link.visitors import Stranger, read_visitors
from operator_server.visited.faults import VisitedError
from signalling.clock import to_micros


def own_terminal(connection: Connection, terminal: str, now: datetime) -> tuple[bytes, str]:
    """Public key and language of a terminal of ours. Raises :class:`VisitedError`."""
    [found] = read_visitors(connection, [terminal], to_micros(now))
    if isinstance(found, Stranger):
        raise VisitedError("unknown_terminal", f"terminal {terminal}: {found.cause}")
    return found.visitor.public_key, found.visitor.language
