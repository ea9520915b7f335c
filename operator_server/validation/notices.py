"""Messages to a terminal's user: written once, sent when the terminal is on line, marked when read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite

from operator_server.store.parties import Binding, Notice, TerminalSession
from operator_server.store.rows import table
from operator_server.validation.comparison import Finding
from signalling.clock import to_micros
from signalling.ids import new_id

# What the message on the wire holds; a terminal chooses the versions that its code names.
_LONGEST_SUBJECT = 128
_LONGEST_TEXT = 4000

_TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "expired": "{product} {release} has expired. Please update or remove it.",
        "revoked": "{product} {release} was withdrawn. Please remove it.",
        "not_authorized": "You have no agreement for {product} {release}.",
    },
    "de": {
        "expired": "{product} {release} ist abgelaufen. Bitte aktualisieren oder entfernen.",
        "revoked": "{product} {release} wurde zurückgezogen. Bitte entfernen.",
        "not_authorized": "Für {product} {release} besteht kein Vertrag.",
    },
}


def _finding_text(finding: Finding, language: str) -> str:
    """What a finding says to the user."""
    texts = _TEXTS.get(language, _TEXTS["en"])
    text = texts[finding.state].format(product=finding.product, release=finding.release)
    return f"{text} ({finding.reason})" if finding.reason else text


def write_findings(
    connection: Connection, terminal: str, subscriber: str, language: str, findings: Iterable[Finding], now: datetime
) -> None:
    """A notice for each finding that this terminal has not been told before."""
    for finding in findings:
        write_notice(
            connection,
            now,
            terminal=terminal,
            subscriber=subscriber,
            kind="authorization" if finding.state == "not_authorized" else "validity",
            subject=f"{finding.product} {finding.release}",
            state=finding.state,
            text=_finding_text(finding, language),
            dedup=f"{terminal}/{subscriber}/{finding.product}/{finding.release}/{finding.state}",
        )


def write_notice(
    connection: Connection,
    now: datetime,
    *,
    terminal: str,
    subscriber: str | None,
    kind: str,
    subject: str,
    state: str,
    text: str,
    dedup: str | None = None,
) -> None:
    """Write a message; one with a ``dedup`` key that exists already is not written again."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(
        dialect.insert(table(Notice))
        .values(
            id=new_id(to_micros(now)),
            terminal_id=terminal,
            subscriber_id=subscriber,
            kind=kind,
            subject=subject[:_LONGEST_SUBJECT],
            state=state,
            text=text[:_LONGEST_TEXT],
            dedup=dedup,
            created_at=now,
        )
        .on_conflict_do_nothing()
    )


def unsent_for_node(connection: Connection, node: str, now: datetime, most: int = 200) -> list[Row[Any]]:
    """Messages not sent yet, to terminals that this node holds; what was for a former user is not for the next."""
    notice, session, binding = table(Notice), table(TerminalSession), table(Binding)
    still_theirs = exists().where(
        binding.c.terminal_id == notice.c.terminal_id,
        binding.c.subscriber_id == notice.c.subscriber_id,
        binding.c.valid_to.is_(None),
    )
    return list(
        connection.execute(
            select(notice)
            .join(session, session.c.terminal_id == notice.c.terminal_id)
            .where(
                notice.c.sent_at.is_(None),
                session.c.node == node,
                session.c.lease_until > now,
                notice.c.subscriber_id.is_(None) | still_theirs,
            )
            .order_by(notice.c.id)
            .limit(most)
        )
    )


def mark_sent(connection: Connection, notices: Iterable[str], now: datetime) -> None:
    """These messages went out."""
    notice = table(Notice)
    connection.execute(update(notice).where(notice.c.id.in_(list(notices))).values(sent_at=now))


def mark_read(connection: Connection, terminal: str, notices: Iterable[str], now: datetime) -> None:
    """The terminal showed these of its messages."""
    notice = table(Notice)
    connection.execute(
        update(notice)
        .where(notice.c.id.in_(list(notices)), notice.c.terminal_id == terminal, notice.c.read_at.is_(None))
        .values(read_at=now)
    )
