"""Mails that tell customers of thresholds, by ``templates/threshold.LANGUAGE.txt`` of the operator or our own."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from email.message import EmailMessage
from string import Template
from typing import Any

from sqlalchemy import Engine, Row, select, update

from operator_server.mail import TemplateError, find_template, mail, one_line, parse_template, read_template
from operator_server.outlets import NotSent, Outlet, outlet_of
from operator_server.settings import Settings
from operator_server.store.dispatch import BalanceMail
from operator_server.store.parties import Account
from operator_server.store.rows import table
from operator_server.store.store import transact

_NAME = re.compile(r"threshold\.[a-z]{2}\.txt\Z")
NAMES = ("operator", "contact", "customer", "account", "text")
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=6)

_mails, _accounts = table(BalanceMail), table(Account)


def send_balance_mails(
    engine: Engine, settings: Settings, now: datetime, outlet: Outlet | None = None, most: int = 50
) -> list[str]:
    """Send the mails that are due; the faults. Each is tried again with growing pauses, never for ever."""
    with engine.connect() as connection:
        due = connection.execute(
            select(_mails, _accounts.c.name)
            .join(_accounts, _accounts.c.id == _mails.c.account_id)
            .where(_mails.c.state == "waiting", _mails.c.due_at <= now)
            .order_by(_mails.c.due_at, _mails.c.id)
            .limit(most)
        ).all()
    way, faults = outlet or (outlet_of(settings) if due else None), []
    for row in due:
        assert way is not None, "an outlet is made where something is due"
        try:
            way.send(row.id, _compose_balance_mail(settings, row))
        except (NotSent, TemplateError) as error:
            final = isinstance(error, NotSent) and error.final
            state = "refused" if final else "failed" if row.attempts + 1 >= settings.outlet.attempts else "waiting"
            pause = min(FIRST_PAUSE * 2**row.attempts, LONGEST_PAUSE)
            _note(engine, row.id, state=state, reason=str(error)[:500], due_at=now + pause)
            faults.append(f"{row.id} to {row.recipient}: {error}")
            if not final:
                break
        else:
            _note(engine, row.id, state="sent", reason="", sent_at=now)
    return faults


def _compose_balance_mail(settings: Settings, row: Row[Any]) -> EmailMessage:
    """The mail of a row with the customer's ``name``. Raises :class:`operator_server.mail.TemplateError`."""
    place, template = find_template(
        settings, "operator_server.balances", row.language, lambda language: [f"threshold.{language}.txt"]
    )
    values = {
        "operator": settings.operator.name, "contact": settings.operator.email or settings.operator.name,
        "customer": one_line(row.name), "account": row.account_id, "text": row.text,
    }  # fmt: skip
    return mail(
        settings, _parsed(place, template), values, id=row.id, recipient=row.recipient, language=row.language,
        written=row.created_at,
    )  # fmt: skip


def check_balance_templates(settings: Settings) -> None:
    """Raises :class:`operator_server.mail.TemplateError` for the operator's first template that cannot be used."""
    for path in sorted((settings.config_dir / "templates").glob("threshold*.txt")):
        if not _NAME.match(path.name):
            raise TemplateError(f"{path}: is never used; name it threshold.LANGUAGE.txt")
        _parsed(str(path), read_template(path))


def _parsed(place: str, template: str) -> tuple[Template, Template]:
    return parse_template(place, template, NAMES)


def _note(engine: Engine, id: str, **values: Any) -> None:
    change = update(_mails).where(_mails.c.id == id).values(attempts=_mails.c.attempts + 1, **values)
    transact(engine, lambda connection: connection.execute(change))
