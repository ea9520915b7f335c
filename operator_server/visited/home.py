"""What a home network does for its subscribers elsewhere: vouches for them, quotes, agrees, makes the keys of features.

Each function is one transaction of its caller, raises :class:`VisitedError`, and then changes nothing if the caller
rolls back. Prices, agreements and charges are those of the negotiation desk and the ledger, as at home.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from charging.agreements import NotAgreed
from operator_server.context import Operator
from operator_server.counting.grants import UsageGrants
from operator_server.counting.tariffs import TariffVersions
from operator_server.delivery.desk import Deliveries
from operator_server.desk import Refused, Visitor
from operator_server.link.visitors import Stranger, read_visitors
from operator_server.negotiation import book
from operator_server.negotiation.desk import Negotiation
from operator_server.negotiation.menu import learn
from operator_server.offering.live import LiveOffers
from operator_server.parties import exists
from operator_server.store.dealings import Agreement, Installation
from operator_server.store.feed import record
from operator_server.store.parties import Terminal
from operator_server.store.rows import add, table
from operator_server.store.visited import Roamer, RoamingQuote, SettlementRecord
from operator_server.visited.codes import Sold, held_features
from operator_server.visited.faults import VisitedError
from operator_server.visited.money import post_record
from operator_server.visited.records import Claim, record_row, row_of
from operator_server.visited.wire import Settled, Vouched, Wanted
from signalling.clock import to_micros
from signalling.codes import messages as m
from signalling.codes.keys import FEATURES, feature_key, key_digest
from signalling.codes.table import CodeError
from signalling.documents import Confirmation, Quote, decode_document
from signalling.envelope import BodyError
from signalling.messages import Decline, Request, Signed
from signalling.money import Money, MoneyError, checked_currency, format_micros
from signalling.proof import ProofError, check


class Home:
    """The home network over an operator's live offers."""

    def __init__(self, operator: Operator, offers: LiveOffers) -> None:
        settings, keys = operator.settings, operator.keys
        self._vault = operator.vault
        self._offers = offers
        self.name = settings.operator.server_id
        self._negotiation = Negotiation(offers, keys, settings)
        usage = UsageGrants(TariffVersions(lambda: offers.tariffs), keys.signing, settings)
        self._deliveries = Deliveries(keys, operator.vault, usage, settings)

    def vouch(self, connection: Connection, network: str, signed: Signed, now: datetime) -> Vouched:
        """Check a registration that a visited network passes on, and say who it is.

        A registration counts once: its counter must be above the last one.
        """
        try:
            uplink = m.decode_uplink(signed.document)
        except CodeError as no:
            raise VisitedError("bad_registration", str(no)) from None
        if uplink.home != self.name or uplink.network != network or not isinstance(uplink.message, m.Register):
            raise VisitedError("bad_registration", f"not a registration of a terminal of {self.name} in {network}")
        visitor = self._visitor(connection, uplink.terminal, now)
        try:
            check(visitor.public_key, m.PURPOSE, signed)
        except ProofError as no:
            raise VisitedError("bad_proof", str(no)) from None
        roamer = self._roamer(connection, uplink.terminal)
        if uplink.counter <= roamer.heard:
            raise VisitedError("replayed", f"terminal {uplink.terminal}: message {uplink.counter} was heard before")
        rows = table(Roamer)
        connection.execute(
            update(rows)
            .where(rows.c.terminal_id == uplink.terminal)
            .values(network=network, heard=uplink.counter, registered_at=now)
        )
        record(
            connection, now, "roaming_registered", terminal=visitor.terminal, subscriber=visitor.subscriber,
            account=visitor.account, reference=network,
        )  # fmt: skip
        held = held_features(connection)
        return Vouched(visitor.terminal, visitor.public_key, visitor.language, held.features.feature)

    def quote(self, connection: Connection, network: str, terminal: str, wanted: Wanted, now: datetime) -> Signed:
        """Our quote to our subscriber for a feature that the visited network wants money of us for."""
        visitor = self._away(connection, network, terminal, now)
        try:
            checked_currency(wanted.currency)
        except MoneyError as no:
            raise VisitedError("bad_quote", str(no)) from None
        sold = held_features(connection).features.sold_by(wanted.feature, network)
        current = None if sold is None else self._offers.current(sold.offer)
        if sold is None or current is None:
            raise VisitedError("not_sold", f"{self.name} does not sell {wanted.feature} in {network}")
        _leave_others(connection, network, terminal, wanted.feature, now)
        learn(connection, self._offers, visitor)
        try:
            asked = Request(sold.offer, current.offer.version, sold.mode)
            quoted = self._negotiation.request(connection, visitor, asked, now)
        except NotAgreed as no:
            raise VisitedError(no.code, no.reason) from None
        made = decode_document(Quote, quoted.quote.document)
        self._check_owed(sold, made, wanted)
        add(
            connection,
            RoamingQuote(
                quote_id=made.quote, network=network, terminal_id=terminal, feature=wanted.feature, ef=wanted.ef,
                amount=wanted.amount, currency=wanted.currency, quoted_at=now,
            ),
        )  # fmt: skip
        return quoted.quote

    def _check_owed(self, sold: Sold, quote: Quote, wanted: Wanted) -> None:
        """What we shall owe is bounded by the file of features, else by what our subscriber pays us."""
        most = sold.most()
        if most is None:
            most = Money(quote.amount, quote.currency)
        if wanted.currency != most.currency or wanted.amount > most.micros:
            asked = f"{format_micros(wanted.amount, wanted.currency)} {wanted.currency}"
            bound = f"{format_micros(most.micros, most.currency)} {most.currency}"
            raise VisitedError("too_dear", f"{wanted.feature}: {asked} is asked for, {self.name} owes at most {bound}")

    def decline(self, connection: Connection, network: str, terminal: str, quote: str, now: datetime) -> None:
        """The subscriber said no."""
        visitor = self._away(connection, network, terminal, now)
        self._shown(connection, network, terminal, quote)
        try:
            self._negotiation.decline(connection, visitor, Decline(quote), now)
        except NotAgreed as no:
            raise VisitedError(no.code, no.reason) from None

    def settle(self, connection: Connection, claim: Claim, now: datetime) -> Settled:
        """Take a claim, once however often it comes: the agreement is made and charged, the claim kept, the key made.

        The subscriber's confirmation is checked here: a visited network cannot claim what nobody agreed to, nor more
        than it told with the quote.
        """
        claim.check()
        if claim.home != self.name:
            raise VisitedError("bad_record", f"record {claim.id}: is for {claim.home}")
        known = record_row(connection, claim.id)
        if known is not None:
            if bytes(known.digest) != claim.digest() or known.direction != "payable":
                raise VisitedError("record_conflict", f"record {claim.id} exists with other content")
        else:
            self._take(connection, claim, now)
        return Settled(self._agreement_digest(connection, claim), self._key(connection, claim.terminal, claim.ef))

    def _take(self, connection: Connection, claim: Claim, now: datetime) -> None:
        visitor = self._away(connection, claim.visited, claim.terminal, now)
        shown = self._shown(connection, claim.visited, claim.terminal, claim.quote)
        told = (shown.feature, shown.ef, shown.amount, shown.currency)
        if told != (claim.feature, claim.ef, claim.amount, claim.currency):
            raise VisitedError("bad_record", f"record {claim.id}: is not what quote {claim.quote} was made for")
        try:
            check(visitor.public_key, Confirmation.PURPOSE, claim.confirmation)
            yes = decode_document(Confirmation, claim.confirmation.document)
        except (ProofError, BodyError) as no:
            raise VisitedError("bad_proof", f"record {claim.id}: {no}") from None
        if (yes.quote, yes.agreement) != (claim.quote, claim.agreement):
            raise VisitedError("bad_record", f"record {claim.id}: the confirmation is of another agreement")
        try:
            agreed = self._negotiation.agree(connection, visitor, claim.confirmation, "ed25519", now)
            self._deliveries.activate(connection, visitor, agreed, now)
        except (NotAgreed, Refused) as no:
            raise VisitedError(no.code, no.reason) from None
        row = row_of(claim, "payable", now)
        row.state, row.done_at = "acknowledged", now
        row.transfer_id = post_record(connection, row, now)
        add(connection, row)
        record(
            connection, now, "roaming_settled", terminal=visitor.terminal, subscriber=visitor.subscriber,
            account=visitor.account, reference=claim.id, network=claim.visited, feature=claim.feature,
        )  # fmt: skip

    def _agreement_digest(self, connection: Connection, claim: Claim) -> bytes:
        row = book.agreement_row(connection, claim.agreement)
        assert row is not None
        return bytes(row.digest)

    def _key(self, connection: Connection, terminal: str, ef: int) -> bytes:
        secret = self._vault.open(self._roamer(connection, terminal).sealed_secret, _sealed_name(terminal))
        return feature_key(secret, terminal, ef)

    def _visitor(self, connection: Connection, terminal: str, now: datetime) -> Visitor:
        [found] = read_visitors(connection, [terminal], to_micros(now))
        if isinstance(found, Stranger):
            raise VisitedError("unknown_terminal", f"terminal {terminal}: {found.cause}")
        return found.visitor

    def _away(self, connection: Connection, network: str, terminal: str, now: datetime) -> Visitor:
        visitor = self._visitor(connection, terminal, now)
        if self._roamer(connection, terminal).network != network:
            raise VisitedError("not_registered", f"terminal {terminal} is not registered in {network}")
        return visitor

    def _shown(self, connection: Connection, network: str, terminal: str, quote: str) -> Row[Any]:
        rows = table(RoamingQuote)
        row = connection.execute(select(rows).where(rows.c.quote_id == quote)).first()
        if row is None or (row.network, row.terminal_id) != (network, terminal):
            raise VisitedError("unknown_quote", f"quote {quote} was not made for terminal {terminal} in {network}")
        return row

    def _roamer(self, connection: Connection, terminal: str) -> Row[Any]:
        rows = table(Roamer)
        row = connection.execute(select(rows).where(rows.c.terminal_id == terminal)).first()
        if row is None:
            raise VisitedError("no_roaming", f"terminal {terminal} may not roam; `tollgate visited mobile` lets it")
        return row


