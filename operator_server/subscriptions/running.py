"""The calendar of an agreement: it begins, its trial ends, its periods are charged, it ends.

:func:`advance` does whatever is due at an instant and says when it is to be called again. All it did and the mark of it
are one transaction, and each period is charged under its own name; so it may be stopped and repeated at any point.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, select, update
from sqlalchemy.exc import DBAPIError
from twisted.logger import Logger

from charging.modes import mode_kind
from charging.price_text import money_text, price_text
from charging.subscriptions import Plan, Span, day_of, midnight, minimum_until, period_price, plan_of, span
from operator_server.counting.grants import release_grants
from operator_server.settings import Settings
from operator_server.store.dealings import Agreement, Installation, QuoteRow
from operator_server.store.feed import record
from operator_server.store.parties import Account
from operator_server.store.rows import add, table
from operator_server.store.store import transact
from operator_server.store.terms import AgreementPrice, AgreementTerm
from operator_server.subscriptions.settling import Due, NotSettled, settle
from operator_server.validation.notices import write_notice
from signalling.documents import Quote, decode_document
from signalling.messages import ModeTerms

SOURCE = "subscription"
"""The ledger's name of this client."""

RETRY = timedelta(days=1)
"""How long after a period could not be paid ahead it is tried again."""

GRACE = timedelta(days=7)
"""How long it is tried; then the agreement ends."""

STUCK = timedelta(hours=1)
"""How long after what was due failed unexpectedly it is tried again."""

log = Logger()

_TEXTS = {
    "en": {
        "trial_ends": "Your trial of {product} ends on {day}; after that: {price}. You can cancel until then.",
        "trial_ended": "Your trial of {product} has ended; from now on: {price}.",
        "ended": "Your agreement on {product} has ended.",
        "unpaid": "{amount} for {product} could not be paid from your balance. Please top up within {days} days.",
    },
    "de": {
        "trial_ends": "Ihr Test von {product} endet am {day}; danach gilt: {price}. Bis dahin können Sie kündigen.",
        "trial_ended": "Ihr Test von {product} ist beendet; ab jetzt gilt: {price}.",
        "ended": "Ihr Vertrag über {product} ist beendet.",
        "unpaid": "{amount} für {product} konnten nicht von Ihrem Guthaben abgebucht werden. "
        "Bitte laden Sie innerhalb von {days} Tagen auf.",
    },
}


def terms_of(connection: Connection, agreement: Row[Any]) -> ModeTerms:
    """The terms that were agreed."""
    quotes = table(QuoteRow)
    document = connection.execute(select(quotes.c.document).where(quotes.c.id == agreement.quote_id)).scalar_one()
    return decode_document(Quote, document).mode


def begin(connection: Connection, agreement: Row[Any], terms: ModeTerms, settings: Settings, now: datetime) -> None:
    """Start the calendar of an agreement whose delivery is granted, and charge what is due at once.

    A trial of so many days does not count the day on which it begins. Raises :class:`NotSettled`.
    """
    kind = mode_kind(terms.kind)
    if not kind.runs(terms):
        return
    zone = settings.operator.zone
    after_trial = day_of(now, zone) + timedelta(days=terms.trial_days + 1)
    trial_ends = midnight(after_trial, zone) if terms.trial_days else None
    charged_from = trial_ends or now
    minimum = None
    if kind.periodic and terms.minimum_periods:
        plan = plan_of(terms, day_of(charged_from, zone))
        minimum = midnight(minimum_until(plan, terms.minimum_periods), zone)
    warned = trial_ends is not None and terms.trial_warning_days
    add(
        connection,
        AgreementTerm(
            agreement_id=agreement.id,
            state="running" if trial_ends is None else "trial",
            started_at=now,
            trial_ends_at=trial_ends,
            warn_at=midnight(after_trial - timedelta(days=terms.trial_warning_days), zone) if warned else None,
            charged_from=charged_from,
            minimum_until=minimum,
            next_at=now,
        ),
    )
    run = _Run(connection, agreement, terms, settings, now)
    run.advance()
    if run.unpaid:
        raise NotSettled(run.unpaid)


def advance(connection: Connection, agreement: str, settings: Settings, now: datetime) -> None:
    """Do what is due for an agreement by now."""
    agreements = table(Agreement)
    # Who cancels locks the agreement before its calendar too.
    row = connection.execute(select(agreements).where(agreements.c.id == agreement).with_for_update()).one()
    _Run(connection, row, terms_of(connection, row), settings, now).advance()


