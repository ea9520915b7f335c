"""Agreements as people and programs see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from charging.modes import mode_kind
from operator_server.parties import ERASED, erased_text
from operator_server.store.accounting import Charge
from operator_server.store.dealings import Agreement, Installation, QuoteRow
from operator_server.store.parties import Subscriber
from operator_server.store.rows import add, matching, table
from operator_server.store.terms import AgreementPrice, AgreementTerm, SubscriberLimit
from operator_server.subscriptions.ending import AgreementError
from signalling.documents import Quote, decode_document
from signalling.money import MAX_MICROS, checked_currency, format_micros

_WHEN = ("started_at", "trial_ends_at", "charged_from", "next_at", "minimum_until", "cancelled_at", "ends_at")


def agreements(
    connection: Connection, *, account: str = "", subscriber: str = "", running: bool = False, after: str = "",
    most: int = 1000,
) -> list[dict[str, Any]]:  # fmt: skip
    """Agreements by id, after one; of an account or a subscriber, and only those that have not ended."""
    agreement = table(Agreement)
    statement = matching(
        _select().order_by(agreement.c.id).limit(most),
        (agreement.c.account_id, account), (agreement.c.subscriber_id, subscriber),
    )  # fmt: skip
    if running:
        statement = statement.where(agreement.c.state.not_in(("failed", "ended")))
    if after:
        statement = statement.where(agreement.c.id > after)
    return [_fields(row) for row in connection.execute(statement)]


def agreement(connection: Connection, agreement_id: str) -> dict[str, Any]:
    """One agreement with its terms, charges and announced prices. Raises :class:`AgreementError`."""
    agreements, charge, price = table(Agreement), table(Charge), table(AgreementPrice)
    row = connection.execute(_select().where(agreements.c.id == agreement_id)).first()
    if row is None:
        raise AgreementError(f"agreement {agreement_id}: there is none; see `tollgate agreement list`")
    charges = connection.execute(
        select(charge).where(charge.c.agreement_id == agreement_id).order_by(charge.c.recorded_at, charge.c.id)
    )
    prices = connection.execute(
        select(price).where(price.c.agreement_id == agreement_id).order_by(price.c.effective_at)
    )
    installation = table(Installation)
    installed = connection.execute(
        select(installation.c.id).where(installation.c.agreement_id == agreement_id)
    ).scalar()
    currency = row.currency
    return {
        **_fields(row),
        "installation": installed,
        "text": decode_document(Quote, row.document).terms,
        "evidence": row.evidence_kind,
        "charges": [
            {
                "id": each.id,
                "kind": each.kind,
                "at": each.effective_at,
                "from": each.service_from,
                "to": each.service_to,
                "quantity": each.quantity,
                "net": format_micros(each.net, currency),
                "tax_paid": format_micros(each.paid_tax, currency) if each.pays == "prepaid" else None,
                "pays": each.pays,
                "invoice": each.invoice_id,
            }
            for each in charges
        ],
        "prices": [
            {
                "from": each.effective_at,
                "announced": each.announced_at,
                "amount": format_micros(each.amount, currency) if not each.tariff_version else None,
                "tariff_version": each.tariff_version or None,
            }
            for each in prices
        ],
    }


def set_limit(connection: Connection, subscriber: str, currency: str, amount: int | None, now: datetime) -> None:
    """Set what all agreements of a subscriber together may cost in a month, micros net; ``None`` takes it away.

    Raises :class:`AgreementError`, and :class:`signalling.money.MoneyError` for a currency that there is not.
    """
    checked_currency(currency)
    subscribers, limit = table(Subscriber), table(SubscriberLimit)
    status = connection.execute(select(subscribers.c.status).where(subscribers.c.id == subscriber)).scalar()
    if status is None:
        raise AgreementError(f"subscriber {subscriber}: there is none; see `tollgate account list`")
    if status == ERASED:
        raise AgreementError(erased_text(f"subscriber {subscriber}"))
    if amount is not None and not 0 <= amount <= MAX_MICROS:
        raise AgreementError(f"subscriber {subscriber}: limit {amount} is below zero or too large")
    connection.execute(limit.delete().where(limit.c.subscriber_id == subscriber, limit.c.currency == currency))
    if amount is not None:
        add(connection, SubscriberLimit(subscriber_id=subscriber, currency=currency, amount=amount, set_at=now))


def _select() -> Select[Any]:
    agreement, term, quote, charge = table(Agreement), table(AgreementTerm), table(QuoteRow), table(Charge)
    charged = (
        select(func.coalesce(func.sum(charge.c.net), 0))
        .where(charge.c.agreement_id == agreement.c.id, charge.c.pays != "none")
        .scalar_subquery()
        .label("charged")
    )
    return (
        select(
            agreement,
            quote.c.document,
            term.c.state.label("term_state"),
            term.c.periods,
            term.c.reason,
            charged,
            *(term.c[name] for name in _WHEN),
        )
        .join(quote, quote.c.id == agreement.c.quote_id)
        .outerjoin(term, term.c.agreement_id == agreement.c.id)
    )


def _fields(row: Row[Any]) -> dict[str, Any]:
    terms = decode_document(Quote, row.document).mode
    limit = None if row.spending_limit is None else format_micros(row.spending_limit, row.currency)
    return {
        "id": row.id,
        "account": row.account_id,
        "subscriber": row.subscriber_id,
        "terminal": row.terminal_id,
        "offer": row.offer_id,
        "product": row.product,
        "release": row.release,
        "mode": row.mode,
        "kind": row.mode_kind,
        "payment": terms.payment,
        "price": terms.price_text,
        "currency": row.currency,
        "state": _state(row),
        "agreed": row.agreed_at,
        "spending_limit": limit,
        "charged": format_micros(row.charged, row.currency),
        "periods": row.periods if mode_kind(row.mode_kind).periodic else None,
        "price_change": f"{terms.price_change_days}d" if terms.price_change_days else "fixed",
        "reason": row.reason or None,
        **{name.removesuffix("_at"): getattr(row, name) for name in _WHEN},
    }


def _state(row: Row[Any]) -> str:
    """The agreement's state, or what its calendar says of one that is delivered."""
    if row.state in ("failed", "ended", "agreed") or row.term_state is None:
        return str(row.state)
    return "cancelled" if row.cancelled_at is not None else str(row.term_state)
