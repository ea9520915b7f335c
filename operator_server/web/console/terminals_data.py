"""What the pages of terminals tell, from a connection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select, text

from operator_server.store.accounting import CounterGap, CounterReportRow, CounterState
from operator_server.store.cards import Card, CardPacketRow
from operator_server.store.configurations import ConfigurationRow, Interrogation, InterrogationOrder, Section
from operator_server.store.dealings import Agreement, Delivery, Installation, Rejection
from operator_server.store.devices import Device
from operator_server.store.invitations import OutgoingMessage
from operator_server.store.parties import Binding, Notice, Subscriber, Terminal, TerminalSession
from operator_server.store.rows import table
from signalling.configuration import SECTIONS, Configuration, decode_section

DENSE = 20_000
"""Terminals of a model from which on its terminals are met among all, not looked up by it."""

MOST = 20
"""Newest entries of each list on a terminal's page."""
STATES = {
    "": "Any", "online": "On line", "silent": "Do not answer", "gaps": "Reports are missing",
    "failed": "A delivery failed", "never": "Never answered", "revoked": "Revoked",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Search:
    """What terminals are looked for: an id's begin, a subscriber or account, part of a model, a code's begin."""

    begins: str = ""
    user: str = ""
    model: str = ""
    code: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A fact of a configuration that changed; what was not there before, or is gone, is ``None``."""

    section: str
    key: str
    before: str | None
    after: str | None


def search(connection: Connection, wanted: Search, now: datetime) -> Select[Any]:
    """Terminals with user and session, without order."""
    terminal, binding, session = table(Terminal), table(Binding), table(TerminalSession)
    query = (
        select(
            terminal, binding.c.subscriber_id, session.c.lease_until, session.c.code, session.c.interrogated_at,
            session.c.next_due_at, session.c.unanswered,
        )
        .outerjoin(session, session.c.terminal_id == terminal.c.id)
        .outerjoin(binding, (binding.c.terminal_id == terminal.c.id) & binding.c.valid_to.is_(None))
    )  # fmt: skip
    if wanted.begins:
        query = query.where(terminal.c.id >= wanted.begins, terminal.c.id < wanted.begins + "\U0010ffff")
    if wanted.user:
        query = query.where(terminal.c.id.in_(_of_user(wanted.user)))
    if wanted.code:
        query = query.where(session.c.code >= _bytes(wanted.code, "0"), session.c.code <= _bytes(wanted.code, "f"))
    if wanted.model:
        query = query.where(of_model(connection, wanted.model))
    condition = _in_state(wanted.state, now)
    return query if condition is None else query.where(condition)


def _of_user(user: str) -> Select[Any]:
    binding, subscriber = table(Binding), table(Subscriber)
    return (
        select(binding.c.terminal_id)
        .join(subscriber, subscriber.c.id == binding.c.subscriber_id)
        .where((subscriber.c.id == user) | (subscriber.c.account_id == user), binding.c.valid_to.is_(None))
    )


def _bytes(begin: str, rest: str) -> bytes:
    return bytes.fromhex(begin.ljust(64, rest))


def of_model(connection: Connection, model: str) -> ColumnElement[bool]:
    """That the last answer of a terminal named a model with these words in it, upper or lower case."""
    rows, session = table(ConfigurationRow), table(TerminalSession)
    codes = select(rows.c.code).where(rows.c.hardware.in_(_hardware(connection, model)))
    having = select(session.c.terminal_id).where(session.c.code.in_(codes))
    count = select(func.count()).select_from(having.limit(DENSE).subquery())
    if connection.execute(count).scalar_one() < DENSE:
        return table(Terminal).c.id.in_(having)
    # Of so many the first are soon met on the way through all terminals.
    return session.c.code.in_(codes)


def _hardware(connection: Connection, model: str) -> list[bytes]:
    section = table(Section)
    rows = connection.execute(select(section.c.digest, section.c.canonical).where(section.c.name == "hardware"))
    wanted = model.lower()
    return [
        row.digest for row in rows if wanted in decode_section("hardware", row.canonical).get("model", "").lower()
    ]  # fmt: skip


def _in_state(state: str, now: datetime) -> ColumnElement[bool] | None:
    terminal, session = table(Terminal), table(TerminalSession)
    installation, gap, agreement = table(Installation), table(CounterGap), table(Agreement)
    match state:
        case "online":
            return session.c.lease_until > now
        case "silent":
            # As the index of those has it, which serves no parameter.
            return terminal.c.id.in_(select(session.c.terminal_id).where(text("unanswered > 0")))
        case "gaps":
            return terminal.c.id.in_(
                select(installation.c.terminal_id)
                .join(gap, gap.c.installation_id == installation.c.id)
                .where(gap.c.closed_at.is_(None))
            )
        case "failed":
            return terminal.c.id.in_(select(agreement.c.terminal_id).where(agreement.c.state == "failed"))
        case "never":
            return (session.c.interrogated_at.is_(None)) & (terminal.c.status == "active")
        case "revoked":
            return terminal.c.status == "revoked"
    return None


def one(connection: Connection, terminal: str, now: datetime) -> Row[Any] | None:
    """The terminal with its user and session."""
    return connection.execute(search(connection, Search(), now).where(table(Terminal).c.id == terminal)).first()


def account_of(connection: Connection, subscriber: str | None) -> str | None:
    """The account that pays for a subscriber."""
    rows = table(Subscriber)
    return connection.execute(select(rows.c.account_id).where(rows.c.id == subscriber)).scalar()


def models(connection: Connection, codes: Iterable[bytes | None]) -> dict[bytes, str]:
    """The model behind each of some codes."""
    rows, section = table(ConfigurationRow), table(Section)
    wanted = [code for code in codes if code]
    found = connection.execute(
        select(rows.c.code, section.c.canonical)
        .join(section, section.c.digest == rows.c.hardware)
        .where(rows.c.code.in_(wanted))
    )
    return {row.code: decode_section("hardware", row.canonical).get("model", "") for row in found}


def configurations(connection: Connection, codes: Iterable[bytes | None]) -> dict[bytes, Configuration]:
    """The configurations behind some codes; one that is not stored is left out."""
    rows, section = table(ConfigurationRow), table(Section)
    found = connection.execute(select(rows).where(rows.c.code.in_({code for code in codes if code}))).all()
    digests = {getattr(row, name) for row in found for name in SECTIONS}
    canonical = connection.execute(select(section.c.digest, section.c.name, section.c.canonical).where(
        section.c.digest.in_(digests)
    ))  # fmt: skip
    decoded = {row.digest: decode_section(row.name, row.canonical) for row in canonical}
    return {row.code: Configuration(**{name: decoded[getattr(row, name)] for name in SECTIONS}) for row in found}


def differences(before: Configuration, after: Configuration) -> list[Change]:
    """Every fact that differs, by section and key."""
    changes = []
    for section in SECTIONS:
        was, now = getattr(before, section), getattr(after, section)
        changes += [
            Change(section, key, was.get(key), now.get(key))
            for key in sorted(was.keys() | now.keys())
            if was.get(key) != now.get(key)
        ]
    return changes


def interrogations(terminal: str) -> Select[Any]:
    """What the terminal was asked, without order."""
    asked = table(Interrogation)
    return select(asked).where(asked.c.terminal_id == terminal)


def orders(connection: Connection, terminal: str) -> Sequence[Row[Any]]:
    """The newest orders to interrogate it, with what came of each."""
    order, asked = table(InterrogationOrder), table(Interrogation)
    return connection.execute(
        select(order, asked.c.outcome, asked.c.reason)
        .outerjoin(asked, asked.c.id == order.c.interrogation_id)
        .where(order.c.terminal_id == terminal)
        .order_by(order.c.id.desc())
        .limit(3)
    ).all()


def agreements(connection: Connection, terminal: str) -> Sequence[Row[Any]]:
    """The newest agreements made on the terminal, with their deliveries, whoever used it then."""
    agreement, delivery, binding = table(Agreement), table(Delivery), table(Binding)
    users = select(binding.c.subscriber_id).where(binding.c.terminal_id == terminal)
    return connection.execute(
        select(agreement, delivery.c.state.label("delivery"), delivery.c.reason.label("delivery_reason"))
        .outerjoin(delivery, delivery.c.agreement_id == agreement.c.id)
        .where(agreement.c.subscriber_id.in_(users), agreement.c.terminal_id == terminal)
        .order_by(agreement.c.id.desc())
        .limit(MOST)
    ).all()


def rejections(connection: Connection, subscriber: str | None) -> Sequence[Row[Any]]:
    """The newest rejections of the user, on whatever terminal: they follow the user."""
    rejection = table(Rejection)
    return connection.execute(
        select(rejection).where(rejection.c.subscriber_id == subscriber).order_by(rejection.c.id.desc()).limit(MOST)
    ).all()


def counters(connection: Connection, terminal: str) -> Sequence[Row[Any]]:
    """What is known of each counter on the terminal."""
    state, installation = table(CounterState), table(Installation)
    return connection.execute(
        select(state, installation.c.product, installation.c.agreement_id, installation.c.removed_at)
        .join(installation, installation.c.id == state.c.installation_id)
        .where(installation.c.terminal_id == terminal)
        .order_by(state.c.reported_at.desc())
        .limit(MOST)
    ).all()


def gaps(connection: Connection, terminal: str) -> Sequence[Row[Any]]:
    """Reports of the terminal that are missing."""
    gap, installation = table(CounterGap), table(Installation)
    return connection.execute(
        select(gap, installation.c.product)
        .join(installation, installation.c.id == gap.c.installation_id)
        .where(installation.c.terminal_id == terminal, gap.c.closed_at.is_(None))
        .order_by(gap.c.id)
        .limit(MOST)
    ).all()


def refused_reports(connection: Connection, terminal: str) -> Sequence[Row[Any]]:
    """Reports of the terminal that were not taken as they are, newest first, with the reason."""
    report, installation = table(CounterReportRow), table(Installation)
    return connection.execute(
        select(report, installation.c.product)
        .join(installation, installation.c.id == report.c.installation_id)
        .where(installation.c.terminal_id == terminal, report.c.reason != "")
        .order_by(report.c.id.desc())
        .limit(MOST)
    ).all()


def notices(connection: Connection, terminal: str) -> Sequence[Row[Any]]:
    """The newest messages to its user that the terminal shows."""
    notice = table(Notice)
    return connection.execute(
        select(notice).where(notice.c.terminal_id == terminal).order_by(notice.c.id.desc()).limit(MOST)
    ).all()


def sent_out(connection: Connection, terminal: str) -> list[tuple[str, Row[Any]]]:
    """The newest messages by mail or to a card, and what became of them."""
    found: list[tuple[str, Row[Any]]] = []
    for model, kind in ((OutgoingMessage, "mail"), (CardPacketRow, "card")):
        rows = table(model)
        query = select(rows).where(rows.c.terminal_id == terminal).order_by(rows.c.id.desc()).limit(MOST)
        found += [(kind, row) for row in connection.execute(query)]
    return found


def device(connection: Connection, terminal: str) -> Row[Any] | None:
    """How it is polled, where it is a device that is."""
    rows = table(Device)
    return connection.execute(select(rows).where(rows.c.terminal_id == terminal)).first()


def card(connection: Connection, terminal: str) -> Any:
    """The card that it is, where it is one."""
    rows = table(Card)
    return connection.execute(
        select(rows.c.msisdn, rows.c.iccid, rows.c.route, rows.c.heard_at).where(rows.c.terminal_id == terminal)
    ).first()