def advance_due(engine: Engine, settings: Settings, now: datetime) -> int:
    """Do what is due for every agreement, each in a transaction of its own; how many there were.

    One that fails is told in the feed (``agreement_stuck``) and tried again after :data:`STUCK`; the others go on.
    """
    term = table(AgreementTerm)
    due = select(term.c.agreement_id).where(term.c.next_at <= now).order_by(term.c.next_at).limit(_AT_ONCE)
    count = 0
    while True:
        with engine.connect() as connection:
            waiting = connection.execute(due).scalars().all()
        for agreement in waiting:
            try:
                transact(engine, partial(advance, agreement=agreement, settings=settings, now=now))
                count += 1
            except DBAPIError:
                # The store's own trouble meets all of them.
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this agreement's, and others are due
                log.failure("agreement {agreement}: what is due could not be done", agreement=agreement)
                transact(engine, partial(_set_aside, agreement=agreement, now=now, why=error))
        if len(waiting) < _AT_ONCE:
            return count


def _set_aside(connection: Connection, agreement: str, now: datetime, why: Exception) -> None:
    term, agreements = table(AgreementTerm), table(Agreement)
    row = connection.execute(select(agreements).where(agreements.c.id == agreement)).one()
    record(
        connection, now, "agreement_stuck", terminal=row.terminal_id, subscriber=row.subscriber_id,
        account=row.account_id, reference=agreement, why=f"{type(why).__name__}: {why}",
        again=(now + STUCK).isoformat(),
    )  # fmt: skip
    connection.execute(update(term).where(term.c.agreement_id == agreement).values(next_at=now + STUCK))


_AT_ONCE = 500


def end(connection: Connection, agreement: Row[Any], settings: Settings, now: datetime, reason: str) -> None:
    """End an agreement now: its use is granted no further, and its user is told."""
    agreements, installation, term = table(Agreement), table(Installation), table(AgreementTerm)
    connection.execute(update(agreements).where(agreements.c.id == agreement.id).values(state="ended"))
    connection.execute(
        update(term).where(term.c.agreement_id == agreement.id).values(state="ended", next_at=None, reason=reason)
    )
    installed = select(installation.c.id).where(installation.c.agreement_id == agreement.id)
    for each in connection.execute(installed).scalars():
        release_grants(connection, each, now)
    record(
        connection, now, "agreement_ended", terminal=agreement.terminal_id, subscriber=agreement.subscriber_id,
        account=agreement.account_id, reference=agreement.id, product=agreement.product, reason=reason,
    )  # fmt: skip
    tell(connection, agreement, now, "ended", "ended")


def tell(
    connection: Connection, agreement: Row[Any], now: datetime, state: str, name: str, *, dedup: str = "", **fields: Any
) -> None:
    """A message to the agreement's user, in the account's language, once for each ``dedup``."""
    texts = _TEXTS.get(language_of(connection, agreement.account_id), _TEXTS["en"])
    notify(connection, agreement, now, state, texts[name].format(product=agreement.product, **fields), dedup=dedup)


def notify(
    connection: Connection, agreement: Row[Any], now: datetime, state: str, text: str, *, dedup: str = ""
) -> None:
    """A message about an agreement to its user."""
    write_notice(
        connection,
        now,
        terminal=agreement.terminal_id,
        subscriber=agreement.subscriber_id,
        kind="charge",
        subject=agreement.id,
        state=state,
        text=text,
        dedup=f"agreement/{agreement.id}/{state}/{dedup}",
    )


def language_of(connection: Connection, account: str) -> str:
    """The language of an account."""
    accounts = table(Account)
    return str(connection.execute(select(accounts.c.language).where(accounts.c.id == account)).scalar() or "en")


def _amount_at(connection: Connection, agreement: str, terms: ModeTerms, at: datetime) -> int:
    """Micros net that a whole period costs which begins at an instant: as agreed, or as announced since."""
    price = table(AgreementPrice)
    announced = (
        select(price.c.amount)
        .where(price.c.agreement_id == agreement, price.c.effective_at <= at)
        .order_by(price.c.effective_at.desc())
    )
    found = connection.execute(announced).scalar()
    return terms.amount if found is None else int(found)


