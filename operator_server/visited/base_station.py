"""The base station: what a mobile in our network hears about feature codes, and what its wishes lead to.

A message of a mobile is signed and counted; it is taken once. What it leads to here is one transaction; home is asked
between transactions, so that no lock waits for another operator. A record of what home owes us is on the disk before
home is told of it, and is told until home has acknowledged it.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Row, select, update
from twisted.logger import Logger

from charging.price_text import money_text
from operator_server.context import Operator
from operator_server.store.feed import record
from operator_server.store.rows import add, table
from operator_server.store.store import transact
from operator_server.store.visited import SettlementRecord, VisitorRow
from operator_server.visited.codes import Held, held_features
from operator_server.visited.faults import HomeRefused, HomeUnreachable, VisitedError
from operator_server.visited.partners import active_partner
from operator_server.visited.peer import HomeSide, remote_peer
from operator_server.visited.records import Claim, record_row, row_of
from operator_server.visited.settling import hand_over
from operator_server.visited.terminals import own_terminal
from operator_server.visited.wire import Vouched, Wanted
from signalling.clock import from_micros, to_micros
from signalling.codes import messages as m
from signalling.codes.table import CodeError, Dialled, FeatureCode, by_feature, read_dialled
from signalling.documents import Confirmation, Quote, decode_document
from signalling.envelope import BodyError
from signalling.ids import new_id
from signalling.messages import Signed
from signalling.proof import ProofError, check

log = Logger()
T = TypeVar("T")
NOT_AVAILABLE = "feature not available"
UNAVAILABLE = m.Tone("busy", NOT_AVAILABLE)
HomeOf = Callable[[Row[Any]], HomeSide]


class BaseStation:
    """Answers mobiles over an operator's database. ``home_of``: how a partner is reached."""

    def __init__(self, operator: Operator, home_of: HomeOf | None = None) -> None:
        self._operator = operator
        self._network = operator.settings.operator.server_id
        self._home_of = home_of or (lambda partner: remote_peer(operator, partner))

    def overhead(self) -> m.Overhead:
        """What is broadcast."""
        with self._operator.engine.connect() as connection:
            held = held_features(connection)
        return m.Overhead(self._network, held.sequence, held.features.download)

    def answer(self, signed: Signed) -> list[m.Heard]:
        """What a mobile hears on its message. Blocks on the database, and on home."""
        try:
            uplink = m.decode_uplink(signed.document)
        except CodeError as no:
            return [m.Refusal("bad_message", str(no)[:300])]
        try:
            if uplink.network != self._network:
                raise VisitedError("unknown_network", f"this is {self._network}, not {uplink.network}")
            if isinstance(uplink.message, m.Register):
                return self._register(signed, uplink, uplink.message)
            return self._go_on(signed, uplink)
        except HomeUnreachable as no:
            log.warn("{home}: {reason}", home=uplink.home, reason=no.reason)
            return [m.Refusal(no.code, f"{uplink.home} cannot be reached just now; try again later"[:300])]
        except VisitedError as no:
            return [m.Refusal(no.code, no.reason[:300])]

    def _do(self, operation: Callable[[Connection], T]) -> T:
        return transact(self._operator.engine, operation)

    @property
    def _now(self) -> datetime:
        return self._operator.clock.now()

    # Registration.

    def _register(self, signed: Signed, uplink: m.Uplink, message: m.Register) -> list[m.Heard]:
        now = self._now
        with self._operator.engine.connect() as connection:
            held = held_features(connection)
            known = _visitor_row(connection, uplink.home, uplink.terminal)
            if known is not None and uplink.counter <= known.heard:
                raise _replayed(uplink)
            own = uplink.home == self._network
            partner = None if own else active_partner(connection, uplink.home)
            if own:
                vouched = Vouched(uplink.terminal, *own_terminal(connection, uplink.terminal, now), [])
        if partner is not None:
            vouched = self._home_of(partner).vouch(signed)
        if vouched.terminal != uplink.terminal:
            raise VisitedError("bad_proof", f"{uplink.home} vouches for another terminal")
        _check_proof(vouched.public_key, signed)
        self._do(lambda c: self._keep_visitor(c, uplink, message, vouched, now))
        heard: list[m.Heard] = [m.Registered(self._network)]
        if message.sequence == 0 and held.sequence and held.features.download == "registration":
            heard.append(self._codes(held, "access", own, paid=known.paid if known is not None else ()))
            self._tell_who_has_no_display(uplink, held, message.display)
        return [*heard, m.StatusRequest()]

    def _keep_visitor(
        self, connection: Connection, uplink: m.Uplink, message: m.Register, vouched: Vouched, now: datetime
    ) -> None:
        values: dict[str, Any] = {
            "public_key": vouched.public_key, "language": vouched.language, "display": message.display,
            "heard": uplink.counter, "codes": [msgspec.to_builtins(each) for each in vouched.codes],
            "registered_at": now,
        }  # fmt: skip
        known = _visitor_row(connection, uplink.home, uplink.terminal)
        if known is None:
            add(connection, VisitorRow(network=uplink.home, terminal=uplink.terminal, **values))
        elif uplink.counter <= known.heard:
            raise _replayed(uplink)
        else:
            # What was accepted is owed, whatever the mobile forgot.
            waiting = known.waiting if known.waiting.get("record") else {}
            _change(connection, uplink, **values, waiting=waiting)
        record(connection, now, "visitor_registered", reference=f"{uplink.home}/{uplink.terminal}")

    def _codes(
        self, held: Held, channel: m.Channel, own: bool, only: FeatureCode | None = None, paid: Container[str] = ()
    ) -> m.FeatureCodes:
        """The codes that cost nothing or are paid for; to our own mobiles all: they buy features as anything else."""
        features = [only] if only is not None else [each for each in held.features.feature if each.supported]
        if own:
            features = [msgspec.structs.replace(each, ef=0) for each in features]
        return m.FeatureCodes(
            held.sequence, channel, [each for each in features if not each.ef or each.feature in paid], only is None
        )

    def _tell_who_has_no_display(self, uplink: m.Uplink, held: Held, display: bool) -> None:
        """Features that home does not have are told by mail where the mobile cannot show them."""
        if display or uplink.home == self._network:
            return
        with self._operator.engine.connect() as connection:
            visitor = _visitor(connection, uplink)
            partner = active_partner(connection, uplink.home)
        free = self._codes(held, "access", own=False).codes
        new = [each for each in free if each.feature not in _home_codes(visitor) and each.feature not in visitor.told]
        if not new:
            return
        try:
            self._home_of(partner).notify(uplink.terminal, [each.title for each in new])
        except (HomeRefused, HomeUnreachable) as no:
            reason = no.reason
            self._do(
                lambda c: record(c, self._now, "visitor_not_told", reference=f"{uplink.home}/{uplink.terminal}",
                                 reason=reason)
            )  # fmt: skip
            return
        told = [*visitor.told, *(each.feature for each in new)]
        self._do(lambda c: _change(c, uplink, told=told))

    # What else a mobile says.

    def _go_on(self, signed: Signed, uplink: m.Uplink) -> list[m.Heard]:
        visitor, held = self._do(lambda c: self._heard(c, signed, uplink))
        own = uplink.home == self._network
        match uplink.message:
            case m.PageResponse():
                self._tell_who_has_no_display(uplink, held, visitor.display)
                return [self._codes(held, "paging", own, paid=visitor.paid)]
            case m.StatusResponse(features=features):
                self._do(lambda c: _change(c, uplink, features=list(features)))
                return []
            case m.NewCodesRead(features=features):
                told = sorted({*visitor.told, *features} & by_feature(held.features.feature).keys())
                self._do(lambda c: _change(c, uplink, told=told))
                return []
            case m.Origination(digits=digits, local=local):
                return self._originate(uplink, visitor, held, digits, local)
            case m.OriginationContinuation(digits=digits) | m.Activate(digits=digits):
                code, dialled = _named(held, digits)
                return self._switch(uplink, visitor, code, dialled, own)
            case m.EfResponse():
                return self._page_answered(uplink, visitor, held, uplink.message)
            case m.SurchargeAnswer():
                return self._surcharge_answered(uplink, visitor, held, uplink.message)
            case _:
                raise VisitedError("bad_message", "a registration is made by itself")

    def _heard(self, connection: Connection, signed: Signed, uplink: m.Uplink) -> tuple[Row[Any], Held]:
        """Whether the message is the registered mobile's, and new; its counter is used up."""
        visitor = _visitor(connection, uplink)
        _check_proof(bytes(visitor.public_key), signed)
        if uplink.counter <= visitor.heard:
            raise _replayed(uplink)
        if uplink.home != self._network:
            active_partner(connection, uplink.home)
        _change(connection, uplink, heard=uplink.counter)
        return visitor, held_features(connection)

    # Features.

    def _originate(self, uplink: m.Uplink, visitor: Row[Any], held: Held, digits: str, local: bool) -> list[m.Heard]:
        here, at_home = by_feature(held.features.feature), _home_codes(visitor)
        dialled = None if local else _read(digits, list(at_home.values()))
        if dialled is None:
            dialled, local = _read(digits, held.features.feature), True
        code = None if dialled is None else here.get(dialled.feature)
        if code is None or dialled is None or not code.supported:
            return [UNAVAILABLE, m.Released()]
        own = uplink.home == self._network
        if code.ef and not own:
            return self._originate_surcharged(uplink, visitor, code, dialled, local)
        if local or at_home[code.feature].same_codes(code):
            return self._switch(uplink, visitor, code, dialled, own)
        return [self._codes(held, "paging", own, code)]

    def _switch(
        self, uplink: m.Uplink, visitor: Row[Any], code: FeatureCode, dialled: Dialled, own: bool
    ) -> list[m.Heard]:
        """Switch a feature that is free, or paid for."""
        if not code.supported:
            return [UNAVAILABLE, m.Released()]
        if code.ef and not own and code.feature not in visitor.paid:
            raise VisitedError("surcharge_first", f"{code.title} costs something here; it was not accepted yet")
        on = dialled.direction == "activate"
        active = sorted({*visitor.active, code.feature} if on else {*visitor.active} - {code.feature})
        waiting = {} if visitor.waiting.get("feature") == code.feature else visitor.waiting

        def switch(connection: Connection) -> None:
            _change(connection, uplink, active=active, waiting=waiting)
            record(
                connection, self._now, "feature_switched", reference=f"{uplink.home}/{uplink.terminal}",
                feature=code.feature, on=on,
            )  # fmt: skip

        self._do(switch)
        return [m.Acknowledged(code.feature, on), m.Released()]

    def _originate_surcharged(
        self, uplink: m.Uplink, visitor: Row[Any], code: FeatureCode, dialled: Dialled, local: bool
    ) -> list[m.Heard]:
        if code.feature in visitor.paid:
            if local:
                return self._switch(uplink, visitor, code, dialled, own=False)
            return self._feature_key(uplink, code, bytes.fromhex(visitor.paid[code.feature]))
        waiting = visitor.waiting
        if waiting.get("record"):
            return self._try_again(uplink, code, waiting)
        outstanding = waiting.get("feature")
        if outstanding not in (None, code.feature) and to_micros(self._now) < waiting["until"]:
            raise VisitedError("outstanding", f"answer first what was asked about {outstanding}")
        until = to_micros(self._now) + 60_000_000
        self._do(lambda c: _change(c, uplink, waiting={"feature": code.feature, "ef": code.ef, "until": until}))
        return [m.GeneralPage(code.ef)]

    def _page_answered(self, uplink: m.Uplink, visitor: Row[Any], held: Held, said: m.EfResponse) -> list[m.Heard]:
        waiting = visitor.waiting
        if waiting.get("ef") != said.ef or waiting.get("quote"):
            raise VisitedError("not_asked", f"feature number {said.ef} was not asked for")
        code = by_feature(held.features.feature).get(waiting["feature"])
        if not said.available or code is None or code.ef != said.ef or not code.supported:
            self._do(lambda c: _change(c, uplink, waiting={}))
            return [UNAVAILABLE, m.Released()]
        owed = held.features.surcharge[code.feature].money()
        try:
            home = self._partner_home(uplink)
            signed = home.quote(uplink.terminal, Wanted(code.feature, code.ef, owed.micros, owed.currency))
            quote = _opened(signed)
        except VisitedError:
            self._do(lambda c: _change(c, uplink, waiting={}))
            raise
        now_waiting = waiting | {
            "quote": quote.quote, "until": quote.expires, "amount": owed.micros, "currency": owed.currency,
        }  # fmt: skip
        self._do(lambda c: _change(c, uplink, waiting=now_waiting))
        price = money_text(quote.amount + quote.tax, quote.currency, visitor.language or "en")
        return [m.SurchargeNotice(code.feature, code.ef, f"Toll for {code.title}: {price}"[:300], signed)]

    def _surcharge_answered(
        self, uplink: m.Uplink, visitor: Row[Any], held: Held, said: m.SurchargeAnswer
    ) -> list[m.Heard]:
        waiting = visitor.waiting
        code = by_feature(held.features.feature).get(said.feature)
        if waiting.get("feature") != said.feature or "quote" not in waiting or waiting.get("record") or code is None:
            raise VisitedError("not_asked", f"{said.feature} was not asked for")
        if said.confirmation is None:
            self._do(lambda c: _change(c, uplink, waiting={}))
            self._decline(uplink, waiting["quote"])
            return [m.Released()]
        claim = self._claim(uplink, waiting, said.confirmation)
        self._do(lambda c: self._keep_claim(c, uplink, waiting, claim))
        return self._hand_over(uplink, code, claim.id)

    def _claim(self, uplink: m.Uplink, waiting: dict[str, Any], confirmation: Signed) -> Claim:
        try:
            yes = decode_document(Confirmation, confirmation.document)
        except BodyError as no:
            raise VisitedError("bad_document", str(no)) from None
        if yes.quote != waiting["quote"]:
            raise VisitedError("not_asked", f"quote {yes.quote} was not shown")
        now = to_micros(self._now)
        return Claim(
            id=new_id(now),
            visited=self._network,
            home=uplink.home,
            terminal=uplink.terminal,
            feature=waiting["feature"],
            ef=waiting["ef"],
            quote=yes.quote,
            agreement=yes.agreement,
            amount=waiting["amount"],
            currency=waiting["currency"],
            agreed_at=now,
            confirmation=confirmation,
        )

    def _keep_claim(self, connection: Connection, uplink: m.Uplink, waiting: dict[str, Any], claim: Claim) -> None:
        add(connection, row_of(claim, "receivable", from_micros(claim.agreed_at)))
        _change(connection, uplink, waiting=waiting | {"record": claim.id})

    def _try_again(self, uplink: m.Uplink, code: FeatureCode, waiting: dict[str, Any]) -> list[m.Heard]:
        """What was accepted before is still to be acknowledged by home; nothing else may be asked meanwhile."""
        if waiting["feature"] != code.feature:
            raise VisitedError("outstanding", f"{waiting['feature']} is still to be acknowledged by {uplink.home}")
        return self._hand_over(uplink, code, waiting["record"])

    def _hand_over(self, uplink: m.Uplink, code: FeatureCode, record_id: str) -> list[m.Heard]:
        with self._operator.engine.connect() as connection:
            row = record_row(connection, record_id)
        assert row is not None
        hand_over(self._operator, row, self._home_of)
        with self._operator.engine.connect() as connection:
            visitor = _visitor(connection, uplink)
            reason = connection.execute(
                select(table(SettlementRecord).c.state, table(SettlementRecord).c.reason).where(
                    table(SettlementRecord).c.id == record_id
                )
            ).one()
        if code.feature in visitor.paid:
            return self._feature_key(uplink, code, bytes.fromhex(visitor.paid[code.feature]))
        if reason.state == "refused":
            return [m.Refusal("refused", reason.reason[:300]), m.Released()]
        raise HomeUnreachable(f"record {record_id} waits")

    def _feature_key(self, uplink: m.Uplink, code: FeatureCode, key: bytes) -> list[m.Heard]:
        until = to_micros(self._now) + 60_000_000
        waiting = {"feature": code.feature, "until": until}
        self._do(lambda c: _change(c, uplink, waiting=waiting))
        return [m.FeatureKey(code.ef, key, code)]

    def _decline(self, uplink: m.Uplink, quote: str) -> None:
        try:
            self._partner_home(uplink).decline(uplink.terminal, quote)
        except (HomeRefused, HomeUnreachable):
            # The quote runs out by itself.
            return

    def _partner_home(self, uplink: m.Uplink) -> HomeSide:
        with self._operator.engine.connect() as connection:
            return self._home_of(active_partner(connection, uplink.home))


