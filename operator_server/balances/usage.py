"""Use as it takes place: taken from buckets first, what they do not cover rated to money; reserved ahead or at once.

Each operation is atomic in the caller's writing transaction, and idempotent by its id: the same again has the same
answer and no effect, other content of the same id is an error. Errors are
:class:`operator_server.balances.once.BalanceError`; then the caller must roll back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Row, select, update

from charging.balances.drawing import Drawn, draw
from charging.balances.tables import OPEN, UsageReservation
from charging.ledger.operations import Capture, Pays, Release
from charging.ledger.tables import PREPAID, PSEUDO_PREPAID, UNBILLED, Reservation
from charging.tariffs import TariffBook
from operator_server.balances.barring import barred
from operator_server.balances.buckets import change_share, move
from operator_server.balances.drawing import drawable, held, hold, lock_purses, settle_holds, take, take_held
from operator_server.balances.once import BalanceError, once, post
from operator_server.balances.paying import GIVEN_BACK, SOURCE, Paid, book_tax, charge, could_pay, due, set_aside
from operator_server.balances.rating import Rest, RestRater, session_of
from operator_server.settings import Settings
from operator_server.store.rows import add, table
from operator_server.usage.standing import Customer, StandingError, customer_of

AHEAD = timedelta(minutes=5)
"""How far another system's clock may be ahead."""

_reservations, _ledger_reservations = table(UsageReservation), table(Reservation)


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """``quantity`` units used by a subscriber from ``at`` on, as one session; ``None`` is when it is first asked for.

    ``tariff`` rates what no bucket covers, and ``pays`` says from which money; without a tariff buckets must cover all.
    """

    subscriber: str
    unit: str
    quantity: int
    at: datetime | None = None
    tariff: str = ""
    destination: str = ""
    pays: Pays = UNBILLED  # type: ignore[assignment]  # a constant of that value

    def __post_init__(self) -> None:
        if type(self.quantity) is not int or not 0 <= self.quantity < 2**63:
            raise BalanceError("bad_amount", f"quantity {self.quantity!r} is not a whole number of units, 0 or more")
        if self.at is not None and self.at.tzinfo is None:
            raise BalanceError("bad_amount", f"at {self.at.isoformat()}: has no time zone")
        if self.pays not in (UNBILLED, PREPAID, PSEUDO_PREPAID):
            raise BalanceError("bad_name", f"pays {self.pays!r}: is not unbilled, prepaid or pseudo_prepaid")


