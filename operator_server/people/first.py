"""The first administrator: made at the first start, with a password for one logon."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, select

from operator_server.files import write_atomically
from operator_server.people.passwords import OneTimePassword, one_time_password
from operator_server.people.persons import create_person
from operator_server.store.people import Person
from operator_server.store.rows import table
from operator_server.store.store import transact

NAME = "admin"
FILE = "first-password.txt"


def ensure_administrator(
    engine: Engine, data: Path, now: datetime, *, tell: Callable[[str], object] = print, terminal: bool | None = None
) -> OneTimePassword | None:
    """Make the administrator ``admin`` where there is nobody yet; ``None`` where there is.

    The one-time password goes to ``tell`` where standard output is a terminal, else to a file of mode 0600 in the
    data folder, whose path is told.
    """
    with engine.connect() as connection:
        if connection.execute(select(table(Person).c.id).limit(1)).first() is not None:
            return None

    password = one_time_password()
    shown = sys.stdout.isatty() if terminal is None else terminal

    def make(connection: Connection) -> OneTimePassword | None:
        if connection.execute(select(table(Person).c.id).limit(1)).first() is not None:
            return None
        create_person(connection, NAME, "administrator", password, now, actor="system")
        if not shown:
            # Before the commit: a password that nobody can read would lock everybody out.
            write_atomically(data / FILE, f"{password.text}\n".encode(), mode=0o600)
        return password

    made = transact(engine, make)
    if made is not None:
        if shown:
            tell(f"First logon: user {NAME}, password {made.text} (for one logon; it is not shown again)")
        else:
            tell(f"First logon: user {NAME}, its password for one logon is in {data / FILE}; delete it afterwards")
    return made
