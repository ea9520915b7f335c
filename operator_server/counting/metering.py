"""From pieces of use to charges: rated with the carried state, posted to the ledger, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update

from charging.balances.drawing import Drawn
from charging.counters import Piece
from charging.ledger.book import apply
from charging.ledger.operations import Applied, Declined, Duplicate, Operation
from charging.ledger.tables import UNBILLED
from charging.modes import PAYMENTS, Payment
from charging.rating import RatingError, RatingState
from charging.tariffs import TariffVersion, rate_usage
from operator_server.billing.open_period import billed_until
from operator_server.counting.book import Counted, open_grants, portions
from operator_server.counting.money import charge_operation, tax_operation
from operator_server.counting.tariffs import TariffVersions
from operator_server.counting.units import COVERED, Units, units_of
from operator_server.store.accounting import Charge, RatingStateRow
from operator_server.store.rows import table
from signalling.clock import to_micros
from signalling.ids import new_id

SOURCE = "counter"
"""The ledger's name of this client."""

LIFE = "agreement"
"""The period of a rating state that counts over the life of an agreement."""

TRIAL = "trial"
"""The period of a rating state in which the use of a trial is rated, and the kind of its charges."""


_rating = table(RatingStateRow)


class NotCharged(RuntimeError):
    """The ledger did not take what was used; the text says why. The transaction must be rolled back."""


@dataclass(slots=True)
class _Carried:
    """The row of an agreement and a period."""

    state: RatingState
    spent: int
    stored: bool = False
    changed: bool = False
    version: str = ""