@dataclass
class _Run:
    """One advance of one agreement."""

    connection: Connection
    agreement: Row[Any]
    terms: ModeTerms
    settings: Settings
    now: datetime
    unpaid: str = ""

    def advance(self) -> None:
        terms = table(AgreementTerm)
        row = self.connection.execute(
            select(terms).where(terms.c.agreement_id == self.agreement.id).with_for_update()
        ).one()
        self.term = AgreementTerm(**row._mapping)
        if self.term.state == "ended":
            return
        self._warn()
        if self.term.state == "trial":
            self._end_trial()
        if self.term.state == "running" and mode_kind(self.terms.kind).periodic:
            self._charge_periods()
        ends = self.term.ends_at
        self.term.next_at = self._next()
        values = self.term.model_dump(exclude={"agreement_id"})
        self.connection.execute(update(terms).where(terms.c.agreement_id == self.agreement.id).values(**values))
        if ends is not None and ends <= self.now:
            end(self.connection, self.agreement, self.settings, self.now, self.term.reason or "cancelled")

    @property
    def zone(self) -> tzinfo:
        return self.settings.operator.zone

    def _warn(self) -> None:
        term = self.term
        if term.warn_at is None or term.warn_at > self.now or term.trial_ends_at is None:
            return
        if term.state == "trial" and term.ends_at is None and self.now < term.trial_ends_at:
            day = (term.trial_ends_at - timedelta(microseconds=1)).astimezone(self.zone).date().isoformat()
            tell(self.connection, self.agreement, self.now, "trial_ends", "trial_ends", day=day, price=self._price())
            self._event("trial_ends", until=term.trial_ends_at.isoformat())
        term.warn_at = None

    def _end_trial(self) -> None:
        term = self.term
        if term.trial_ends_at is None or term.trial_ends_at > self.now:
            return
        if term.ends_at is not None and term.ends_at <= term.trial_ends_at:
            return
        if mode_kind(self.terms.kind).once and not self._settle("trial", self.terms.amount, term.trial_ends_at, None):
            return
        term.state = "running"
        self._event("trial_ended")
        tell(self.connection, self.agreement, self.now, "trial_ended", "trial_ended", price=self._price())

    def _charge_periods(self) -> None:
        term = self.term
        while True:
            start, stop, days = self._period(term.periods)
            due = start if self.terms.charged != "arrears" else stop
            if due > self.now or (term.ends_at is not None and start >= term.ends_at):
                return
            at = due if self.terms.charged != "arrears" else stop - timedelta(microseconds=1)
            whole = _amount_at(self.connection, self.agreement.id, self.terms, start)
            net = period_price(whole, days, self.agreement.currency)
            if not self._settle(f"{term.periods}", net, max(at, term.started_at), (start, stop)):
                return
            term.periods += 1

    def _period(self, number: int) -> tuple[datetime, datetime, Span]:
        """First instant and end of a period, and its days."""
        plan = self.plan()
        of_days = span(plan, number)
        start = midnight(of_days.start, self.zone) if number else self.term.charged_from
        return start, midnight(of_days.end, self.zone), of_days

    def plan(self) -> Plan:
        return plan_of(self.terms, day_of(self.term.charged_from, self.zone))

    def _settle(self, name: str, net: int, at: datetime, service: tuple[datetime, datetime] | None) -> bool:
        due = Due(
            source=SOURCE,
            op_id=f"{self.agreement.id}:{name}",
            kind="period" if service is not None else "delivery",
            price=net,
            at=at,
            installation=self._installation(),
            service=service,
        )
        try:
            charge = settle(self.connection, self.agreement, self.terms, due, self.zone, self.now)
        except NotSettled as no:
            self._not_paid(str(no), net, at, name)
            return False
        self._event("charged", charge=charge.id, net=net, currency=charge.currency, period=charge.period)
        return True

    def _not_paid(self, why: str, net: int, since: datetime, name: str) -> None:
        self.unpaid = why
        amount = money_text(net, self.agreement.currency, language_of(self.connection, self.agreement.account_id))
        tell(self.connection, self.agreement, self.now, "unpaid", "unpaid", dedup=name, amount=amount, days=GRACE.days)
        self._event("unpaid", net=net, why=why)
        if self.now >= since + GRACE:
            self.term.ends_at, self.term.reason = self.now, "unpaid"

    def _installation(self) -> str | None:
        installation = table(Installation)
        found = self.connection.execute(
            select(installation.c.id).where(installation.c.agreement_id == self.agreement.id)
        ).scalar()
        return None if found is None else str(found)

    def _next(self) -> datetime | None:
        term = self.term
        instants = [each for each in (term.warn_at, term.ends_at) if each is not None]
        if term.state == "trial" and term.trial_ends_at is not None:
            instants.append(term.trial_ends_at)
        elif mode_kind(self.terms.kind).periodic:
            start, stop, _ = self._period(term.periods)
            instants.append(start if self.terms.charged != "arrears" else stop)
        if self.unpaid:
            return self.now + RETRY
        return min(instants) if instants else None

    def _price(self) -> str:
        language = language_of(self.connection, self.agreement.account_id)
        exact = self.terms.price_text != price_text(self.terms, language, exact=False)
        return price_text(msgspec.structs.replace(self.terms, trial_days=0), language, exact=exact)

    def _event(self, kind: str, **data: Any) -> None:
        record(
            self.connection, self.now, kind, terminal=self.agreement.terminal_id,
            subscriber=self.agreement.subscriber_id, account=self.agreement.account_id, reference=self.agreement.id,
            product=self.agreement.product, **data,
        )  # fmt: skip
