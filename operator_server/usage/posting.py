"""What is written for rated records: charges, their postings in the ledger, and the records themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection

from charging.ledger.operations import Operation
from charging.ledger.seal import group_ids
from charging.ledger.tables import UNBILLED
from charging.modes import Payment
from operator_server.billing.taxpayers import PaidTaxes
from operator_server.counting.metering import post_charges
from operator_server.counting.money import charge_operation
from operator_server.counting.units import COVERED
from operator_server.usage.placing import Stretch
from operator_server.usage.rating import Placed, Rated
from operator_server.usage.statements import CHARGE, statements
from signalling.clock import to_micros

SOURCE = "usage-record"
"""The ledger's name of this client."""

Fields = dict[str, Any]

_values = itemgetter(*("effect" if name == "effective_at" else name for name in CHARGE))


class Posting:
    """Writes the rated records of one transaction. ``late``: how many of them a later period bills."""

    def __init__(
        self,
        connection: Connection,
        payments: Mapping[str, Payment],
        tax_rates: Mapping[str, int],
        taxes: PaidTaxes,
        billed_until: datetime | None,
        now: datetime,
    ) -> None:
        self._connection = connection
        self._payments = payments
        self._tax_rates = tax_rates
        self._taxes = taxes
        self._billed_until = billed_until
        self._now = now
        self._prices: dict[str, int] = {}
        self._alike: dict[Stretch, Fields] = {}
        self.late = 0

    def write(self, rated: Sequence[tuple[Placed, Rated]]) -> list[str]:
        """Post and store; the ids of the charges, in order.

        Raises :class:`operator_server.counting.metering.NotCharged`; then the caller must roll back.
        """
        micros = to_micros(self._now)
        charges = []
        for name, (each, done) in zip(group_ids(micros), rated, strict=False):
            charge = self._charge(name, each, done)
            charges.append((charge, self._operation(charge, each)))
        post_charges(self._connection, SOURCE, charges, self._now, prices=self._prices)
        records, rows = [], []
        for (charge, _), (each, done) in zip(charges, rated, strict=True):
            record = each.record
            if charge["effect"] != record.micros and charge["pays"] == UNBILLED:
                self.late += 1
            rows.append(_values(charge))
            records.append(
                (
                    record.source, record.id, record.digest, record.subscriber, record.tariff, record.quantity,
                    record.micros, record.destination, done.position, charge["id"], micros,
                )
            )  # fmt: skip
        sql = statements(self._connection)
        sql.add_charge.each(self._connection, rows)
        sql.add_record.each(self._connection, records)
        return [charge["id"] for charge, _ in charges]

    def _charge(self, name: str, each: Placed, rated: Rated) -> Fields:
        record, stretch, until = each.record, each.stretch, self._billed_until
        # What was used in a time that is billed already takes effect in the open period.
        effective = record.at if until is None or record.at > until else until
        alike = self._alike.get(stretch)
        if alike is None:
            alike = self._alike[stretch] = self._of(stretch)
        charge = {
            **alike, "id": name, "quantity": rated.quantity, "included": rated.included, "net": rated.net,
            "effect": record.micros if effective is record.at else to_micros(effective), "effective_at": effective,
        }  # fmt: skip
        if rated.covered:
            charge |= {"kind": COVERED, "pays": "none"}
        elif self._payments[stretch.agreement].ahead:
            self._prices[name] = rated.net
            category, taxpayer = charge["tax_category"], stretch.customer.taxpayer
            paid = self._taxes.owed(taxpayer, category, record.at, rated.net)
            rate, _ = self._taxes.rates(taxpayer, category, record.at)
            charge |= {"net": paid.net, "paid_tax": paid.tax, "tax_rate": rate}
        return charge

    def _of(self, stretch: Stretch) -> Fields:
        """What charges of a stretch have in common, if nothing covers them and they are not paid ahead."""
        version, customer = stretch.version, stretch.customer
        return {
            "kind": "use",
            "agreement_id": stretch.agreement,
            "account_id": customer.account,
            "subscriber_id": customer.subscriber,
            "period": stretch.month,
            "currency": version.currency,
            "tax_category": version.tax_category,
            "tax_rate": self._tax_rates[version.tax_category],
            "tariff_version": version.version_id,
            "transfer_id": "",
            "pays": self._payments[stretch.agreement].settled,
            "paid_tax": 0,
            "recorded_at": to_micros(self._now),
        }

    def _operation(self, charge: Fields, each: Placed) -> Operation | None:
        if charge["kind"] == COVERED:
            return None
        payment = self._payments[each.stretch.agreement]
        return charge_operation(
            SOURCE, each.record.operation, charge, payment, checked=payment.ahead and payment.secured
        )