class Meter:
    """Rates use within one transaction and, at its end, writes the charges.

    Pieces of one agreement and period cost together what the whole would, in whatever portions they come.
    """

    def __init__(self, connection: Connection, tariffs: TariffVersions, now: datetime) -> None:
        self._connection = connection
        self._tariffs = tariffs
        self._now = now
        self._carried: dict[str, dict[str, _Carried]] = {}
        self._charges: list[dict[str, Any]] = []
        self._payments: dict[str, Payment] = {}
        self._prices: dict[str, int] = {}
        self._drawn: list[tuple[str, list[Drawn]]] = []
        self._taken: dict[str, int] = {}
        self._freed: set[str] = set()
        self.units = Units(connection, now)
        self._billed_until = billed_until(connection)

    def expect(self, agreements: Iterable[str], periods: Sequence[str]) -> None:
        """Read at once what the use of these agreements in these periods will need."""
        names = [*periods, LIFE]
        for ids in portions(agreements):
            for agreement in ids:
                self._carried.setdefault(agreement, {}).update({name: _Carried(RatingState(), 0) for name in names})
            rows = self._connection.execute(
                _rating_rows().where(_rating.c.agreement_id.in_(ids), _rating.c.period.in_(names))
            )
            for row in rows:
                self._carried[row.agreement_id][row.period] = _read(row)

    def version(self, item: Counted, at: datetime | None = None) -> TariffVersion:
        """The tariff version that rates use of the item at an instant, now by default."""
        return self._tariffs.find(self._connection, item.version_at(self._now if at is None else at))

    def state(self, item: Counted, period: str) -> RatingState:
        """The rating state in which use of the period is rated that takes place now."""
        return self._state(item, period, self._now)[1]

    def _state(self, item: Counted, period: str, at: datetime) -> tuple[_Carried, RatingState]:
        version = self.version(item, at)
        if item.trial_until is not None and at < item.trial_until:
            period = TRIAL
        elif version.included_per == "agreement":
            period = LIFE
        carried = self._row(item.agreement, period)
        same = (carried.version or item.tariff_version) == version.version_id
        return carried, carried.state if same else carried.state.next_version()

    def spent(self, item: Counted, period: str) -> int:
        """Micros net that use has cost in the period."""
        return self._row(item.agreement, period).spent

    def add(self, item: Counted, counter: str, pieces: Sequence[tuple[str, Piece]]) -> None:
        """Rate pieces of use, each with its period. Raises :class:`RatingError`; then none of them counts."""
        before = {period: replace(row) for period, row in self._carried.get(item.agreement, {}).items()}
        count, drawn = len(self._charges), len(self._drawn)
        try:
            for period, piece in pieces:
                self._add(item, counter, period, piece)
        except RatingError:
            self._carried[item.agreement] = before
            del self._charges[count:]
            for _, units in self._drawn[drawn:]:
                self.units.put_back(units)
            del self._drawn[drawn:]
            raise

    def _add(self, item: Counted, counter: str, period: str, piece: Piece) -> None:
        version = self.version(item, piece.at)
        trial = item.trial_until is not None and piece.at < item.trial_until
        charge, paying = new_id(to_micros(self._now)), item.payment.pays is not None and not trial
        drawn = self._draw(item, version.unit, piece) if paying else []
        if drawn:
            self._drawn.append((charge, drawn))
        quantity = piece.quantity - units_of(drawn)
        covered = bool(drawn) and not quantity
        net = cost = included = paid_tax = 0
        if not covered:
            carried, before = self._state(item, period, piece.at)
            rated = rate_usage(version, quantity, before, at=piece.at)
            carried.state, carried.changed = rated.state, True
            carried.version = version.version_id if item.prices else ""
            included = (rated.state.used - before.used) - (rated.state.units - before.units)
            net = cost = rated.cost_micros
        if paying and not covered:
            month = self._row(item.agreement, period)
            if item.payment.ahead:
                # Pieces pay together the tax on the whole.
                before_it, with_it = item.owed(month.spent), item.owed(month.spent + cost)
                net, paid_tax = with_it.net - before_it.net, with_it.tax - before_it.tax
                self._prices[charge] = cost
            month.spent += cost
            month.changed = True
        self._charges.append(
            {
                "id": charge,
                "kind": TRIAL if trial else COVERED if covered else "use",
                "agreement_id": item.agreement,
                "account_id": item.account,
                "subscriber_id": item.subscriber,
                "installation_id": item.installation,
                "counter": counter,
                "epoch": piece.epoch,
                "counter_from": piece.start,
                "counter_to": piece.end,
                "quantity": quantity,
                "included": included,
                "period": period,
                "effective_at": piece.at if self._billed_until is None else max(piece.at, self._billed_until),
                "recorded_at": self._now,
                "net": net,
                "currency": item.currency,
                "tax_category": item.tax_category,
                "tax_rate": item.tax_rate,
                "tariff_version": version.version_id,
                "transfer_id": "",
                "pays": "none" if trial or covered else item.payment.settled,
                "paid_tax": paid_tax,
            }
        )
        self._payments[charge] = PAYMENTS["rated_only"] if trial or covered else item.payment

    def _draw(self, item: Counted, unit: str, piece: Piece) -> list[Drawn]:
        """Units for a piece of use; what was held for use of the installation is there for it."""
        user = (item.subscriber, item.account)
        if not self.units.has(user):
            return []
        if item.installation not in self._freed:
            self._freed.add(item.installation)
            self.units.release([grant.id for grant in open_grants(self._connection, [item.installation])])
        return self.units.draw(user, unit, piece.quantity, piece.at)

    def taken(self, charge: str) -> int:
        """Units that buckets gave for the use that a charge stands for."""
        return self._taken.get(charge, 0)

    def write(self, also: Sequence[Operation] = ()) -> list[dict[str, Any]]:
        """Post all charges, after ``also`` other operations whose outcome does not matter; store rows and states.

        What money paid ahead does not cover, because somebody used more than was granted, is owed: it goes onto the
        next invoice, and the money paid ahead stays as it is. Returns the rows of the charges.
        """
        charges, self._charges = self._charges, []
        post_charges(
            self._connection, SOURCE, [(each, self._operation(each)) for each in charges], self._now, also,
            self._prices,
        )  # fmt: skip
        if charges:
            self._connection.execute(insert(table(Charge)), charges)
        for charge, drawn in self._drawn:
            self.units.take(drawn, charge)
            self._taken[charge] = units_of(drawn)
        self._drawn = []
        self._write_states()
        return charges

    def _operation(self, charge: Mapping[str, Any]) -> Operation | None:
        op_id = _operation_id(
            charge["installation_id"], charge["counter"], charge["epoch"], charge["counter_from"], charge["counter_to"]
        )
        payment = self._payments[charge["id"]]
        return charge_operation(SOURCE, op_id, charge, payment, checked=payment.ahead and payment.secured)

    def _row(self, agreement: str, period: str) -> _Carried:
        of_agreement = self._carried.setdefault(agreement, {})
        if period not in of_agreement:
            row = self._connection.execute(
                _rating_rows().where(_rating.c.agreement_id == agreement, _rating.c.period == period)
            ).first()
            of_agreement[period] = _Carried(RatingState(), 0) if row is None else _read(row)
        return of_agreement[period]

    def _write_states(self) -> None:
        fresh, changed = [], []
        for agreement, periods in self._carried.items():
            for period, carried in periods.items():
                if not carried.changed:
                    continue
                state = msgspec.to_builtins(carried.state)
                if carried.version:
                    state["version"] = carried.version
                values = {"state": state, "spent": carried.spent}
                if carried.stored:
                    changed.append({"a": agreement, "p": period, **values})
                else:
                    fresh.append({"agreement_id": agreement, "period": period, **values})
                carried.stored, carried.changed = True, False
        if fresh:
            self._connection.execute(insert(_rating), fresh)
        if changed:
            key = (_rating.c.agreement_id == bindparam("a")) & (_rating.c.period == bindparam("p"))
            self._connection.execute(update(_rating).where(key), changed)


