"""Reminders: debts that are due reach the next level, a letter a customer, its fee, and sending it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, Row, select, update

from charging.receivables.reminders import Level, next_level
from operator_server.mail import TemplateError
from operator_server.outlets import NotSent, Outlet, outlet_of
from operator_server.receivables.books import lock, take_in_invoices
from operator_server.receivables.disputes import Held, held
from operator_server.receivables.fees import charge_fee, fee_in
from operator_server.receivables.letters import ReminderLetter, compose_reminder
from operator_server.settings import Settings
from operator_server.store.engine import writing
from operator_server.store.feed import record
from operator_server.store.parties import Account
from operator_server.store.receivables import CollectedItem, ReceivableItem, Reminder
from operator_server.store.rows import add, matching, table
from operator_server.store.store import transact
from signalling.clock import to_micros
from signalling.ids import new_id

_item, _reminder = table(ReceivableItem), table(Reminder)
Debt = tuple[Row[Any], int, int | None]
"""The item, what is demanded of it, and the level that it reaches today, if it does."""


@dataclass(slots=True)
class Reminded:
    """What a run came to: the letters it made, by level; how many went out, wait, or have no address."""

    letters: list[str] = field(default_factory=list)
    levels: dict[int, int] = field(default_factory=dict)
    fees: int = 0
    sent: int = 0
    waiting: int = 0
    no_email: int = 0


def run_reminders(engine: Engine, settings: Settings, now: datetime, outlet: Outlet | None = None) -> Reminded:
    """Make the letters that are due today, then send what waits. A second run on the same day makes none.

    Each customer's letter with its fee and levels is one transaction; one that could not be sent goes out next time.
    """
    result = Reminded()

    def take_in(connection: Connection) -> None:
        lock(connection)
        take_in_invoices(connection, settings, now)

    def make(connection: Connection, account: str, currency: str) -> Reminder | None:
        lock(connection)
        return remind(connection, settings, account, currency, now)

    transact(engine, take_in)
    with engine.connect() as connection:
        waiting = _candidates(connection, now)
    for account, currency in waiting:
        letter = transact(engine, partial(make, account=account, currency=currency))
        if letter is not None:
            result.letters.append(letter.id)
            result.levels[letter.level] = result.levels.get(letter.level, 0) + 1
            result.fees += bool(letter.fee)
            result.no_email += letter.state == "no_email"
    result.sent, result.waiting = send_reminders(engine, settings, now, outlet)
    return result


def remind(connection: Connection, settings: Settings, account: str, currency: str, now: datetime) -> Reminder | None:
    """Make the letter of an account where a debt reaches a level today; it names everything that is due."""
    today = now.astimezone(settings.operator.zone).date()
    levels = [Level(each.days, fee_in(settings, each.fee, currency)) for each in settings.receivables.reminders]
    debts = _debts(connection, settings, account, currency, levels, today, now)
    risen = [level for _, _, level in debts if level is not None]
    if not risen:
        return None
    level = max(risen)
    customer = connection.execute(select(table(Account)).where(table(Account).c.id == account)).one()
    id, fee, fee_number = new_id(to_micros(now)), levels[level - 1].fee, ""
    if fee:
        fee_number = charge_fee(
            connection, settings, account=account, currency=currency, amount=fee, op_id=f"reminder:{id}",
            what=f"reminder {level}", about=", ".join(row.number for row, _, _ in debts)[:500], now=now,
        )  # fmt: skip
    for row, _, reached in debts:
        if reached is not None:
            connection.execute(update(_item).where(_item.c.id == row.id).values(level=reached, reminded_on=today))
    letter = Reminder(
        id=id, account_id=account, currency=currency, level=level, fee=fee,
        items=[
            {"number": row.number, "due": _local(row.due_at, settings).isoformat(), "micros": amount,
             "level": reached or row.level}
            for row, amount, reached in debts
        ] + ([{"number": fee_number, "due": "", "micros": fee, "level": 0}] if fee else []),
        total=sum(amount for _, amount, _ in debts) + fee, recipient=customer.email, language=customer.language,
        pay_by=today + timedelta(days=settings.receivables.fee_days),
        state="waiting" if customer.email else "no_email", made_at=now,
    )  # fmt: skip
    add(connection, letter)
    record(
        connection, now, "reminded", account=account, reference=id, level=level, currency=currency, total=letter.total,
        fee=fee,
    )  # fmt: skip
    return letter


def send_reminders(engine: Engine, settings: Settings, now: datetime, outlet: Outlet | None = None) -> tuple[int, int]:
    """Send the letters that wait; how many went out, and how many wait still. None is sent twice knowingly."""
    way, sent, left = outlet or outlet_of(settings), 0, 0
    with engine.connect() as connection:
        rows = connection.execute(
            select(_reminder, table(Account).c.name)
            .join(table(Account), table(Account).c.id == _reminder.c.account_id)
            .where(_reminder.c.state == "waiting")
            .order_by(_reminder.c.id)
        ).all()
    for row in rows:
        try:
            way.send(row.id, compose_reminder(settings, letter_of(row)))
        except (NotSent, TemplateError) as error:
            final = (isinstance(error, NotSent) and error.final) or row.attempts + 1 >= settings.outlet.attempts
            _note(engine, row.id, "failed" if final else "waiting", str(error), None)
            left += not final
        else:
            _note(engine, row.id, "sent", "", now)
            sent += 1
    return sent, left


def find_reminders(connection: Connection, *, account: str = "", most: int | None = None) -> list[Row[Any]]:
    """Letters with the customer's name, the newest first."""
    accounts = table(Account)
    statement = matching(
        select(_reminder, accounts.c.name).join(accounts, accounts.c.id == _reminder.c.account_id),
        (_reminder.c.account_id, account),
    )
    return list(connection.execute(statement.order_by(_reminder.c.made_at.desc(), _reminder.c.id).limit(most)))


