"""Usage records taken in batches: each batch is one transaction that rates, charges and stores its records.

A record is taken once for its ``(source, id)``; the same again is counted, another of that name is refused. Records
of one standing agreement and period cost together what the tariff makes of the whole, in whatever portions they come.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine, bindparam, insert, select, update

from charging.balances.drawing import Drawn
from charging.ledger.operations import Operation
from charging.ledger.tables import UNBILLED
from charging.modes import Payment
from charging.periods import period_of
from charging.rating import RatingError, RatingState
from charging.tariffs import Tariff, TariffBook, TariffError, TariffVersion, rate_usage
from charging.tariffs.explain import carry
from operator_server.balances.once import lock
from operator_server.billing.open_period import billed_until
from operator_server.billing.taxpayers import PaidTaxes, inclusive_of
from operator_server.counting.book import portions
from operator_server.counting.metering import LIFE, post_charges
from operator_server.counting.money import charge_operation
from operator_server.counting.units import COVERED, Units, units_of
from operator_server.settings import Settings
from operator_server.store.accounting import Charge
from operator_server.store.dealings import Agreement
from operator_server.store.feed import record as record_event
from operator_server.store.parties import Account, Subscriber
from operator_server.store.rows import table
from operator_server.store.store import transact
from operator_server.store.usage import UsageRecord, UsageState
from operator_server.usage.reading import Line, open_source
from operator_server.usage.records import BadRecord, Record, read_record
from operator_server.usage.rejects import Rejects
from operator_server.usage.standing import CUSTOMER, Customer, agreement_id, customer_from, keep_agreements, payments
from signalling.clock import Clock, to_micros
from signalling.ids import new_id

SOURCE = "usage-record"
"""The ledger's name of this client."""

AHEAD = timedelta(minutes=5)
"""How far another system's clock may be ahead."""

Fields = dict[str, Any]


@dataclass(slots=True)
class Report:
    """How many records were taken (of them ``late``: billed in a later period than they were used in), were ``known``
    already, and were refused; ``rejects`` is the file of these."""

    file: Path
    taken: int = 0
    known: int = 0
    late: int = 0
    refused: int = 0
    rejects: Path | None = None


