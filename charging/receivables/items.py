"""Open items and what is set against them.

An item is one movement of what a customer owes in a currency: positive is owed (an invoice, a fee, a payment that was
taken back), negative stands to the customer's credit (a payment, a credit note, a write-off). What is left of an item
keeps its sign and goes to zero; what the items of an account have left adds up to the ledger's receivable balance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Item:
    """What is left of an item: ``left`` micros, ``due_at`` and ``booked_at`` aware. ``number``: how people name it."""

    id: str
    number: str
    left: int
    due_at: datetime
    booked_at: datetime


@dataclass(frozen=True, slots=True)
class Allocation:
    """``amount`` micros, more than zero, of the credit item set against the debt item."""

    debt_id: str
    credit_id: str
    amount: int


def settle(credit: Item, debts: Iterable[Item], named: Sequence[str] = ()) -> list[Allocation]:
    """Set what is left of ``credit`` against debts: those ``named`` by number first and in that order, else the oldest.

    A debt is never settled beyond what is left of it; what then remains of the credit stays with the account.
    """
    open_debts = [debt for debt in debts if debt.left > 0]
    rank = {number: place for place, number in reversed(list(enumerate(named)))}
    open_debts.sort(key=lambda debt: (rank.get(debt.number, len(rank)), debt.due_at, debt.booked_at, debt.id))
    left, made = -credit.left, []
    for debt in open_debts:
        if left <= 0:
            break
        amount = min(left, debt.left)
        made.append(Allocation(debt.id, credit.id, amount))
        left -= amount
    return made


def use_credits(debt: Item, credits: Iterable[Item]) -> list[Allocation]:
    """Set credits that stand with the account against a new debt, the oldest first."""
    left, made = debt.left, []
    for credit in sorted(credits, key=lambda each: (each.booked_at, each.id)):
        if left <= 0:
            break
        amount = min(left, -credit.left)
        if amount > 0:
            made.append(Allocation(debt.id, credit.id, amount))
            left -= amount
    return made


def demanded(left: int, held_lines: Collection[int]) -> int:
    """What may be reminded of or collected of a debt while lines of it, with these amounts, are disputed."""
    return max(0, left - sum(held_lines))