def letter_of(row: Row[Any]) -> ReminderLetter:
    """The letter of a row with the customer's ``name``."""
    named = [each for each in row.items if each["due"]]
    return ReminderLetter(
        id=row.id, recipient=row.recipient, customer=row.name, account=row.account_id, language=row.language,
        level=row.level, currency=row.currency,
        items=tuple((each["number"], date.fromisoformat(each["due"]), each["micros"]) for each in named),
        fee=row.fee, fee_number=next((each["number"] for each in row.items if not each["due"]), ""), total=row.total,
        pay_by=row.pay_by, written=row.made_at,
    )  # fmt: skip


def _candidates(connection: Connection, now: datetime) -> Sequence[tuple[str, str]]:
    rows = connection.execute(
        select(_item.c.account_id, _item.c.currency)
        .where(_item.c.open > 0, _item.c.due_at < now, _item.c.kind == "invoice")
        .distinct()
        .order_by(_item.c.account_id, _item.c.currency)
    )
    return [(row.account_id, row.currency) for row in rows]


def _debts(
    connection: Connection,
    settings: Settings,
    account: str,
    currency: str,
    levels: Sequence[Level],
    today: date,
    now: datetime,
) -> list[Debt]:
    """What is due of an account and neither disputed nor being collected; only invoices rise in level."""
    collected = table(CollectedItem)
    rows = connection.execute(
        select(_item)
        .where(
            _item.c.account_id == account, _item.c.currency == currency, _item.c.open > 0, _item.c.due_at < now,
            _item.c.id.not_in(select(collected.c.item_id).where(collected.c.state == "sent")),
        )
        .order_by(_item.c.due_at, _item.c.number)
    ).all()  # fmt: skip
    disputed = held(connection, {row.number for row in rows})
    debts: list[Debt] = []
    for row in rows:
        amount = disputed.get(row.number, Held()).demanded(row.open)
        if amount <= 0:
            continue
        due = _local(row.due_at, settings)
        level = next_level(levels, row.level, due, row.reminded_on, today) if row.kind == "invoice" else None
        debts.append((row, amount, level))
    return debts


def _local(at: datetime, settings: Settings) -> date:
    return at.astimezone(settings.operator.zone).date()


def _note(engine: Engine, id: str, state: str, reason: str, sent: datetime | None) -> None:
    with writing(engine).begin() as connection:
        connection.execute(
            update(_reminder)
            .where(_reminder.c.id == id)
            .values(state=state, reason=reason[:500], attempts=_reminder.c.attempts + 1, sent_at=sent)
        )
