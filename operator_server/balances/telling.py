"""Telling a customer that a threshold is crossed: on the account's terminals, and by mail where there is an address.

Both are written in the transaction that crosses; a terminal on line gets the message within a second, and the worker
sends the mail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from charging.balances.levels import PERCENT
from charging.balances.tables import UnitBucket
from charging.invoices.labels import FALLBACK, formats_for, labels_for
from charging.price_text import money_text
from operator_server.store.dispatch import BalanceMail
from operator_server.store.parties import Account, Binding, Subscriber
from operator_server.store.rows import add, table
from operator_server.validation.notices import write_notice
from signalling.clock import to_micros
from signalling.ids import new_id

STATE = "threshold"
"""The state of the messages to terminals, of kind ``charge``."""

_TEXTS = {
    "en": (
        "Your balance", "{what}: {left} left, less than {value}.", "{what}: more than {value} used, {left} left.",
    ),
    "de": (
        "Ihr Guthaben", "{what}: noch {left}, weniger als {value}.",
        "{what}: mehr als {value} verbraucht, noch {left}.",
    ),
    "fr": (
        "Votre solde", "{what} : il reste {left}, moins de {value}.",
        "{what} : plus de {value} utilisés, il reste {left}.",
    ),
    "es": ("Su saldo", "{what}: quedan {left}, menos de {value}.", "{what}: más de {value} usados, quedan {left}."),
    "it": (
        "Il Suo credito", "{what}: restano {left}, meno di {value}.", "{what}: usati più di {value}, restano {left}.",
    ),
    "nl": ("Uw tegoed", "{what}: nog {left}, minder dan {value}.", "{what}: meer dan {value} gebruikt, nog {left}."),
    "pl": (
        "Twoje saldo", "{what}: pozostało {left}, mniej niż {value}.",
        "{what}: zużyto ponad {value}, pozostało {left}.",
    ),
    "pt": ("O seu saldo", "{what}: restam {left}, menos de {value}.", "{what}: mais de {value} usados, restam {left}."),
    "el": (
        "Το υπόλοιπό σας", "{what}: απομένουν {left}, λιγότερο από {value}.",
        "{what}: χρησιμοποιήθηκαν πάνω από {value}, απομένουν {left}.",
    ),
}  # fmt: skip

_accounts, _buckets = table(Account), table(UnitBucket)


@dataclass(frozen=True, slots=True)
class Crossed:
    """A threshold that was crossed: its row; what is left, micros or whole units of ``unit``; the bucket's name."""

    threshold: Row[Any]
    left: int
    unit: str
    bucket: str = ""


def _crossing_text(crossed: Crossed, language: str) -> str:
    """What is told: ``Your balance: €4.20 left, less than 20%.``"""
    primary = language.partition("-")[0].lower()
    language = language if primary in _TEXTS else FALLBACK
    balance, below, above = _TEXTS[language.partition("-")[0].lower()]
    formats, labels, row = formats_for(language), labels_for(language), crossed.threshold

    def amount(value: int) -> str:
        if row.bucket_id is None:
            return money_text(value, crossed.unit, language)
        return formats.measured(value, crossed.unit, labels.units)

    what = balance
    if row.bucket_id is not None:
        what = crossed.bucket or formats.unit_name(crossed.unit, labels.units)
    value = formats.percent(row.value * 100 // PERCENT) if row.percent else amount(row.value)
    return (below if row.sense == "below" else above).format(what=what, left=amount(crossed.left), value=value)


def tell_customer(connection: Connection, row: Row[Any], left: int, unit: str, now: datetime) -> None:
    """Write the messages of a threshold that is crossed now."""
    account = connection.execute(select(_accounts).where(_accounts.c.id == row.owner)).first()
    if account is None:
        return
    bucket = ""
    if row.bucket_id is not None:
        bucket = connection.execute(select(_buckets.c.name).where(_buckets.c.id == row.bucket_id)).scalar() or ""
    text = _crossing_text(Crossed(row, left, unit, bucket), account.language)
    binding, subscriber = table(Binding), table(Subscriber)
    users = connection.execute(
        select(binding.c.terminal_id, binding.c.subscriber_id)
        .join(subscriber, subscriber.c.id == binding.c.subscriber_id)
        .where(subscriber.c.account_id == row.owner, binding.c.valid_to.is_(None))
        .order_by(binding.c.terminal_id)
    ).all()
    for user in users:
        write_notice(
            connection, now, terminal=user.terminal_id, subscriber=user.subscriber_id, kind="charge", subject=row.id,
            state=STATE, text=text, dedup=f"threshold/{row.id}/{user.terminal_id}/{to_micros(now)}",
        )  # fmt: skip
    if account.email:
        add(
            connection,
            BalanceMail(
                id=new_id(to_micros(now)), account_id=row.owner, threshold=row.id, recipient=account.email,
                language=account.language, text=text, created_at=now, due_at=now,
            ),
        )  # fmt: skip
