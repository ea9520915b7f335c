"""Use granted ahead: how far a terminal may count before it reports again, backed by a reservation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Row, insert, select, update

from charging.balances.drawing import Drawn
from charging.counters import CounterState
from charging.ledger.book import apply
from charging.ledger.operations import Applied, Operation, Release, Reserve
from charging.modes import affordable
from charging.periods import period, period_of
from charging.rating import RatingState
from charging.tariffs import TariffVersion, units_affordable
from operator_server.counting.book import (
    Counted,
    CounterKey,
    counted,
    open_grants,
    portions,
    states,
)
from operator_server.counting.metering import Meter
from operator_server.counting.money import barred_among, limits_left, money_left
from operator_server.counting.tariffs import TariffVersions
from operator_server.counting.units import release_units, units_of
from operator_server.settings import Settings
from operator_server.store.accounting import UsageGrantRow
from operator_server.store.parties import Account
from operator_server.store.rows import table
from operator_server.validation.notices import write_notice
from signalling.clock import to_micros
from signalling.documents import UsageGrant
from signalling.ids import new_id
from signalling.messages import Signed
from signalling.money import MAX_MICROS
from signalling.proof import sign

SOURCE = "usage"
"""The ledger's name of this client."""

MAX_COUNT = 2**53 - 1

_TEXTS = {
    "en": {
        "spending_limit": "The spending limit of {product} is reached; it can be used again from {day} on.",
        "no_credit": "{product} cannot be used at present: the account has no credit left.",
        "not_granted": "{product} cannot be used: its tariff grants no use.",
        "barred": "{product} cannot be used at present: the account is barred. Please contact us.",
    },
    "de": {
        "spending_limit": "Das Ausgabenlimit für {product} ist erreicht; ab {day} ist es wieder nutzbar.",
        "no_credit": "{product} ist derzeit nicht nutzbar: Das Konto hat kein Guthaben mehr.",
        "not_granted": "{product} ist nicht nutzbar: Der Tarif gewährt keine Nutzung.",
        "barred": "{product} ist derzeit nicht nutzbar: Das Konto ist gesperrt. Bitte wenden Sie sich an uns.",
    },
}


@dataclass(frozen=True, slots=True)
class Want:
    """A counter where it stands now. ``usable``: it is to be granted further use."""

    item: Counted
    counter: str
    epoch: int
    value: int
    usable: bool = True


@dataclass(frozen=True, slots=True)
class _Budget:
    """Units that may be granted, what they cost at most, and if there are none, why.

    ``drawn``: those of them that buckets hold, all of which do until ``until``.
    """

    units: int
    cost: int
    obstacle: str = ""
    drawn: Sequence[Drawn] = ()
    until: datetime | None = None


class _Purse:
    """What the accounts and the subscribers' own limits leave, as grants are made one after another."""

    def __init__(self, connection: Connection, items: Sequence[Counted], zone: tzinfo, now: datetime) -> None:
        self._money = money_left(connection, {item.account for item in items})
        self._limits = limits_left(connection, {item.subscriber for item in items}, zone, now)
        self._barred = barred_among(connection, {item.account for item in items}, {item.subscriber for item in items})

    def barred(self, item: Counted) -> bool:
        """Whether who uses or who pays is barred."""
        return ("account", item.account) in self._barred or ("subscriber", item.subscriber) in self._barred

    def credit(self, item: Counted) -> int:
        """Micros net that the item's account can spend in its way of paying."""
        left = self._money[item.account, item.currency, item.payment.ahead]
        if left is None:
            return MAX_MICROS
        if not item.payment.secured:
            return MAX_MICROS if left > 0 else 0
        return max(0, affordable(left, item.tax_rate, item.tax_included) if item.payment.ahead else left)

    def limit(self, item: Counted) -> int:
        """Micros net that the subscriber's own limit leaves."""
        return max(0, self._limits.get((item.subscriber, item.currency), MAX_MICROS))

    def take(self, item: Counted, budget: _Budget) -> None:
        """Less is left for the grants that follow."""
        key = (item.subscriber, item.currency)
        if key in self._limits:
            self._limits[key] -= budget.cost
        if item.payment.pays is None or not item.payment.secured:
            return
        cost = item.owed(budget.cost).total if item.payment.ahead else budget.cost
        left, ahead = (self._money[item.account, item.currency, way] for way in (False, True))
        assert ahead is not None
        ahead -= cost if item.payment.ahead else 0
        left = None if left is None else left - cost
        self._money[item.account, item.currency, False] = left
        self._money[item.account, item.currency, True] = ahead if left is None else min(left, ahead)