def _read(digits: str, codes: list[FeatureCode]) -> Dialled | None:
    try:
        return read_dialled(digits, codes)
    except CodeError as no:
        raise VisitedError("bad_digits", str(no)) from None


def _named(held: Held, digits: str) -> tuple[FeatureCode, Dialled]:
    dialled = _read(digits, held.features.feature)
    if dialled is None:
        raise VisitedError("bad_digits", f"{digits} is no code of this network")
    return by_feature(held.features.feature)[dialled.feature], dialled


def _home_codes(visitor: Row[Any]) -> dict[str, FeatureCode]:
    return by_feature(msgspec.convert(visitor.codes, list[FeatureCode]))


def _opened(signed: Signed) -> Quote:
    try:
        return decode_document(Quote, signed.document)
    except BodyError as no:
        raise HomeUnreachable(f"home sends no quote: {no}") from None


def _check_proof(public_key: bytes, signed: Signed) -> None:
    try:
        check(public_key, m.PURPOSE, signed)
    except ProofError as no:
        raise VisitedError("bad_proof", str(no)) from None


def _replayed(uplink: m.Uplink) -> VisitedError:
    return VisitedError("replayed", f"message {uplink.counter} of {uplink.terminal} was heard before")


def _visitor_row(connection: Connection, network: str, terminal: str) -> Row[Any] | None:
    rows = table(VisitorRow)
    return connection.execute(select(rows).where(rows.c.network == network, rows.c.terminal == terminal)).first()


def _visitor(connection: Connection, uplink: m.Uplink) -> Row[Any]:
    row = _visitor_row(connection, uplink.home, uplink.terminal)
    if row is None:
        raise VisitedError("not_registered", f"terminal {uplink.terminal} of {uplink.home} is not registered here")
    return row


def _change(connection: Connection, uplink: m.Uplink, **values: Any) -> None:
    rows = table(VisitorRow)
    connection.execute(
        update(rows).where(rows.c.network == uplink.home, rows.c.terminal == uplink.terminal).values(**values)
    )
