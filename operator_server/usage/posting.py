"""What is written for rated records: charges, their postings in the ledger, and the records themselves."""

from __future__ import annotations

import hashlib
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
from operator_server.usage.rating import Placed, Rated
from operator_server.usage.records import Record
from operator_server.usage.statements import CHARGE, statements
from signalling.clock import from_micros, to_micros

SOURCE = "usage-record"
"""The ledger's name of this client."""

Fields = dict[str, Any]

_values = itemgetter(*CHARGE)


class Posting:
    """Writes the rated records of one transaction."""

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
        # What was used in a time that is billed already takes effect in the open period.
        self._open_from = None if billed_until is None else to_micros(billed_until)
        self._now = now
        self._prices: dict[str, int] = {}

    def write(self, rated: Sequence[tuple[Placed, Rated]]) -> list[Fields]:
        """Post and store; the charges, whose ``late`` says whether a later period bills them.

        Raises :class:`operator_server.counting.metering.NotCharged`; then the caller must roll back.
        """
        micros = to_micros(self._now)
        charges = [self._charge(name, each, done) for name, (each, done) in zip(group_ids(micros), rated, strict=False)]
        operations = [self._operation(charge, each) for charge, (each, _) in zip(charges, rated, strict=True)]
        post_charges(
            self._connection, SOURCE, list(zip(charges, operations, strict=True)), self._now, prices=self._prices
        )
        sql = statements(self._connection)
        records, rows = [], []
        for charge, (each, done) in zip(charges, rated, strict=True):
            record = each.record
            charge["effective_at"] = effective = to_micros(charge["effective_at"])
            charge["recorded_at"] = micros
            charge["late"] = charge["pays"] == UNBILLED and effective != record.micros
            rows.append(_values(charge))
            records.append(
                (
                    record.source, record.id, record.digest, record.subscriber, record.tariff, record.quantity,
                    record.micros, record.destination, done.position, charge["id"], micros,
                )
            )  # fmt: skip
        sql.add_charge.each(self._connection, rows)
        sql.add_record.each(self._connection, records)
        return charges

    def _charge(self, name: str, each: Placed, rated: Rated) -> Fields:
        record, stretch = each.record, each.stretch
        version, customer, payment = stretch.version, stretch.customer, self._payments[stretch.agreement]
        net, paid_tax, tax_rate = rated.net, 0, self._tax_rates[version.tax_category]
        covered = rated.covered
        if payment.ahead and not covered:
            self._prices[name] = net
            at = from_micros(record.micros)
            paid = self._taxes.owed(customer.taxpayer, version.tax_category, at, net)
            net, paid_tax = paid.net, paid.tax
            tax_rate, _ = self._taxes.rates(customer.taxpayer, version.tax_category, at)
        effective = record.micros if self._open_from is None else max(record.micros, self._open_from)
        return {
            "id": name,
            "kind": COVERED if covered else "use",
            "agreement_id": stretch.agreement,
            "account_id": customer.account,
            "subscriber_id": record.subscriber,
            "quantity": rated.quantity,
            "included": rated.included,
            "period": stretch.month,
            "effective_at": from_micros(effective),
            "net": net,
            "currency": version.currency,
            "tax_category": version.tax_category,
            "tax_rate": tax_rate,
            "tariff_version": version.version_id,
            "transfer_id": "",
            "pays": "none" if covered else payment.settled,
            "paid_tax": paid_tax,
        }

    def _operation(self, charge: Fields, each: Placed) -> Operation | None:
        if charge["kind"] == COVERED:
            return None
        payment = self._payments[each.stretch.agreement]
        return charge_operation(
            SOURCE, _operation_id(each.record), charge, payment, checked=payment.ahead and payment.secured
        )


def _operation_id(record: Record) -> str:
    """The ledger's name of a record's use; it begins with the time, so that those of one day lie together."""
    named = hashlib.sha256(f"{record.source}\n{record.id}".encode()).hexdigest()
    return f"{max(0, record.micros):016x}{named[:40]}"
