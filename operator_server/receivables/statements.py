"""Bank statements taken in: each entry is matched to what it pays, or stands in suspense with the reason.

How an entry is matched, in this order: the end-to-end id of a direct debit of ours; the batch of a collection; a
reference (creditor reference or number of an invoice or fee), structured ones before free text; an account that the
text names or that has paid from this bank account before, where one debt or all of them make exactly the amount.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, select, true, update

from charging.ledger.operations import Leg
from charging.ledger.tables import CASH, OPERATOR
from charging.receivables.camt import Entry, Statement, StatementError, read_statements
from charging.receivables.references import plain
from operator_server.receivables.books import SUSPENSE, lock, open_items, post, take_in_invoices
from operator_server.receivables.collecting import SEQUENCE_ENDINGS
from operator_server.receivables.payments import NewPayment, add_payment, named_in, return_payment
from operator_server.settings import Settings
from operator_server.store.feed import record
from operator_server.store.parties import Account
from operator_server.store.receivables import (
    BankStatement,
    CollectedItem,
    Mandate,
    PaymentRow,
    ReceivableItem,
)
from operator_server.store.rows import add, table

_item, _payment, _collected = table(ReceivableItem), table(PaymentRow), table(CollectedItem)


@dataclass(slots=True)
class Imported:
    """What an import came to. ``known``: statements or entries that were taken in before."""

    statements: int = 0
    known: int = 0
    matched: int = 0
    returned: int = 0
    suspense: list[tuple[str, str]] = field(default_factory=list)
    """Payments in suspense and why."""
    ignored: list[tuple[str, str]] = field(default_factory=list)
    """Entries that are no business of receivables, such as money that the operator spent."""
    amounts: Counter[str] = field(default_factory=Counter)
    """What came in, less what came back, by currency in micros."""


@dataclass(frozen=True, slots=True)
class _Match:
    account: str
    named: tuple[str, ...]
    by: str


def import_statements(
    connection: Connection, settings: Settings, content: bytes, now: datetime, *, file: str = ""
) -> Imported:
    """Take in all statements of a file, or none: run it in one transaction.

    Raises :class:`charging.receivables.camt.StatementError` for a file that is refused. A second import of the same
    statement, or of another that has the same entries, changes nothing.
    """
    lock(connection)
    result = Imported()
    accounts = _own_accounts(settings)
    for statement in read_statements(content, settings.receivables.statement_bytes):
        if accounts and statement.iban.replace(" ", "") not in accounts:
            raise StatementError(
                f"statement {statement.name}: it is of account {statement.iban}; receivables.bank_accounts has "
                f"{', '.join(sorted(accounts))}"
            )
        _take(connection, settings, statement, sha256(content).digest(), file, now, result)
    return result


def _own_accounts(settings: Settings) -> set[str]:
    named = settings.receivables.bank_accounts or ([settings.operator.iban] if settings.operator.iban else [])
    return {iban.replace(" ", "") for iban in named}


def _take(
    connection: Connection,
    settings: Settings,
    statement: Statement,
    digest: bytes,
    file: str,
    now: datetime,
    result: Imported,
) -> None:
    statements = table(BankStatement)
    known = connection.execute(select(statements).where(statements.c.id == statement.id)).first()
    if known is None:
        add(
            connection,
            BankStatement(
                id=statement.id, name=statement.name, iban=statement.iban, file=file, digest=digest,
                entries=len(statement.entries), imported_at=now,
            ),
        )  # fmt: skip
        result.statements += 1
        take_in_invoices(connection, settings, now)
    for entry in statement.entries:
        _entry(connection, settings, statement.id, entry, now, result)


def _entry(
    connection: Connection, settings: Settings, statement: str, entry: Entry, now: datetime, result: Imported
) -> None:
    if connection.execute(select(_payment.c.id).where(_payment.c.id.in_([entry.key, f"{entry.key}-0"]))).first():
        result.known += 1
        return
    if entry.amount > 0:
        _incoming(connection, settings, statement, entry, now, result)
    elif entry.returned or entry.reversal:
        _coming_back(connection, settings, statement, entry, now, result)
    else:
        result.ignored.append((entry.key, "money that the operator spent"))


def _incoming(
    connection: Connection, settings: Settings, statement: str, entry: Entry, now: datetime, result: Imported
) -> None:
    batch = _collection_of(connection, entry)
    if batch:
        for place, row in enumerate(batch):
            _pay(connection, settings, statement, entry, now, key=f"{entry.key}-{place}", amount=row.amount,
                 match=_Match(row.account_id, (row.number,), "collection"), collected=row.id)  # fmt: skip
            result.matched += 1
        result.amounts[entry.currency] += entry.amount
        return
    match = _matched(connection, settings, entry)
    if isinstance(match, _Match):
        collected = entry.end_to_end if match.by == "end_to_end" else ""
        _pay(connection, settings, statement, entry, now, key=entry.key, amount=entry.amount, match=match,
             collected=collected)  # fmt: skip
        result.matched += 1
    else:
        _pay(connection, settings, statement, entry, now, key=entry.key, amount=entry.amount, match=None, reason=match)
        result.suspense.append((entry.key, match))
    result.amounts[entry.currency] += entry.amount


def _pay(
    connection: Connection,
    settings: Settings,
    statement: str,
    entry: Entry,
    now: datetime,
    *,
    key: str,
    amount: int,
    match: _Match | None,
    reason: str = "",
    collected: str = "",
) -> None:
    add_payment(
        connection,
        settings,
        NewPayment(
            amount=amount, currency=entry.currency, booked_on=entry.booked_on,
            account=match.account if match else None, named=match.named if match else (), id=key,
            method="direct_debit" if collected else "transfer",
            reference=" ".join([*entry.references, entry.text])[:500], end_to_end=collected or entry.end_to_end,
            payer=entry.payer, payer_iban=entry.payer_iban, statement_id=statement, reason=reason,
            matched_by=match.by if match else "",
        ),
        now,
    )  # fmt: skip
    if collected:
        connection.execute(update(_collected).where(_collected.c.id == collected).values(state="paid"))


def _collection_of(connection: Connection, entry: Entry) -> Sequence[Row[Any]]:
    """The debts of a collection, or of its part of one sequence type, that the bank credited in one sum."""
    if not entry.batch:
        return ()
    name, sequence = entry.batch, ""
    if name.endswith(SEQUENCE_ENDINGS):
        name, _, sequence = name.rpartition("-")
    rows: Any = connection.execute(
        select(_collected.c.id, _collected.c.amount, _item.c.account_id, _item.c.number, _item.c.currency)
        .join(_item, _item.c.id == _collected.c.item_id)
        .where(_collected.c.collection_id == name, _collected.c.state == "sent")
        .where(_collected.c.sequence == sequence if sequence else true())
        .order_by(_collected.c.id)
    ).all()
    total = sum(row.amount for row in rows)
    return list(rows) if rows and total == entry.amount and rows[0].currency == entry.currency else ()


def _matched(connection: Connection, settings: Settings, entry: Entry) -> _Match | str:
    """What an entry pays, or why nobody can tell."""
    if entry.end_to_end:
        row = connection.execute(
            select(_item.c.account_id, _item.c.number, _item.c.currency)
            .join(_collected, _collected.c.item_id == _item.c.id)
            .where(_collected.c.id == entry.end_to_end, _collected.c.state == "sent")
        ).first()
        if row is not None and row.currency == entry.currency:
            return _Match(row.account_id, (row.number,), "end_to_end")
    for by, text in (("reference", " | ".join([*entry.references, entry.end_to_end])), ("text", entry.text)):
        found = named_in(connection, settings, text) if text.strip(" |") else []
        if found:
            accounts = {row.account_id for row in found}
            if len(accounts) > 1:
                return f"it names debts of several accounts: {', '.join(row.number for row in found)}"
            if any(row.currency != entry.currency for row in found):
                return f"it is in {entry.currency}, {found[0].number} in {found[0].currency}"
            return _Match(found[0].account_id, tuple(row.number for row in found), by)
    return _by_amount(connection, entry)


def _by_amount(connection: Connection, entry: Entry) -> _Match | str:
    account = _account_of(connection, entry)
    if account is None:
        return "it names no invoice, and the payer is not known"
    debts = [row for row in open_items(connection, account, entry.currency) if row.open > 0]
    same = [row for row in debts if row.open == entry.amount]
    if len(same) == 1:
        return _Match(account, (same[0].number,), "amount")
    if debts and sum(row.open for row in debts) == entry.amount:
        return _Match(account, (), "amount")
    return f"it names no invoice, and no debt of account {account} is of this amount"


def _account_of(connection: Connection, entry: Entry) -> str | None:
    """The account that the text names, or that paid from this bank account before, if it is one."""
    accounts, mandate = table(Account), table(Mandate)
    words = {word.strip(".,;:/()") for text in (*entry.references, entry.text) for word in text.split()}
    named = connection.execute(
        select(accounts.c.id).where(accounts.c.id.in_(sorted(word for word in words if word)))
    ).scalars()
    if len(found := set(named)) == 1:
        return str(found.pop())
    if not entry.payer_iban:
        return None
    paid = select(_payment.c.account_id).where(
        _payment.c.payer_iban == entry.payer_iban, _payment.c.account_id.is_not(None), _payment.c.state != "returned"
    )
    signed = select(mandate.c.account_id).where(mandate.c.iban == entry.payer_iban, mandate.c.state == "active")
    known = set(connection.execute(paid).scalars()) | set(connection.execute(signed).scalars())
    return str(known.pop()) if len(known) == 1 else None


def _coming_back(
    connection: Connection, settings: Settings, statement: str, entry: Entry, now: datetime, result: Imported
) -> None:
    """A payment of ours that payer or bank took back: by its end-to-end id, else by reference and amount."""
    reason = entry.returned or "reversal"
    candidates = select(_payment).where(
        _payment.c.amount == -entry.amount,
        _payment.c.currency == entry.currency,
        _payment.c.state.in_(["booked", "assigned"]),
        _payment.c.account_id.is_not(None),
    )
    found: Sequence[Row[Any]] = ()
    if entry.end_to_end:
        found = connection.execute(candidates.where(_payment.c.end_to_end == entry.end_to_end)).all()
    if not found:
        # A direct debit that the bank credited with others, before it came back with an amount of its own.
        named = named_in(connection, settings, " | ".join([*entry.references, entry.text]))
        accounts = {row.account_id for row in named}
        if len(accounts) == 1:
            found = connection.execute(candidates.where(_payment.c.account_id == accounts.pop())).all()
            about = {plain(row.number) for row in named}
            exact = [row for row in found if any(number in plain(row.reference) for number in about)]
            found = exact or found
    sent = _unpaid_collected(connection, entry)
    if len(found) == 1:
        return_payment(
            connection, settings, found[0].id, now, reason=reason, id=entry.key, booked_on=entry.booked_on,
            statement_id=statement,
        )  # fmt: skip
        result.returned += 1
    elif sent is not None:
        _record_untaken(connection, statement, entry, "direct debit returned before it was paid", now)
        connection.execute(update(_collected).where(_collected.c.id == sent).values(state="returned"))
        result.returned += 1
    else:
        which = "several payments may be it" if found else "no payment of ours is it"
        why = f"it came back ({reason}), and {which}"
        _record_untaken(connection, statement, entry, why, now)
        result.suspense.append((entry.key, why))
    result.amounts[entry.currency] += entry.amount


def _unpaid_collected(connection: Connection, entry: Entry) -> str | None:
    return connection.execute(
        select(_collected.c.id).where(_collected.c.id == entry.end_to_end, _collected.c.state == "sent")
    ).scalar()


def _record_untaken(connection: Connection, statement: str, entry: Entry, reason: str, now: datetime) -> None:
    legs = [Leg(OPERATOR, CASH, entry.currency, entry.amount), Leg(OPERATOR, SUSPENSE, entry.currency, -entry.amount)]
    transfer = post(connection, f"payment:{entry.key}", "payment", legs, now)
    add(
        connection,
        PaymentRow(
            id=entry.key, currency=entry.currency, amount=entry.amount, booked_on=entry.booked_on, method="transfer",
            state="suspense", reason=reason, reference=" ".join([*entry.references, entry.text])[:500],
            end_to_end=entry.end_to_end, payer=entry.payer, payer_iban=entry.payer_iban, statement_id=statement,
            request_digest=b"", transfer_id=transfer, recorded_at=now,
        ),
    )  # fmt: skip
    record(
        connection, now, "payment_suspended", reference=entry.key, currency=entry.currency, amount=entry.amount,
        reason=reason,
    )  # fmt: skip
