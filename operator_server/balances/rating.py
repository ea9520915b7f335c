"""What no bucket covers, rated by a tariff, and kept as a usage record with its charge like any other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, insert, select, update

from charging.ledger.operations import Pays
from charging.ledger.tables import PREPAID, UNBILLED
from charging.modes import PAYMENTS, owed
from charging.periods import period_of
from charging.rating import RatingError, RatingState
from charging.tariffs import Tariff, TariffBook, TariffError, TariffVersion, rate_usage
from charging.tariffs.explain import carry
from operator_server.balances.once import BalanceError
from operator_server.billing.open_period import effective_at
from operator_server.billing.taxpayers import PaidTaxes, inclusive_of
from operator_server.counting.metering import LIFE
from operator_server.settings import Settings
from operator_server.store.accounting import Charge
from operator_server.store.dealings import Agreement
from operator_server.store.rows import table
from operator_server.store.usage import UsageRecord, UsageState
from operator_server.usage.standing import Customer, agreement_id, keep_agreements
from signalling.clock import to_micros
from signalling.ids import new_id

SOURCE = "live"
"""The source of usage records that were taken from balances as they were used."""

_PAYMENT: dict[Pays, str] = {each.pays: each.name for each in PAYMENTS.values() if each.pays is not None}

_SECOND = timedelta(seconds=1)

_state, _agreement = table(UsageState), table(Agreement)


@dataclass(frozen=True, slots=True)
class Rest:
    """Units that a tariff rates for a customer. ``price``, and ``net`` and ``tax`` of it, in micros of
    ``version.currency``; ``tax_rate`` is what the customer bears, in basis points.

    ``begins``: when these units were used, in a session that began at ``at``.
    """

    customer: Customer
    tariff: Tariff
    version: TariffVersion
    quantity: int
    at: datetime
    destination: str
    price: int
    net: int
    tax: int
    tax_rate: int
    begins: datetime
    before: RatingState
    after: RatingState
    uses: int
    stored: bool

    @property
    def agreement(self) -> str:
        """The standing agreement by which the customer uses the tariff."""
        return agreement_id(self.customer.subscriber, self.tariff.tariff_id)


def session_of(rest: Rest, record: str) -> dict[str, Any]:
    """Where the rating of a session stands after ``rest``; ``record`` is the usage record that began it."""
    return {"record": record, "version": rest.version.version_id, "state": msgspec.to_builtins(rest.after)}


class RestRater:
    """Rates what buckets do not cover, in the same states as records that are imported."""

    def __init__(self, book: Callable[[], TariffBook], settings: Settings, key: Ed25519PrivateKey) -> None:
        self._book = book
        self._settings = settings
        self._key = key
        self._tax_rates = settings.operator.tax_basis_points()
        self._taxes = PaidTaxes(settings)

    def rate(
        self,
        connection: Connection,
        customer: Customer,
        tariff_id: str,
        quantity: int,
        at: datetime,
        destination: str,
        *,
        highest: bool = False,
        session: Mapping[str, Any] | None = None,
    ) -> Rest:
        """What the units cost as things stand; with ``highest`` the most that any part of them costs.

        ``session``: where the rating of the session that began at ``at`` stands (:func:`session_of`). Raises
        :class:`BalanceError` where they cannot be rated or the account is in another currency.
        """
        try:
            tariff, version = self._book().tariff(tariff_id), self._book().at(tariff_id, at)
            if version.currency != customer.currency:
                raise BalanceError(
                    "wrong_currency",
                    f"tariff {tariff_id} is in {version.currency}, account {customer.account} in {customer.currency}",
                )
            row = self._row(connection, customer, tariff_id, self._period(version, at))
            kept = RatingState() if row is None else msgspec.convert(row.state, RatingState)
            before, begins = carry(kept, None if row is None else row.tariff_version, version, session=True), at
            if session is not None and session["version"] == version.version_id:
                before = before.resumed(msgspec.convert(session["state"], RatingState))
                begins = at + before.quantity * _SECOND if version.timed and version.unit == "second" else at
            if highest:
                rated = version.rate_for(destination or None).rate(quantity, before, begins, highest=True)
            else:
                rated = rate_usage(version, quantity, before, at=begins, destination=destination or None)
        except (TariffError, RatingError) as error:
            raise BalanceError("no_tariff", str(error)) from None
        tax_rate, contained = self._taxes.rates(customer.taxpayer, version.tax_category, at)
        paid = owed(rated.cost_micros, tax_rate, contained)
        return Rest(
            customer, tariff, version, quantity, at, destination, rated.cost_micros, paid.net, paid.tax, tax_rate,
            begins, before, rated.state, 0 if row is None else row.uses, row is not None,
        )  # fmt: skip

    def agree(
        self, connection: Connection, customer: Customer, tariff_id: str, at: datetime, now: datetime, pays: Pays
    ) -> None:
        """Keep the standing agreement, and let nobody else rate by it until the transaction ends.

        One that is made now says that use is paid for as ``pays`` says.
        """
        try:
            tariff, version = self._book().tariff(tariff_id), self._book().at(tariff_id, at)
        except TariffError as error:
            raise BalanceError("no_tariff", str(error)) from None
        agreement = agreement_id(customer.subscriber, tariff_id)
        found = connection.execute(select(_agreement.c.id).where(_agreement.c.id == agreement).with_for_update())
        if found.first() is None:
            keep_agreements(
                connection, {agreement: (customer, tariff, version)}, server=self._settings.operator.server_id,
                key=self._key, tax_rates=self._tax_rates, now=now, payment=_PAYMENT[pays],
                inclusive=inclusive_of(self._settings),
            )  # fmt: skip

    def keep(
        self,
        connection: Connection,
        usage: str,
        rest: Rest,
        payer: str,
        pays: str,
        transfer: str,
        now: datetime,
        session: str | None = None,
    ) -> str:
        """Store the charge, its usage record and the state; the charge's id. ``pays``: unbilled or prepaid.

        ``session``: the record with whose session this one goes on.
        """
        charge, version, customer = new_id(to_micros(now)), rest.version, rest.customer
        connection.execute(
            insert(table(Charge)).values(
                id=charge, kind="use", agreement_id=rest.agreement, account_id=payer,
                subscriber_id=customer.subscriber, quantity=rest.quantity,
                included=(rest.after.used - rest.before.used) - (rest.after.units - rest.before.units),
                period=period_of(rest.at, self._settings.operator.zone),
                effective_at=effective_at(connection, rest.at) if pays == UNBILLED else rest.at,
                recorded_at=now, net=rest.price if pays == UNBILLED else rest.net, currency=version.currency,
                tax_category=version.tax_category,
                tax_rate=rest.tax_rate if pays == PREPAID else self._tax_rates[version.tax_category],
                tariff_version=version.version_id, transfer_id=transfer, pays=pays,
                paid_tax=rest.tax if pays == PREPAID else 0,
                counter="", epoch=0, counter_from=0, counter_to=0,
            )
        )  # fmt: skip
        said = f"{customer.subscriber}\n{rest.tariff.tariff_id}\n{rest.quantity}\n{to_micros(rest.begins)}"
        connection.execute(
            insert(table(UsageRecord)).values(
                source=SOURCE, id=usage, digest=hashlib.sha256(f"{said}\n{rest.destination}".encode()).digest(),
                subscriber_id=customer.subscriber, tariff_id=rest.tariff.tariff_id, quantity=rest.quantity,
                at=rest.begins, destination=rest.destination, position=rest.uses + 1, charge_id=charge,
                imported_at=now, session=session,
            )
        )  # fmt: skip
        values: dict[str, Any] = {
            "tariff_version": version.version_id,
            "uses": rest.uses + 1,
            "state": msgspec.to_builtins(rest.after),
        }
        period = self._period(version, rest.at)
        if rest.stored:
            key = (_state.c.agreement_id == rest.agreement) & (_state.c.period == period)
            connection.execute(update(_state).where(key).values(values))
        else:
            connection.execute(insert(_state).values(agreement_id=rest.agreement, period=period, **values))
        return charge

    def _period(self, version: TariffVersion, at: datetime) -> str:
        return period_of(at, self._settings.operator.zone) if version.included_per == "month" else LIFE

    def _row(self, connection: Connection, customer: Customer, tariff: str, period: str) -> Any:
        agreement = agreement_id(customer.subscriber, tariff)
        return connection.execute(
            select(_state).where(_state.c.agreement_id == agreement, _state.c.period == period)
        ).first()