class UsageDesk:
    """Takes use from balances. ``book`` answers with the tariffs that are loaded now."""

    def __init__(self, book: Callable[[], TariffBook], settings: Settings, key: Ed25519PrivateKey) -> None:
        self._rater = RestRater(book, settings, key)

    def consume(self, connection: Connection, id: str, use: Use, now: datetime) -> dict[str, Any]:
        """Take use at once. What ``unbilled`` or ``prepaid`` pays must be there; ``pseudo_prepaid`` may overdraw."""
        customer, content, use = self._open(connection, use, now), _content(use), _dated(use, now)

        def do() -> dict[str, Any]:
            self._allowed(connection, customer)
            drawn, left = _draw(connection, customer, use)
            rest = self._rest(connection, customer, use, left, now)
            take(connection, drawn, id, now)
            paid = None if rest is None else charge(connection, id, rest, use.pays, now)
            return self._answer(connection, id, use, drawn, rest, paid, now)

        return once(connection, id, "consume", content, now, do)

    def reserve_usage(
        self, connection: Connection, id: str, use: Use, hold_for: timedelta, now: datetime
    ) -> dict[str, Any]:
        """Set aside the units and the money that the use may need, for ``hold_for``; ``id`` names the reservation."""
        customer, use, asked = self._open(connection, use, now), _dated(use, now), _content(use)
        if hold_for <= timedelta(0):
            raise BalanceError("bad_amount", f"reservation {id}: is held for more than no time")

        def do() -> dict[str, Any]:
            self._allowed(connection, customer)
            drawn, left = _draw(connection, customer, use)
            rest = self._rest(connection, customer, use, left, now, highest=True)
            expires, owner, share, money, transfer = now + hold_for, customer.account, None, 0, None
            if rest is not None:
                money, owner, share, transfer = set_aside(connection, id, rest, use.pays, expires, now)
            add(
                connection,
                UsageReservation(
                    id=id, account_id=customer.account, use=_content(use), quantity=use.quantity, money_id=transfer,
                    money=money, share_id=share, expires_at=expires,
                ),
            )  # fmt: skip
            hold(connection, drawn, id, now)
            return {
                "id": id, "account": customer.account, "quantity": use.quantity, "units": _units(drawn), "rated": left,
                "money": money, "currency": customer.currency, "payer": owner, "share": share,
                "expires": expires.isoformat(),
            }  # fmt: skip

        content = {**asked, "hold": hold_for.total_seconds()}
        return once(connection, id, "reserve", content, now, do)

    def commit_usage(
        self,
        connection: Connection,
        id: str,
        reservation: str,
        quantity: int | None,
        now: datetime,
        *,
        more: bool = False,
    ) -> dict[str, Any]:
        """Take all that is left (``None``) or part of what was reserved, and give the rest back; with ``more`` the rest
        stays reserved for further commits, until it is used up, released or expired. ``id`` names the commit.

        More than was reserved can only be committed where ``pseudo_prepaid`` pays. All commits are one session of the
        tariff: together they cost what they would at once. What a commit costs is rated now; should that be more than
        is left of what was set aside, because other use came between, the rest must be available.
        """
        row = _reservation(connection, reservation)

        def do() -> dict[str, Any]:
            kept = _opened(connection, reservation, now)
            use = msgspec.convert(kept.use, Use)
            left = max(0, kept.quantity - kept.used)
            used = left if quantity is None else quantity
            if used < 0 or (used > left and use.pays != PSEUDO_PREPAID):
                raise BalanceError(
                    "exceeds_reservation", f"reservation {reservation}: {used} {use.unit} asked, {left} reserved"
                )
            stays = more and used < left
            customer = self._customer(connection, use.subscriber)
            if stays:
                drawn = take_held(connection, reservation, used, reservation, now)
            else:
                drawn = settle_holds(connection, held(connection, reservation), reservation, used, reservation, now)
            rated = used - sum(each.amount for each in drawn)
            rest = self._rest(connection, customer, use, rated, now, session=kept.session)
            paid, captured = self._settle_money(connection, id, kept, rest, use.pays, now, stays=stays)
            record = reservation if kept.session is None else id
            if stays:
                _go_on(connection, kept, used, captured, rest, record)
            else:
                _close(connection, reservation, "committed")
            answer = self._answer(connection, id, use, drawn, rest, paid, now, reservation, record, kept.session)
            return answer | {"left": left - used} if stays else answer

        _lock(connection, [row])
        content = {"reservation": reservation, "quantity": quantity, **({"more": True} if more else {})}
        return once(connection, id, "commit", content, now, do)

    def release_usage(self, connection: Connection, id: str, reservation: str, now: datetime) -> dict[str, Any]:
        """Give back all that was reserved. ``id`` names the release."""
        row = _reservation(connection, reservation)

        def do() -> dict[str, Any]:
            kept = _opened(connection, reservation, now)
            _give_back(connection, kept, "released", now)
            if kept.money_id is not None and kept.money > kept.captured:
                post(connection, Release(source=SOURCE, op_id=id, reservation_id=kept.money_id), now)
            return {"id": id, "reservation": reservation}

        _lock(connection, [row])
        return once(connection, id, "release", {"reservation": reservation}, now, do)

    def enquire(self, connection: Connection, use: Use, now: datetime) -> dict[str, Any]:
        """What the use would take and cost now, and whether that could be had. Nothing is changed."""
        customer, use = self._customer(connection, use.subscriber), _dated(use, now)
        drawn, left = _draw(connection, customer, use)
        why = barred(connection, customer.subscriber, customer.account)
        rest = None
        if left and use.tariff:
            rest = self._rater.rate(connection, customer, use.tariff, left, _at(use), use.destination)
        elif left:
            why = why or f"{left} {use.unit} are in no bucket, and no tariff is named"
        amount = 0 if rest is None else due(rest, use.pays)
        if why is None and amount > 0 and not could_pay(connection, customer, use.pays, amount):
            why = "there is not enough money"
        return {
            "subscriber": customer.subscriber, "account": customer.account, "quantity": use.quantity,
            "units": _units(drawn), "rated": left, "net": 0 if rest is None else rest.net,
            "tax": 0 if rest is None else rest.tax, "due": amount, "currency": customer.currency,
            "possible": why is None, "obstacle": why or "",
        }  # fmt: skip

    def _open(self, connection: Connection, use: Use, now: datetime) -> Customer:
        if use.at is not None and use.at > now + AHEAD:
            raise BalanceError("bad_amount", f"at {use.at.isoformat()}: has not come yet")
        customer = self._customer(connection, use.subscriber)
        lock_purses(connection, [(customer.subscriber, customer.account)])
        return customer

    def _customer(self, connection: Connection, subscriber: str) -> Customer:
        try:
            return customer_of(connection, subscriber)
        except StandingError as error:
            raise BalanceError("unknown_subscriber", str(error)) from None

    def _allowed(self, connection: Connection, customer: Customer) -> None:
        why = barred(connection, customer.subscriber, customer.account)
        if why is not None:
            raise BalanceError("barred", why)

    def _rest(
        self,
        connection: Connection,
        customer: Customer,
        use: Use,
        left: int,
        now: datetime,
        *,
        highest: bool = False,
        session: dict[str, Any] | None = None,
    ) -> Rest | None:
        if not left:
            return None
        if not use.tariff:
            raise BalanceError("limit", f"{left} {use.unit} are in no bucket of {customer.subscriber}; name a tariff")
        self._rater.agree(connection, customer, use.tariff, _at(use), now, use.pays)
        return self._rater.rate(
            connection, customer, use.tariff, left, _at(use), use.destination, highest=highest, session=session
        )

    def _settle_money(
        self,
        connection: Connection,
        id: str,
        kept: Row[Any],
        rest: Rest | None,
        pays: Pays,
        now: datetime,
        *,
        stays: bool,
    ) -> tuple[Paid | None, int]:
        """Charge out of what is still set aside; where that does not do, give it back and charge afresh.

        Also what is charged or given back by then of all that was set aside. With ``stays`` the rest is kept.
        """
        left = kept.money - kept.captured
        held_back = kept.money_id is not None and left > 0
        amount = 0 if rest is None else due(rest, pays)
        fits = held_back and 0 <= amount <= left
        # What was made cheaper is a credit of its own, and what costs nothing yet leaves what is set aside.
        freed = left if not stays or amount > left else max(0, amount)
        if kept.share_id is not None and freed:
            change_share(connection, kept.share_id, reserved=-freed)
        if fits and rest is not None:
            capture = Capture(
                source=SOURCE, op_id=id, reservation_id=kept.money_id, amount=amount, effective_at=rest.at,
                tariff_version_id=rest.version.version_id, release_rest=not stays,
            )  # fmt: skip
            transfer = post(connection, capture, now)
            owner = select(_ledger_reservations.c.owner).where(_ledger_reservations.c.id == kept.money_id)
            paid = Paid(connection.execute(owner).scalar_one(), kept.share_id, transfer, amount)
            return paid, kept.captured + freed
        if held_back and freed == left:
            post(connection, Release(source=GIVEN_BACK, op_id=id, reservation_id=kept.money_id), now)
        return None if rest is None else charge(connection, id, rest, pays, now), kept.captured + freed

    def _answer(
        self,
        connection: Connection,
        id: str,
        use: Use,
        drawn: list[Drawn],
        rest: Rest | None,
        paid: Paid | None,
        now: datetime,
        reservation: str | None = None,
        record: str = "",
        session: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        usage, charged = record or id, None
        goes_on = None if session is None else session["record"]
        if rest is not None and paid is not None:
            pays = UNBILLED if use.pays == UNBILLED else PREPAID
            if pays == PREPAID:
                book_tax(connection, id, rest, now)
            charged = self._rater.keep(connection, usage, rest, paid.owner, pays, paid.transfer, now, goes_on)
            if paid.share is not None:
                change_share(connection, paid.share, used=paid.amount)
                move(
                    connection, None, -paid.amount, "use", now, share=paid.share, usage=usage, transfer=paid.transfer
                )  # fmt: skip
        return {
            "id": id, "reservation": reservation, "units": _units(drawn), "rated": 0 if rest is None else rest.quantity,
            "net": 0 if rest is None else rest.net, "charged": 0 if paid is None else paid.amount,
            "currency": None if rest is None else rest.version.currency,
            "payer": None if paid is None else paid.owner, "share": None if paid is None else paid.share,
            "charge": charged, "transfer": None if paid is None else paid.transfer,
        }  # fmt: skip


def expire_usage(connection: Connection, now: datetime, most: int = 1000) -> list[str]:
    """Close at most ``most`` reservations whose time is over; their ids. The ledger ends those of money itself."""
    due_now = connection.execute(
        select(_reservations)
        .where(_reservations.c.state == OPEN, _reservations.c.expires_at <= now)
        .order_by(_reservations.c.id)
        .limit(most)
    ).all()
    _lock(connection, due_now)
    ended = []
    for row in due_now:
        # Others may have committed a part of it before the lock was ours.
        kept = connection.execute(select(_reservations).where(_reservations.c.id == row.id).with_for_update()).one()
        if kept.state == OPEN:
            _give_back(connection, kept, "expired", now)
            ended.append(row.id)
    return ended


def _reservation(connection: Connection, reservation: str) -> Row[Any]:
    row = connection.execute(select(_reservations).where(_reservations.c.id == reservation)).first()
    if row is None:
        raise BalanceError("unknown_reservation", f"reservation {reservation}: there is none")
    return row


def _lock(connection: Connection, reserved: Sequence[Row[Any]]) -> None:
    lock_purses(connection, [(row.use["subscriber"], row.account_id) for row in reserved])


def _opened(connection: Connection, reservation: str, now: datetime) -> Row[Any]:
    row = _reservation(connection, reservation)
    if row.state != OPEN:
        raise BalanceError("reservation_closed", f"reservation {reservation}: it is {row.state}")
    if row.expires_at <= now:
        raise BalanceError("reservation_closed", f"reservation {reservation}: its time is over")
    return row


def _give_back(connection: Connection, row: Row[Any], state: str, now: datetime) -> None:
    settle_holds(connection, held(connection, row.id), row.id, 0, row.id, now)
    if row.share_id is not None:
        change_share(connection, row.share_id, reserved=row.captured - row.money)
    _close(connection, row.id, state)


def _go_on(connection: Connection, row: Row[Any], used: int, captured: int, rest: Rest | None, record: str) -> None:
    """Keep a reservation open after a commit of a part."""
    values: dict[str, Any] = {"used": row.used + used, "captured": captured}
    if rest is not None:
        began = record if row.session is None else row.session["record"]
        values["session"] = session_of(rest, began)
    connection.execute(update(_reservations).where(_reservations.c.id == row.id).values(**values))


def _close(connection: Connection, reservation: str, state: str) -> None:
    connection.execute(update(_reservations).where(_reservations.c.id == reservation).values(state=state))


def _dated(use: Use, now: datetime) -> Use:
    return use if use.at is not None else msgspec.structs.replace(use, at=now)


def _at(use: Use) -> datetime:
    assert use.at is not None, "use is dated before it is looked at"
    return use.at


def _draw(connection: Connection, customer: Customer, use: Use) -> tuple[list[Drawn], int]:
    buckets = drawable(connection, customer.subscriber, customer.account, use.unit)
    return draw(buckets, use.quantity, _at(use))


def _content(use: Use) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.to_builtins(use)
    return content


def _units(drawn: list[Drawn]) -> list[dict[str, Any]]:
    return [{"bucket": each.bucket, "share": each.share, "amount": each.amount} for each in drawn]
