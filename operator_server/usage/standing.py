"""Standing agreements: what use is charged by that no terminal agreed to (docs/decisions/0008)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from charging.billing.tax import Taxpayer
from charging.modes import Payment, payment_of
from charging.tariffs import Tariff, TariffBook, TariffVersion
from charging.tariffs.headline import Headline, headline
from operator_server.counting.book import portions
from operator_server.settings import OperatorSettings
from operator_server.store.dealings import Agreement, QuoteRow
from operator_server.store.feed import record
from operator_server.store.parties import Account, Subscriber
from operator_server.store.rows import table
from operator_server.usage.statements import statements
from signalling.clock import to_micros
from signalling.documents import Quote, decode_document, document_digest
from signalling.messages import ModeTerms, Signed
from signalling.proof import sign

EVIDENCE = "operator"
"""``evidence_kind`` of an agreement that the operator keeps for a subscriber; its proof is the operator's signature."""

STATE = "standing"
"""Nothing is delivered by it, so it is neither open nor installed."""


class StandingError(ValueError):
    """A standing agreement that cannot be; the text says why."""


MODE, PRODUCT, NOTHING = "usage", "usage", "none"


@dataclass(frozen=True, slots=True)
class Customer:
    """A subscriber and the account that pays."""

    subscriber: str
    account: str
    currency: str
    language: str
    taxpayer: Taxpayer


Wanted = tuple[Customer, Tariff, TariffVersion]
"""Who is to have a standing agreement on which tariff, and the version that holds."""

_subscribers, _accounts = table(Subscriber), table(Account)
CUSTOMER = (
    _subscribers.c.id, _accounts.c.id, _accounts.c.currency, _accounts.c.language, _accounts.c.country,
    _accounts.c.tax_country, _accounts.c.vat_id, _accounts.c.tax_status,
)  # fmt: skip
"""The columns of a customer, of subscribers joined with their accounts."""


@lru_cache(maxsize=100_000)
def agreement_id(subscriber: str, tariff: str) -> str:
    """The id of the standing agreement of a subscriber on a tariff."""
    return "use-" + hashlib.sha256(f"{subscriber}\n{tariff}".encode()).hexdigest()[:28]


def keep_agreements(
    connection: Connection,
    wanted: Mapping[str, Wanted],
    *,
    server: str,
    key: Ed25519PrivateKey,
    tax_rates: Mapping[str, int],
    now: datetime,
    payment: str = "",
    inclusive: frozenset[str] = frozenset(),
) -> None:
    """Write those of the agreements, by id, that are not there yet; somebody else may write them at the same time.

    ``payment``: one of :data:`charging.modes.PAYMENTS`; empty is how the subscriber pays for use by the tariff in the
    newest agreement that a terminal made and that runs, and ``postpaid`` where there is none. ``inclusive``: the tax
    categories whose prices contain their tax.
    """
    missing = set(wanted) - _known(connection, wanted)
    agreed = {} if payment or not missing else _agreed_payments(connection, [wanted[each][0] for each in missing])
    quotes, agreements = [], []
    prices: dict[str, Headline] = {}
    for agreement in sorted(missing):
        customer, tariff, version = wanted[agreement]
        price = prices.get(version.version_id)
        if price is None:
            price = prices[version.version_id] = headline(version)
        pays = payment or agreed.get((customer.subscriber, tariff.tariff_id), "postpaid")
        tax_rate = tax_rates[version.tax_category]
        included = tax_rate if version.tax_category in inclusive else 0
        quote = _quote(agreement, customer, tariff, version, price, server, tax_rate, included, now, pays)
        signed = sign(key, Quote.PURPOSE, quote.encode())
        quotes.append(_row(quote, signed, now))
        agreements.append(
            {
                "id": agreement, "quote_id": quote.quote, "subscriber_id": customer.subscriber,
                "account_id": customer.account, "terminal_id": NOTHING, "offer_id": tariff.tariff_id,
                "offer_version": tariff.tariff_id, "product": PRODUCT, "release": NOTHING, "mode": MODE,
                "mode_kind": quote.mode.kind, "currency": version.currency, "amount": 0,
                "tax_category": version.tax_category, "tax_rate": tax_rate, "tax_included": included,
                "tariff_version": version.version_id, "evidence_kind": EVIDENCE, "confirmation": signed.document,
                "proof": signed.signature, "digest": document_digest(signed.document), "agreed_at": now,
                "state": STATE,
            }
        )  # fmt: skip
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    for model, rows in ((QuoteRow, quotes), (Agreement, agreements)):
        if rows:
            connection.execute(dialect.insert(table(model)).on_conflict_do_nothing(), rows)