def _leave_others(connection: Connection, network: str, terminal: str, feature: str, now: datetime) -> None:
    """What was bought for another network is of no use in this one, and does not keep it from being bought here.

    Raises :class:`VisitedError` for what was bought here already: nobody pays twice.
    """
    records, agreements, installations = table(SettlementRecord), table(Agreement), table(Installation)
    bought = connection.execute(
        select(records.c.id, records.c.network, records.c.agreement_id, agreements.c.state)
        .join(agreements, agreements.c.id == records.c.agreement_id)
        .where(records.c.direction == "payable", records.c.terminal == terminal, records.c.feature == feature)
    ).all()
    here = next((row.id for row in bought if row.network == network and row.state == "installed"), None)
    if here is not None:
        raise VisitedError("already_present", f"{feature}: record {here} paid for it in {network}")
    connection.execute(
        update(installations)
        .where(
            installations.c.agreement_id.in_([row.agreement_id for row in bought]),
            installations.c.removed_at.is_(None),
        )
        .values(removed_at=now)
    )


def let_roam(connection: Connection, operator: Operator, terminal: str, now: datetime) -> dict[int, bytes]:
    """Let a terminal roam; the digests of its features' keys, by number, to be written into the mobile.

    Again it gives the same. Raises :class:`VisitedError`.
    """
    if not exists(connection, Terminal, terminal):
        raise VisitedError("unknown_terminal", f"terminal {terminal}: is not enrolled; see `tollgate terminal list`")
    rows = table(Roamer)
    known = connection.execute(select(rows.c.sealed_secret).where(rows.c.terminal_id == terminal)).scalar()
    if known is None:
        secret = os.urandom(32)
        sealed = operator.vault.seal(secret, _sealed_name(terminal))
        add(connection, Roamer(terminal_id=terminal, sealed_secret=sealed, created_at=now))
    else:
        secret = operator.vault.open(known, _sealed_name(terminal))
    return {ef: key_digest(feature_key(secret, terminal, ef)) for ef in FEATURES}


def _sealed_name(terminal: str) -> str:
    return f"roamer/{terminal}"