def post_charges(
    connection: Connection,
    source: str,
    charges: Sequence[tuple[dict[str, Any], Operation | None]],
    now: datetime,
    also: Sequence[Operation] = (),
    prices: Mapping[str, int] | None = None,
) -> None:
    """Post charges, each with its operation, after ``also`` other operations whose outcome does not matter.

    What money paid ahead does not cover is owed: it goes onto the next invoice, and the money stays as it is; there it
    stands with its price in ``prices``, by charge. Each charge gets its ``transfer_id``. Raises :class:`NotCharged`.
    """
    asked = [(charge, operation) for charge, operation in charges if operation is not None]
    operations = [*also, *(operation for _, operation in asked)]
    if not operations:
        return
    outcomes = apply(connection, operations, to_micros(now))[len(also) :]
    further: list[tuple[dict[str, Any], Operation]] = []
    for (charge, operation), outcome in zip(asked, outcomes, strict=True):
        if isinstance(outcome, Applied | Duplicate):
            charge["transfer_id"] = outcome.transfer_id
            if (tax := tax_operation(source, operation.op_id, charge)) is not None:
                further.append((charge, tax))
        elif isinstance(outcome, Declined) and charge["pays"] == "prepaid":
            charge["pays"], charge["paid_tax"] = UNBILLED, 0
            charge["net"] = charge["net"] if prices is None else prices.get(charge["id"], charge["net"])
            owed = charge_operation(source, operation.op_id, charge, PAYMENTS["postpaid"])
            assert owed is not None
            further.append((charge, owed))
        else:
            raise NotCharged(f"use of account {charge['account_id']}, agreement {charge['agreement_id']}: {outcome}")
    if not further:
        return
    for (charge, operation), outcome in zip(
        further, apply(connection, [operation for _, operation in further], to_micros(now)), strict=True
    ):
        if not isinstance(outcome, Applied | Duplicate):
            raise NotCharged(f"use of account {charge['account_id']}, agreement {charge['agreement_id']}: {outcome}")
        if operation.source == source:
            charge["transfer_id"] = outcome.transfer_id


def _rating_rows() -> Select[Any]:
    return select(_rating).with_for_update()


def _read(row: Row[Any]) -> _Carried:
    state = dict(row.state)
    version = state.pop("version", "")
    return _Carried(msgspec.convert(state, RatingState), row.spent, stored=True, version=version)


def _operation_id(installation: str, counter: str, epoch: int, start: int, end: int) -> str:
    """The ledger's name of a stretch of use; it begins with the installation, so that keys of one lie together."""
    whole = f"{installation}\n{counter}\n{epoch}\n{start}-{end}"
    return f"{installation[:36]}:{hashlib.sha256(whole.encode()).hexdigest()[:24]}"