@dataclass(slots=True)
class Outcome:
    """What became of a batch."""

    taken: int = 0
    known: int = 0
    late: int = 0
    refused: list[tuple[Line, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Carried:
    state: RatingState
    version: str | None
    uses: int
    stored: bool
    changed: bool = False


@dataclass(frozen=True, slots=True)
class _Placed:
    """A record with who pays for it, by which tariff version, agreement and rating period."""

    line: Line
    record: Record
    customer: Customer
    tariff: Tariff
    version: TariffVersion
    agreement: str
    month: str
    period: str


class Importer:
    """Takes usage records into an operator's store. ``default_source`` stands where a record names none."""

    def __init__(
        self,
        book: TariffBook,
        settings: Settings,
        key: Ed25519PrivateKey,
        clock: Clock,
        *,
        default_source: str = "",
    ) -> None:
        self._book = book
        self._settings = settings
        self._server = settings.operator.server_id
        self._tax_rates = settings.operator.tax_basis_points()
        self._taxes = PaidTaxes(settings)
        self._zone: tzinfo = settings.operator.zone
        self._key = key
        self._clock = clock
        self._default_source = default_source
        self._customers: dict[str, Customer] = {}

    def import_file(
        self, engine: Engine, path: Path, *, batch: int = 2000, progress: Callable[[float], None] | None = None
    ) -> Report:
        """Take a file. Killed and started again, it goes on: what was taken is known then.

        ``progress`` hears after each batch how far the file was read, between 0 and 1. Raises
        :class:`operator_server.usage.reading.UnreadableFile`; the batches before stay taken.
        """
        report = Report(path)
        with open_source(path) as source, _seldom_collected():
            rejects = Rejects(path, source.form, source.columns)
            try:
                while lines := list(islice(source.lines, batch)):
                    outcome = transact(engine, partial(self.take, lines=lines, reference=path.name))
                    report.taken += outcome.taken
                    report.known += outcome.known
                    report.late += outcome.late
                    for line, reason in sorted(outcome.refused, key=lambda refused: refused[0].number):
                        rejects.add(line, reason)
                    if progress is not None:
                        progress(source.progress())
                report.refused, report.rejects = rejects.count, rejects.close()
            finally:
                if report.rejects is None:
                    rejects.discard()
        return report

    def take(self, connection: Connection, lines: Sequence[Line], reference: str = "") -> Outcome:
        """Take records in the caller's transaction.

        Raises :class:`operator_server.counting.metering.NotCharged`; then the caller must roll back.
        """
        now = self._clock.now()
        outcome = Outcome()
        fresh = self._fresh(connection, lines, outcome)
        self._learn(connection, [record for _, record in fresh])
        placed = [each for line, record in fresh if (each := self._place(line, record, now, outcome)) is not None]
        units = Units(connection, now)
        users = {(each.customer.subscriber, each.customer.account) for each in placed}
        units.expect(users)
        # Live use locks its account before agreements and buckets; who comes in another order might wait for ever.
        lock(connection, [user[1] for user in users if units.has(user)])
        wanted = {each.agreement: (each.customer, each.tariff, each.version) for each in placed}
        keep_agreements(
            connection, wanted, server=self._server, key=self._key, tax_rates=self._tax_rates, now=now,
            inclusive=inclusive_of(self._settings),
        )  # fmt: skip
        _Batch(connection, placed, units, self._tax_rates, self._taxes, now).write(outcome)
        if outcome.taken:
            record_event(
                connection, now, "usage_imported", reference=reference, taken=outcome.taken, late=outcome.late
            )  # fmt: skip
        return outcome

    def _fresh(self, connection: Connection, lines: Sequence[Line], outcome: Outcome) -> list[tuple[Line, Record]]:
        """The records that can be read and are not known yet, each name once."""
        read: list[tuple[Line, Record]] = []
        for line in lines:
            try:
                if line.fault:
                    raise BadRecord(line.fault)
                read.append((line, read_record(line.fields, self._default_source)))
            except BadRecord as bad:
                outcome.refused.append((line, str(bad)))
        known = _known(connection, [record for _, record in read])
        fresh = []
        for line, record in read:
            before = known.setdefault((record.source, record.id), b"")
            if not before:
                known[record.source, record.id] = record.digest
                fresh.append((line, record))
            elif before == record.digest:
                outcome.known += 1
            else:
                reason = f"id: {record.source} had a record {record.id} with other content before"
                outcome.refused.append((line, reason))
        return fresh

    def _learn(self, connection: Connection, records: Sequence[Record]) -> None:
        """Who the subscribers of these records are."""
        subscriber, account = table(Subscriber), table(Account)
        statement = select(*CUSTOMER).join(account, account.c.id == subscriber.c.account_id)
        unknown = sorted({record.subscriber for record in records} - self._customers.keys())
        for ids in portions(unknown):
            for row in connection.execute(statement.where(subscriber.c.id.in_(ids))):
                self._customers[row[0]] = customer_from(row)

    def _place(self, line: Line, record: Record, now: datetime, outcome: Outcome) -> _Placed | None:
        customer = self._customers.get(record.subscriber)
        try:
            if customer is None:
                raise BadRecord(f"subscriber: there is no {record.subscriber!r}; `tollgate account create` makes one")
            if record.at > now + AHEAD:
                raise BadRecord(f"at: {record.at.isoformat()} has not come yet")
            tariff = self._book.tariff(record.tariff)
            version = self._book.at(record.tariff, record.at)
            if version.currency != customer.currency:
                raise BadRecord(
                    f"tariff: {record.tariff} is in {version.currency}, "
                    f"account {customer.account} in {customer.currency}"
                )
        except (BadRecord, TariffError) as error:
            outcome.refused.append((line, str(error)))
            return None
        month = period_of(record.at, self._zone)
        period = month if version.included_per == "month" else LIFE
        agreement = agreement_id(record.subscriber, record.tariff)
        return _Placed(line, record, customer, tariff, version, agreement, month, period)


class _Batch:
    """Records rated in their order within one transaction, and what is written for them."""

    def __init__(
        self,
        connection: Connection,
        placed: Sequence[_Placed],
        units: Units,
        tax_rates: Mapping[str, int],
        taxes: PaidTaxes,
        now: datetime,
    ) -> None:
        self._connection = connection
        self._placed = placed
        self._tax_rates = tax_rates
        self._taxes = taxes
        self._prices: dict[str, int] = {}
        self._now = now
        self._billed_until = billed_until(connection)
        self._units = units
        self._carried = self._read_states()
        self._payments = payments(connection, {each.agreement for each in placed})

    def write(self, outcome: Outcome) -> None:
        """Take units, rate the rest, post and store; records that the tariff cannot rate are refused."""
        charges: list[Fields] = []
        records: list[Fields] = []
        operations: list[Operation | None] = []
        taken: list[tuple[str, list[Drawn]]] = []
        for each in self._placed:
            payment = self._payments[each.agreement]
            drawn = self._draw(each, payment)
            try:
                charge, record = self._rate(each, payment, units_of(drawn))
            except RatingError as error:
                self._units.put_back(drawn)
                outcome.refused.append((each.line, str(error)))
                continue
            charges.append(charge)
            records.append(record)
            covered = charge["kind"] == COVERED
            operations.append(None if covered else charge_operation(
                SOURCE, _operation_id(record), charge, payment, checked=payment.ahead and payment.secured
            ))  # fmt: skip
            if drawn:
                taken.append((charge["id"], drawn))
        if not charges:
            return
        post_charges(
            self._connection, SOURCE, list(zip(charges, operations, strict=True)), self._now, prices=self._prices
        )
        self._connection.execute(insert(table(Charge)), charges)
        self._connection.execute(insert(table(UsageRecord)), records)
        self._write_states()
        for name, drawn in taken:
            self._units.take(drawn, name)
        outcome.taken += len(charges)
        outcome.late += sum(
            charge["pays"] == UNBILLED and charge["effective_at"] != record["at"]
            for charge, record in zip(charges, records, strict=True)
        )

    def _draw(self, each: _Placed, payment: Payment) -> list[Drawn]:
        """Units for the record; use that is only rated takes none."""
        if payment.pays is None:
            return []
        user = (each.customer.subscriber, each.customer.account)
        return self._units.draw(user, each.version.unit, each.record.quantity, each.record.at)

    def _rate(self, each: _Placed, payment: Payment, units: int) -> tuple[Fields, Fields]:
        record, version, carried = each.record, each.version, self._carried[each.agreement, each.period]
        quantity = record.quantity - units
        covered = bool(units) and not quantity
        net = included = 0
        if not covered:
            before = carry(carried.state, carried.version, version, session=True)
            rated = rate_usage(version, quantity, before, at=record.at, destination=record.destination or None)
            carried.state, carried.version, carried.changed = rated.state, version.version_id, True
            carried.uses += 1
            net = rated.cost_micros
            included = (rated.state.used - before.used) - (rated.state.units - before.units)
        charge, tax_rate = new_id(to_micros(self._now)), self._tax_rates[version.tax_category]
        paid_tax = 0
        if payment.ahead and not covered:
            self._prices[charge] = net
            paid = self._taxes.owed(each.customer.taxpayer, version.tax_category, record.at, net)
            net, paid_tax = paid.net, paid.tax
            tax_rate, _ = self._taxes.rates(each.customer.taxpayer, version.tax_category, record.at)
        return {
            "id": charge,
            "kind": COVERED if covered else "use",
            "agreement_id": each.agreement,
            "account_id": each.customer.account,
            "subscriber_id": record.subscriber,
            "quantity": quantity,
            "included": included,
            "period": each.month,
            "effective_at": record.at if self._billed_until is None else max(record.at, self._billed_until),
            "recorded_at": self._now,
            "net": net,
            "currency": version.currency,
            "tax_category": version.tax_category,
            "tax_rate": tax_rate,
            "tariff_version": version.version_id,
            "transfer_id": "",
            "pays": "none" if covered else payment.settled,
            "paid_tax": paid_tax,
        }, {
            "source": record.source,
            "id": record.id,
            "digest": record.digest,
            "subscriber_id": record.subscriber,
            "tariff_id": record.tariff,
            "quantity": record.quantity,
            "at": record.at,
            "destination": record.destination,
            "position": carried.uses,
            "charge_id": charge,
            "imported_at": self._now,
        }

    def _read_states(self) -> dict[tuple[str, str], _Carried]:
        state, agreement = table(UsageState), table(Agreement)
        carried = {(each.agreement, each.period): _Carried(RatingState(), None, 0, False) for each in self._placed}
        for ids in portions(sorted({each.agreement for each in self._placed})):
            # Who rates use of these agreements meanwhile waits here, on PostgreSQL.
            self._connection.execute(
                select(agreement.c.id).where(agreement.c.id.in_(ids)).order_by(agreement.c.id).with_for_update()
            )
            for row in self._connection.execute(select(state).where(state.c.agreement_id.in_(ids))):
                if (row.agreement_id, row.period) in carried:
                    found = _Carried(msgspec.convert(row.state, RatingState), row.tariff_version, row.uses, True)
                    carried[row.agreement_id, row.period] = found
        return carried

    def _write_states(self) -> None:
        state = table(UsageState)
        fresh, changed = [], []
        for (agreement, period), carried in self._carried.items():
            if not carried.changed:
                continue
            values: Fields = {
                "tariff_version": carried.version,
                "uses": carried.uses,
                "state": msgspec.to_builtins(carried.state),
            }
            if carried.stored:
                changed.append({"a": agreement, "p": period, **values})
            else:
                fresh.append({"agreement_id": agreement, "period": period, **values})
        if fresh:
            self._connection.execute(insert(state), fresh)
        if changed:
            key = (state.c.agreement_id == bindparam("a")) & (state.c.period == bindparam("p"))
            self._connection.execute(update(state).where(key), changed)


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """A batch makes many objects and no cycles: looking for these at every step costs a seventh of the time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _known(connection: Connection, records: Sequence[Record]) -> dict[tuple[str, str], bytes]:
    """Digests of the records that are stored under the names of these."""
    row = table(UsageRecord)
    by_source: dict[str, list[str]] = {}
    for record in records:
        by_source.setdefault(record.source, []).append(record.id)
    return {
        (source, found.id): found.digest
        for source, all_ids in by_source.items()
        for ids in portions(all_ids)
        for found in connection.execute(select(row.c.id, row.c.digest).where(row.c.source == source, row.c.id.in_(ids)))
    }


def _operation_id(record: Mapping[str, Any]) -> str:
    """The ledger's name of a record's use; it begins with the time, so that those of one day lie together."""
    named = hashlib.sha256(f"{record['source']}\n{record['id']}".encode()).hexdigest()
    return f"{max(0, to_micros(record['at'])):016x}{named[:40]}"
