"""What commands about cards, devices and terminals show alike."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from operator_server.cli.common import out
from operator_server.store.parties import Binding, TerminalSession
from operator_server.store.rows import table


def when(instant: datetime | None) -> str:
    """An instant to the second, or never."""
    return f"{instant:%Y-%m-%d %H:%M:%S}" if instant else "never"


def user_and_code(connection: Connection, terminal: str) -> dict[str, Any]:
    """Who uses a terminal now, and the configuration code that it answered last."""
    binding, session = table(Binding), table(TerminalSession)
    user = select(binding.c.subscriber_id).where(binding.c.terminal_id == terminal, binding.c.valid_to.is_(None))
    code = connection.execute(select(session.c.code).where(session.c.terminal_id == terminal)).scalar()
    return {"subscriber": connection.execute(user).scalar(), "code": code.hex() if code else ""}


def show_facts(facts: dict[str, Any], but: Collection[str]) -> None:
    """A line for each fact, apart from those that are shown otherwise."""
    for key, value in facts.items():
        if key not in but:
            out.print(f"{key}: {when(value) if key.endswith('_at') else value}")