def set_payment(
    connection: Connection,
    book: TariffBook,
    operator: OperatorSettings,
    key: Ed25519PrivateKey,
    subscriber: str,
    tariff_id: str,
    payment: str,
    now: datetime,
    *,
    inclusive: frozenset[str] = frozenset(),
) -> str:
    """Say how a subscriber pays from now on for use by a tariff that other systems count; the standing agreement's id.

    What was charged stays as it was, and so does the quote by which it was. The same again changes nothing. Raises
    :class:`StandingError`, :class:`charging.modes.ModeError` and :class:`charging.tariffs.TariffError`.
    """
    payment_of(payment)
    customer = customer_of(connection, subscriber)
    tariff, version = book.tariff(tariff_id), book.at(tariff_id, now)
    if version.currency != customer.currency:
        raise StandingError(
            f"tariff {tariff_id} is in {version.currency}, account {customer.account} in {customer.currency}"
        )
    name, rates = agreement_id(subscriber, tariff_id), operator.tax_basis_points()
    keep_agreements(
        connection, {name: (customer, tariff, version)}, server=operator.server_id, key=key, tax_rates=rates, now=now,
        payment=payment, inclusive=inclusive,
    )  # fmt: skip
    agreement, quotes = table(Agreement), table(QuoteRow)
    row = connection.execute(select(agreement).where(agreement.c.id == name).with_for_update()).one()
    if payments(connection, [name])[name].name == payment:
        return name
    earlier = quotes.c.id.startswith(f"{name}.", autoescape=True)
    count = select(func.count()).where(quotes.c.subscriber_id == subscriber, earlier)
    number = connection.execute(count).scalar_one() + 2
    tax_rate = rates[version.tax_category]
    included = row.tax_included
    quote = _quote(
        f"{name}.{number}", customer, tariff, version, headline(version), operator.server_id, tax_rate, included, now,
        payment,
    )  # fmt: skip
    signed = sign(key, Quote.PURPOSE, quote.encode())
    connection.execute(update(quotes).where(quotes.c.id == row.quote_id).values(state="superseded"))
    connection.execute(insert(quotes), _row(quote, signed, now))
    connection.execute(
        update(agreement)
        .where(agreement.c.id == name)
        .values(
            quote_id=quote.quote, confirmation=signed.document, proof=signed.signature,
            digest=document_digest(signed.document),
        )
    )  # fmt: skip
    record(
        connection, now, "payment_changed", subscriber=subscriber, account=customer.account, reference=name,
        tariff=tariff_id, payment=payment,
    )  # fmt: skip
    return name


def customer_of(connection: Connection, subscriber: str) -> Customer:
    """A subscriber with the account that pays. Raises :class:`StandingError`."""
    subscribers, accounts = table(Subscriber), table(Account)
    row = connection.execute(
        select(*CUSTOMER)
        .join(accounts, accounts.c.id == subscribers.c.account_id)
        .where(subscribers.c.id == subscriber)
    ).first()
    if row is None:
        raise StandingError(f"subscriber {subscriber}: there is none; `tollgate account create` makes one")
    return customer_from(row)


def customer_from(row: Sequence[Any]) -> Customer:
    """The customer of a row of :data:`CUSTOMER`."""
    subscriber, account, currency, language, country, tax_country, vat_id, status = row
    return Customer(subscriber, account, currency, language, Taxpayer(tax_country or country, vat_id, status))


def payments(connection: Connection, ids: Collection[str]) -> dict[str, Payment]:
    """How the use of these standing agreements is paid for, by id; what their quotes say."""
    return {id: _payment(document) for id, document in statements(connection).quotes(connection, ids)}


@lru_cache(maxsize=10_000)
def _payment(document: bytes) -> Payment:
    """How a quote says that use is paid for."""
    return payment_of(decode_document(Quote, document).mode.payment)


def _agreed_payments(connection: Connection, customers: Sequence[Customer]) -> dict[tuple[str, str], str]:
    """Subscriber and tariff to how that is paid for by the newest agreement of a terminal that runs."""
    agreement, quote = table(Agreement), table(QuoteRow)
    statement = (
        select(agreement.c.subscriber_id, agreement.c.tariff_version, quote.c.document)
        .join(quote, quote.c.id == agreement.c.quote_id)
        .where(
            agreement.c.mode_kind == "per_use",
            agreement.c.tariff_version != "",
            agreement.c.state.not_in((STATE, "failed", "ended")),
        )
        .order_by(agreement.c.agreed_at, agreement.c.id)
    )
    return {
        (row.subscriber_id, row.tariff_version.rpartition("@")[0]): decode_document(Quote, row.document).mode.payment
        for some in portions({customer.subscriber for customer in customers})
        for row in connection.execute(statement.where(agreement.c.subscriber_id.in_(some)))
    }


def _known(connection: Connection, ids: Collection[str]) -> set[str]:
    agreement = table(Agreement)
    statement = select(agreement.c.id)
    return {
        found
        for some in portions(ids)
        for found in connection.execute(statement.where(agreement.c.id.in_(some))).scalars()
    }


def _row(quote: Quote, signed: Signed, now: datetime) -> dict[str, Any]:
    return {
        "id": quote.quote, "subscriber_id": quote.subscriber, "terminal_id": NOTHING, "offer_id": quote.offer,
        "offer_version": quote.offer_version, "mode": MODE, "document": signed.document, "signature": signed.signature,
        "issued_at": now, "expires_at": now, "state": "agreed",
    }  # fmt: skip


def _quote(
    agreement: str,
    customer: Customer,
    tariff: Tariff,
    version: TariffVersion,
    price: Headline,
    server: str,
    tax_rate: int,
    tax_included: int,
    now: datetime,
    payment: str,
) -> Quote:
    names = tariff.names
    label = names.get(customer.language) or names.get("en") or next(iter(names.values()), tariff.tariff_id)
    terms = ModeTerms(
        mode=MODE, kind="per_use", label=label, price_text="", currency=version.currency, amount=price.amount,
        tax_category=version.tax_category, tax_rate=tax_rate, unit=version.unit, unit_size=price.size,
        included=version.included, included_per=version.included_per if version.included else "",
        tariff_version=version.version_id, payment=payment, tax_included=tax_included,
    )  # fmt: skip
    return Quote(
        quote=agreement, server=server, subscriber=customer.subscriber, terminal=NOTHING, offer=tariff.tariff_id,
        offer_version=tariff.tariff_id, product=PRODUCT, release=NOTHING, digest=b"", length=0, mode=terms, amount=0,
        tax=0, currency=version.currency, tariff_version=version.version_id,
        terms="Use is charged by the version of the tariff that holds when it takes place.",
        issued=to_micros(now), expires=to_micros(now),
    )  # fmt: skip
