"""What the pages of accounts show, read from the database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, Connection, Row, Select, func, select, type_coerce, union

from charging.balances.tables import Barring
from charging.ledger.tables import LedgerAccount, Posting, Transfer
from charging.tariffs import TariffError
from operator_server.balances.buckets import buckets_of
from operator_server.balances.money import credits_of
from operator_server.balances.thresholds import thresholds_of
from operator_server.counting.tariffs import TariffVersions
from operator_server.receivables.books import decode
from operator_server.store.accounting import Charge, InvoiceRow
from operator_server.store.dealings import Rejection
from operator_server.store.dispatch import InvoiceDispatch
from operator_server.store.parties import Account, Binding, Notice, Subscriber
from operator_server.store.receivables import ReceivableItem, Reminder
from operator_server.store.rows import table
from operator_server.validation.desk import charges
from signalling.clock import from_micros

CHART_DAYS = 31
_HOUR = 3_600_000_000
_LAST = "\U0010ffff"

_account, _subscriber, _binding = table(Account), table(Subscriber), table(Binding)


def matching(text: str) -> Select[Any]:
    """Ids of accounts whose id, name or e-mail begins with ``text``, whose VAT id it is, or that of a subscriber or
    terminal of theirs."""

    def begins(column: Any, start: str) -> Select[Any]:
        return select(_account.c.id).where(column >= start, column < start + _LAST)

    parts = [begins(_account.c.id, text), begins(_account.c.email, text), begins(_account.c.email, text.lower())]
    parts += [begins(_account.c.name, spelled) for spelled in dict.fromkeys((text, text.title(), text.capitalize()))]
    parts += [
        select(_account.c.id).where(_account.c.vat_id == text.replace(" ", "").upper()),
        select(_subscriber.c.account_id).where(_subscriber.c.id == text),
        select(_subscriber.c.account_id)
        .join(_binding, _binding.c.subscriber_id == _subscriber.c.id)
        .where(_binding.c.terminal_id == text),
    ]
    found = union(*parts).subquery()
    return select(found.c[0])


def found(connection: Connection, text: str, status: str) -> Select[Any]:
    """Accounts that a person looks for; where nothing begins with the text, names that contain it."""
    query = select(_account)
    if status:
        query = query.where(_account.c.status == status)
    if not text:
        return query
    ids = matching(text)
    if connection.execute(ids.limit(1)).first() is not None:
        return query.where(_account.c.id.in_(ids))
    # Along the index of names, which is shorter than the accounts.
    named = select(_account.c.id).where(_account.c.name.icontains(text, autoescape=True))
    return query.where(_account.c.id.in_(named))


@dataclass(frozen=True, slots=True)
class Using:
    """A subscriber and the terminals in use."""

    row: Row[Any]
    terminals: list[str]


@dataclass(frozen=True, slots=True)
class AccountShown:
    """An account with what stands on it. ``unbarred``: earlier barrings."""

    row: Row[Any]
    money: Sequence[Any]
    prepaid: Sequence[Any]
    buckets: Sequence[Row[Any]]
    thresholds: Sequence[Row[Any]]
    subscribers: Sequence[Using]
    barrings: Sequence[Row[Any]]
    items: Sequence[Item]
    invoices: Sequence[Row[Any]]
    rejections: Sequence[Row[Any]]
    messages: Sequence[Message]
    barred: Row[Any] | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """Something that is open: ``left`` micros, below zero for a credit."""

    kind: str
    number: str
    due: date
    left: int
    currency: str
    level: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """Something that the customer was told. ``state``: what became of it."""

    at: datetime
    kind: str
    text: str
    to: str
    state: str
    reason: str = ""
    invoice: str = ""


@dataclass(slots=True)
class Used:
    """What was used of a unit, by local day."""

    unit: str
    days: list[date]
    quantities: list[int] = field(default_factory=list)


def account_row(connection: Connection, account: str) -> Row[Any] | None:
    """The row of an account."""
    return connection.execute(select(_account).where(_account.c.id == account)).first()


def account_shown(connection: Connection, row: Row[Any], now: datetime) -> AccountShown:
    """All that the page of an account shows."""
    account = row.id
    barring, invoice, rejection = table(Barring), table(InvoiceRow), table(Rejection)
    subscribers = connection.execute(
        select(_subscriber).where(_subscriber.c.account_id == account).order_by(_subscriber.c.id).limit(100)
    ).all()
    names = [each.id for each in subscribers]
    terminals = _terminals(connection, names)
    barrings = connection.execute(
        select(barring).where(barring.c.party_id.in_({account, *names})).order_by(barring.c.barred_at.desc()).limit(50)
    ).all()
    return AccountShown(
        row=row,
        money=charges(connection, account),
        prepaid=credits_of(connection, account, row.currency, now),
        buckets=buckets_of(connection, account),
        thresholds=thresholds_of(connection, account),
        subscribers=[Using(each, terminals.get(each.id, [])) for each in subscribers],
        barrings=barrings,
        barred=next(
            (each for each in barrings if each.party == "account" and each.lifted_at is None), None
        ),
        items=[*_untaken(connection, account), *_items(connection, account)],
        invoices=connection.execute(
            select(*(column for column in invoice.c if column.name != "document"))
            .where(invoice.c.account_id == account)
            .order_by(invoice.c.id.desc())
            .limit(12)
        ).all(),
        rejections=connection.execute(
            select(rejection)
            .where(rejection.c.subscriber_id.in_(names))
            .order_by(rejection.c.rejected_at.desc())
            .limit(50)
        ).all(),
        messages=_messages(connection, account, names, {name for each in terminals.values() for name in each}),
    )  # fmt: skip


def _items(connection: Connection, account: str) -> list[Item]:
    item = table(ReceivableItem)
    rows = connection.execute(
        select(item).where(item.c.account_id == account, item.c.open != 0).order_by(item.c.due_at).limit(100)
    )
    return [Item(row.kind, row.number, row.due_at.date(), row.open, row.currency, row.level) for row in rows]


def _untaken(connection: Connection, account: str) -> list[Item]:
    """Invoices that receivables have not taken in yet: all of them is open."""
    item, invoice = table(ReceivableItem), table(InvoiceRow)
    taken = select(item.c.number).where(item.c.account_id == account, item.c.kind == "invoice")
    rows = connection.execute(
        select(invoice.c.number, invoice.c.total, invoice.c.currency, invoice.c.document)
        .where(invoice.c.account_id == account, invoice.c.total > 0, invoice.c.number.not_in(taken))
        .order_by(invoice.c.id)
        .limit(100)
    )
    return [Item("invoice", row.number, decode(row.document).due_date, row.total, row.currency) for row in rows]


def _terminals(connection: Connection, subscribers: Sequence[str]) -> dict[str, list[str]]:
    held: dict[str, list[str]] = defaultdict(list)
    rows = connection.execute(
        select(_binding.c.subscriber_id, _binding.c.terminal_id)
        .where(_binding.c.subscriber_id.in_(subscribers), _binding.c.valid_to.is_(None))
        .order_by(_binding.c.terminal_id)
        .limit(500)
    )
    for row in rows:
        held[row.subscriber_id].append(row.terminal_id)
    return held


def _messages(connection: Connection, account: str, subscribers: Sequence[str], terminals: set[str]) -> list[Message]:
    """Notices on terminals, invoices by e-mail and reminder letters, the newest first."""
    notice, sent, letter = table(Notice), table(InvoiceDispatch), table(Reminder)
    made: list[Message] = []
    notices = (
        select(notice)
        .where(
            notice.c.terminal_id.in_(terminals),
            notice.c.subscriber_id.is_(None) | notice.c.subscriber_id.in_(subscribers),
        )
        .order_by(notice.c.created_at.desc())
        .limit(30)
    )
    for row in connection.execute(notices):
        state = "read" if row.read_at else "shown" if row.sent_at else "waits for the terminal"
        made.append(Message(row.created_at, "Notice", row.text, row.terminal_id, state))
    for row in connection.execute(
        select(sent).where(sent.c.account_id == account).order_by(sent.c.id.desc()).limit(30)
    ):
        made.append(
            Message(row.created_at, "Invoice by e-mail", row.invoice_number, row.recipient, row.state, row.reason,
                    row.invoice_number)
        )  # fmt: skip
    for row in connection.execute(
        select(letter).where(letter.c.account_id == account).order_by(letter.c.made_at.desc()).limit(30)
    ):
        text = f"level {row.level}: " + ", ".join(str(each["number"]) for each in row.items)
        made.append(Message(row.made_at, "Reminder", text, row.recipient, row.state, row.reason))
    return sorted(made, key=lambda message: message.at, reverse=True)[:30]


def used_by_day(connection: Connection, tariffs: TariffVersions, account: str, zone: str, now: datetime) -> list[Used]:
    """What an account used of each unit on each of the last days, in the operator's zone."""
    charge, local = table(Charge), ZoneInfo(zone)
    today = now.astimezone(local).date()
    days = [today - timedelta(days=back) for back in range(CHART_DAYS - 1, -1, -1)]
    since = datetime(days[0].year, days[0].month, days[0].day, tzinfo=local)
    hour = (type_coerce(charge.c.effective_at, BigInteger) // _HOUR).label("hour")
    rows = connection.execute(
        select(charge.c.tariff_version, hour, func.sum(charge.c.quantity).label("quantity"))
        .where(charge.c.account_id == account, charge.c.kind == "use", charge.c.effective_at >= since)
        .group_by(charge.c.tariff_version, hour)
    )
    sums: dict[str, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        try:
            unit = tariffs.find(connection, row.tariff_version).unit
        except TariffError:
            unit = "units"
        sums[unit][from_micros(int(row.hour) * _HOUR).astimezone(local).date()] += int(row.quantity)
    return [Used(unit, days, [by_day.get(day, 0) for day in days]) for unit, by_day in sorted(sums.items())]


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """Postings on the ledger accounts of an owner, the newest first. ``before`` leads to the older ones."""

    accounts: Sequence[Row[Any]]
    postings: Sequence[Row[Any]]
    before: str = ""


def ledger_page(connection: Connection, account: str, before: str, most: int = 50) -> LedgerPage:
    """A part of the ledger of an account; ``before``: a transfer's id, older ones are wanted.

    Postings have no index by account, which would make writing them five times as slow; they are walked from the newest
    on, a million in about a tenth of a second.
    """
    ledger, posting, transfer = table(LedgerAccount), table(Posting), table(Transfer)
    accounts = connection.execute(
        select(ledger).where(ledger.c.owner == account).order_by(ledger.c.currency, ledger.c.kind)
    ).all()
    query = (
        select(
            posting.c.transfer_id, posting.c.leg, posting.c.amount, posting.c.currency, posting.c.ledger_account_id,
            transfer.c.kind, transfer.c.source, transfer.c.op_id, transfer.c.agreement_id, transfer.c.reverses_id,
            transfer.c.effective_at, transfer.c.recorded_at,
        )
        .join(transfer, transfer.c.id == posting.c.transfer_id)
        .where(posting.c.ledger_account_id.in_([row.id for row in accounts]))
        .order_by(posting.c.transfer_id.desc(), posting.c.leg)
        .limit(most + 1)
    )  # fmt: skip
    if before:
        query = query.where(posting.c.transfer_id < before)
    rows: list[Any] = list(connection.execute(query))
    if len(rows) <= most:
        return LedgerPage(accounts, rows)
    # A transfer is shown whole.
    last = rows[most].transfer_id
    shown = [row for row in rows[:most] if row.transfer_id != last] or rows[:most]
    return LedgerPage(accounts, shown, shown[-1].transfer_id)
