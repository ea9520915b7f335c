"""Which configurations terminals have now, and how many have each."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from operator_server.store.configurations import ConfigurationRow, Section
from operator_server.store.parties import TerminalSession
from operator_server.store.rows import table
from signalling.configuration import SECTIONS, Configuration, decode_section

_AT_ONCE = 500


class Population:
    """The configurations of terminals by their last answers; kept between looks, because a code never changes.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Configuration] = {}
        self._lock = threading.Lock()

    def read(self, connection: Connection) -> list[tuple[bytes, Configuration, int]]:
        """Each configuration that a terminal answered with last, and how many did."""
        session = table(TerminalSession)
        counts = {
            bytes(code): int(count)
            for code, count in connection.execute(
                select(session.c.code, func.count()).where(session.c.code.is_not(None)).group_by(session.c.code)
            )
        }
        with self._lock:
            known = {code: self._known[code] for code in counts.keys() & self._known.keys()}
            known.update(_read(connection, counts.keys() - known.keys()))
            self._known = known
        return [(code, known[code], count) for code, count in counts.items() if code in known]


def _read(connection: Connection, codes: Iterable[bytes]) -> dict[bytes, Configuration]:
    configuration, section = table(ConfigurationRow), table(Section)
    wanted = sorted(codes)
    rows = [
        row
        for start in range(0, len(wanted), _AT_ONCE)
        for row in connection.execute(
            select(configuration).where(configuration.c.code.in_(wanted[start : start + _AT_ONCE]))
        )
    ]
    digests = sorted({bytes(getattr(row, name)) for row in rows for name in SECTIONS})
    sections = {
        bytes(row.digest): decode_section(row.name, row.canonical)
        for start in range(0, len(digests), _AT_ONCE)
        for row in connection.execute(select(section).where(section.c.digest.in_(digests[start : start + _AT_ONCE])))
    }
    return {
        bytes(row.code): Configuration(**{name: sections[bytes(getattr(row, name))] for name in SECTIONS})
        for row in rows
    }
