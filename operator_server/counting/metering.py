"""From pieces of use to charges: rated with the carried state, posted to the ledger, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
from sqlalchemy import Connection, bindparam, select, update

from charging.counters import Piece
from charging.ledger.book import apply
from charging.ledger.operations import Applied, Duplicate, Leg, Operation, Post
from charging.ledger.operations import Charge as LedgerCharge
from charging.ledger.tables import OPERATOR, REVENUE, UNBILLED
from charging.rating import RatingError, RatingState
from charging.tariffs import TariffVersion, rate_usage
from operator_server.billing.open_period import billed_until
from operator_server.counting.book import Counted
from operator_server.counting.tariffs import TariffVersions
from operator_server.store.accounting import Charge, RatingStateRow
from operator_server.store.rows import add_many, table
from signalling.clock import to_micros
from signalling.ids import new_id

SOURCE = "counter"
"""The ledger's name of this client."""

LIFE = "agreement"
"""The period of a rating state that counts over the life of an agreement."""


class NotCharged(RuntimeError):
    """The ledger did not take what was used; the text says why. The transaction must be rolled back."""


@dataclass(slots=True)
class _Carried:
    """The row of an agreement and a period."""

    state: RatingState
    spent: int
    stored: bool
    changed: bool = False


class Meter:
    """Rates use within one transaction and, at its end, writes the charges.

    Pieces of one agreement and period cost together what the whole would, in whatever portions they come.
    """

    def __init__(self, connection: Connection, tariffs: TariffVersions, now: datetime) -> None:
        self._connection = connection
        self._tariffs = tariffs
        self._now = now
        self._carried: dict[tuple[str, str], _Carried] = {}
        self._charges: list[tuple[Charge, Operation]] = []
        self._billed_until = billed_until(connection)

    def version(self, item: Counted) -> TariffVersion:
        """The tariff version of the item's agreement."""
        return self._tariffs.find(self._connection, item.tariff_version)

    def state(self, item: Counted, period: str) -> RatingState:
        """The rating state in which the next use of the period is rated."""
        life = self.version(item).included_per == "agreement"
        return self._row(item.agreement, LIFE if life else period).state

    def spent(self, item: Counted, period: str) -> int:
        """Micros net that use has cost in the period."""
        return self._row(item.agreement, period).spent

    def add(self, item: Counted, counter: str, pieces: Sequence[tuple[str, Piece]]) -> None:
        """Rate pieces of use, each with its period. Raises :class:`RatingError`; then none of them counts."""
        before, count = {key: replace(row) for key, row in self._carried.items()}, len(self._charges)
        try:
            for period, piece in pieces:
                self._add(item, counter, period, piece)
        except RatingError:
            self._carried = before
            del self._charges[count:]
            raise

    def _add(self, item: Counted, counter: str, period: str, piece: Piece) -> None:
        version = self.version(item)
        life = version.included_per == "agreement"
        carried = self._row(item.agreement, LIFE if life else period)
        before = carried.state
        rated = rate_usage(version, piece.quantity, before, at=piece.at)
        carried.state, carried.changed = rated.state, True
        month = self._row(item.agreement, period)
        month.spent += rated.cost_micros
        month.changed = True
        included = (rated.state.used - before.used) - (rated.state.units - before.units)
        charge = Charge(
            id=new_id(to_micros(self._now)),
            kind="use",
            agreement_id=item.agreement,
            account_id=item.account,
            subscriber_id=item.subscriber,
            installation_id=item.installation,
            counter=counter,
            epoch=piece.epoch,
            counter_from=piece.start,
            counter_to=piece.end,
            quantity=piece.quantity,
            included=included,
            period=period,
            effective_at=piece.at if self._billed_until is None else max(piece.at, self._billed_until),
            recorded_at=self._now,
            net=rated.cost_micros,
            currency=item.currency,
            tax_category=item.tax_category,
            tax_rate=item.tax_rate,
            tariff_version=item.tariff_version,
            transfer_id="",
        )
        self._charges.append((charge, _operation(charge)))

    def write(self, also: Sequence[Operation] = ()) -> list[Charge]:
        """Post all charges, and ``also`` other operations whose outcome does not matter; store rows and states."""
        operations = [operation for _, operation in self._charges]
        if operations or also:
            outcomes = apply(self._connection, [*operations, *also], to_micros(self._now))
            for (charge, _), outcome in zip(self._charges, outcomes, strict=False):
                if not isinstance(outcome, Applied | Duplicate):
                    raise NotCharged(f"use of {charge.installation_id} {charge.counter}: {outcome}")
                charge.transfer_id = outcome.transfer_id
        charges = [charge for charge, _ in self._charges]
        add_many(self._connection, charges)
        self._write_states()
        self._charges = []
        return charges

    def _row(self, agreement: str, period: str) -> _Carried:
        key = (agreement, period)
        if key not in self._carried:
            rating = table(RatingStateRow)
            row = self._connection.execute(
                select(rating.c.state, rating.c.spent)
                .where(rating.c.agreement_id == agreement, rating.c.period == period)
                .with_for_update()
            ).first()
            if row is None:
                self._carried[key] = _Carried(RatingState(), 0, stored=False)
            else:
                self._carried[key] = _Carried(msgspec.convert(row.state, RatingState), row.spent, stored=True)
        return self._carried[key]

    def _write_states(self) -> None:
        rating = table(RatingStateRow)
        fresh, changed = [], []
        for (agreement, period), carried in self._carried.items():
            if not carried.changed:
                continue
            state = msgspec.to_builtins(carried.state)
            if carried.stored:
                changed.append({"a": agreement, "p": period, "new_state": state, "new_spent": carried.spent})
            else:
                fresh.append(RatingStateRow(agreement_id=agreement, period=period, state=state, spent=carried.spent))
            carried.stored, carried.changed = True, False
        add_many(self._connection, fresh)
        if changed:
            self._connection.execute(
                update(rating)
                .where(rating.c.agreement_id == bindparam("a"), rating.c.period == bindparam("p"))
                .values(state=bindparam("new_state"), spent=bindparam("new_spent")),
                changed,
            )


def operation_id(installation: str, counter: str, epoch: int, start: int, end: int) -> str:
    """The ledger's name of a stretch of use; it begins with the installation, so that keys of one lie together."""
    whole = f"{installation}\n{counter}\n{epoch}\n{start}-{end}"
    return f"{installation[:36]}:{hashlib.sha256(whole.encode()).hexdigest()[:24]}"


def _operation(charge: Charge) -> Operation:
    assert charge.installation_id is not None
    op_id = operation_id(charge.installation_id, charge.counter, charge.epoch, charge.counter_from, charge.counter_to)
    if charge.net >= 0:
        # What was used is owed, whatever the limit; the limit binds what is granted ahead.
        return LedgerCharge(
            source=SOURCE,
            op_id=op_id,
            owner=charge.account_id,
            amount=charge.net,
            currency=charge.currency,
            effective_at=charge.effective_at,
            agreement_id=charge.agreement_id,
            tariff_version_id=charge.tariff_version or None,
            checked=False,
        )
    # Volume tiers may make the units before cheaper than they were charged.
    return Post(
        source=SOURCE,
        op_id=op_id,
        kind="use_credit",
        legs=(
            Leg(charge.account_id, UNBILLED, charge.currency, charge.net),
            Leg(OPERATOR, REVENUE, charge.currency, -charge.net),
        ),
        effective_at=charge.effective_at,
        agreement_id=charge.agreement_id,
    )