class UsageGrants:
    """Grants use ahead: never more than the tariff's portion, the spending limit and the account's credit allow."""

    def __init__(self, tariffs: TariffVersions, signing: Ed25519PrivateKey, settings: Settings) -> None:
        self._tariffs = tariffs
        self._signing = signing
        self._settings = settings

    def first_grants(
        self, connection: Connection, agreement: Row[Any], installation: str, now: datetime
    ) -> list[Signed]:
        """The usage grants that go out with a delivery grant; those that are open when it is repeated.

        Empty where nothing is charged by use, and, with a notice to the user, where nothing is affordable.
        """
        item = counted(connection, [installation])[installation]
        if not item.counter or not item.usable:
            return []
        state = states(connection, [installation]).get((installation, item.counter), CounterState())
        if again := self.repeat(connection, {(installation, item.counter): state}, now):
            return list(again.values())
        meter = Meter(connection, self._tariffs, now)
        want = Want(item, item.counter, state.epoch, state.value)
        apply(connection, self.replace(connection, meter, [want], now), to_micros(now))
        return list(self.grant(connection, meter, [want], now).values())

    def release(self, connection: Connection, installation: str, now: datetime) -> None:
        """End what is granted to an installation and give back what is reserved for it."""
        release_grants(connection, installation, now)

    def repeat(
        self, connection: Connection, counters: Mapping[CounterKey, CounterState], now: datetime
    ) -> dict[CounterKey, Signed]:
        """The grants of these counters that still hold, as they were signed."""
        return {
            (row.installation_id, row.counter): Signed(row.document, row.signature)
            for row in open_grants(connection, {installation for installation, _ in counters})
            if (state := counters.get((row.installation_id, row.counter))) is not None
            and row.epoch == state.epoch
            and row.ceiling > state.value
            and now < row.report_by
        }

    def replace(self, connection: Connection, meter: Meter, wants: Sequence[Want], now: datetime) -> list[Operation]:
        """End the open grants of these counters; what to do in the ledger before new ones are made."""
        keys = {(want.item.installation, want.counter) for want in wants}
        rows = open_grants(connection, {installation for installation, _ in keys})
        ended = [row for row in rows if (row.installation_id, row.counter) in keys]
        meter.units.release([row.id for row in ended])
        return _end(connection, ended)

    def grant(
        self, connection: Connection, meter: Meter, wants: Sequence[Want], now: datetime
    ) -> dict[CounterKey, Signed]:
        """New grants; those that went before must be released in the ledger. Writes a notice where there is none."""
        purse = _Purse(connection, [want.item for want in wants], self._settings.operator.zone, now)
        made: list[tuple[dict[str, Any], Operation | None]] = []
        for want in wants:
            budget = self._budget(meter, want, purse, now)
            if not budget.units:
                self._tell(connection, want, budget.obstacle, now)
                continue
            purse.take(want.item, budget)
            row, reserve = self._make(want, budget, now)
            made.append((row, reserve))
            if budget.drawn:
                user, unit = (want.item.subscriber, want.item.account), meter.version(want.item).unit
                meter.units.hold(user, unit, budget.drawn, row["id"], row["valid_until"])
        reserves = [operation for _, operation in made if operation is not None]
        outcomes = iter(apply(connection, reserves, to_micros(now)) if reserves else ())
        for row, operation in made:
            if operation is not None:
                outcome = next(outcomes)
                if not isinstance(outcome, Applied):
                    raise RuntimeError(f"usage grant {row['id']}: what is available could not be reserved: {outcome}")
                row["reservation_id"] = outcome.transfer_id
        rows = [row for row, _ in made]
        if rows:
            connection.execute(insert(table(UsageGrantRow)), rows)
        return {(row["installation_id"], row["counter"]): Signed(row["document"], row["signature"]) for row in rows}

    def _budget(self, meter: Meter, want: Want, purse: _Purse, now: datetime) -> _Budget:
        item, version = want.item, meter.version(want.item)
        portion = min(version.grant_units, MAX_COUNT - want.value)
        if portion <= 0:
            return _Budget(0, 0, "not_granted")
        if purse.barred(item):
            return _Budget(0, 0, "barred")
        if item.payment.pays is None or (item.trial_until is not None and now < item.trial_until):
            return _Budget(portion, 0)
        month = period_of(now, self._settings.operator.zone)
        state = meter.state(item, month)
        credit = purse.credit(item)
        limit = purse.limit(item)
        if item.spending_limit is not None:
            limit = min(limit, max(0, item.spending_limit - meter.spent(item, month)))
        user = (item.subscriber, item.account)
        drawn = meter.units.draw(user, version.unit, portion, now)
        until = meter.units.last_until(user, version.unit, drawn) if drawn else None
        # Units that are included cost nothing and are granted whatever is left.
        rest = portion - units_of(drawn)
        units = units_affordable(version, state, min(limit, credit), at=now, limit=rest) if rest else 0
        cost = _highest_cost(version, units, state, now) if units else 0
        obstacle = "spending_limit" if limit <= credit else "no_credit"
        return _Budget(units_of(drawn) + units, cost, obstacle, drawn, until)

    def _make(self, want: Want, budget: _Budget, now: datetime) -> tuple[dict[str, Any], Operation | None]:
        counting = self._settings.counting
        item = want.item
        # What is granted is granted at a price, so it ends where the price changes.
        ends = [at for at in (*item.cuts, item.until, budget.until) if at is not None and at > now]
        valid_until = min([now + timedelta(seconds=counting.grant_validity), *ends])
        report_by = min(valid_until, now + timedelta(seconds=counting.report_within))
        grant = UsageGrant(
            grant=new_id(to_micros(now)),
            installation=want.item.installation,
            counter=want.counter,
            epoch=want.epoch,
            ceiling=want.value + budget.units,
            issued=to_micros(now),
            valid_until=to_micros(valid_until),
            report_by=to_micros(report_by),
        )
        signed = sign(self._signing, UsageGrant.PURPOSE, grant.encode())
        row: dict[str, Any] = {
            "id": grant.grant,
            "installation_id": grant.installation,
            "counter": grant.counter,
            "epoch": grant.epoch,
            "ceiling": grant.ceiling,
            "document": signed.document,
            "signature": signed.signature,
            "issued_at": now,
            "valid_until": valid_until,
            "report_by": report_by,
            "reservation_id": None,
            "state": "open",
            "cost": budget.cost,
        }
        if not budget.cost or item.payment.pays is None or not item.payment.secured:
            return row, None
        reserve = Reserve(
            source=SOURCE,
            op_id=grant.grant,
            owner=item.account,
            amount=item.owed(budget.cost).total if item.payment.ahead else budget.cost,
            currency=item.currency,
            expires_at=valid_until,
            agreement_id=item.agreement,
            pays=item.payment.pays,
        )
        return row, reserve

    def _tell(self, connection: Connection, want: Want, obstacle: str, now: datetime) -> None:
        zone = self._settings.operator.zone
        month = period_of(now, zone)
        account = table(Account)
        language = connection.execute(select(account.c.language).where(account.c.id == want.item.account)).scalar()
        texts = _TEXTS.get(language or "", _TEXTS["en"])
        write_notice(
            connection,
            now,
            terminal=want.item.terminal,
            subscriber=want.item.subscriber,
            kind="charge" if obstacle == "spending_limit" else "authorization",
            subject=want.item.installation,
            state=obstacle,
            text=texts[obstacle].format(
                product=want.item.product, day=period(month, zone).end.astimezone(zone).date().isoformat()
            ),
            dedup=f"use/{want.item.installation}/{month}/{obstacle}",
        )


def release_grants(connection: Connection, installation: str, now: datetime) -> None:
    """End what is granted to an installation and give back what is reserved for it."""
    rows = open_grants(connection, [installation])
    release_units(connection, [row.id for row in rows], now)
    operations = _end(connection, rows)
    if operations:
        apply(connection, operations, to_micros(now))


def _end(connection: Connection, rows: Iterable[Row[Any]]) -> list[Operation]:
    ended = list(rows)
    grant = table(UsageGrantRow)
    for ids in portions(row.id for row in ended):
        connection.execute(update(grant).where(grant.c.id.in_(ids)).values(state="replaced"))
    # One that has expired meanwhile is declined by the ledger, and that is as good.
    return [
        Release(source=SOURCE, op_id=f"end:{row.id}", reservation_id=row.reservation_id)
        for row in ended
        if row.reservation_id is not None
    ]


def _highest_cost(version: TariffVersion, units: int, state: RatingState, now: datetime) -> int:
    """What the units cost at most on the way; with volume tiers that is more than what all of them cost."""
    return max(0, version.rate_for(None).rate(units, state, now, highest=True).cost_micros)
