"""The desk of deliveries: orders become grants, receipts close them (claims 1, 2, 15 sixth step).

One delivery and one charge an agreement, however often an order or a receipt is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from sqlalchemy import Connection, Row, select, update

from operator_server.counting.grants import UsageGrants
from operator_server.delivery.publishing import vault_name
from operator_server.delivery.vault import KeyVault
from operator_server.desk import Handler, Refused, Visitor, answering, one_line
from operator_server.keys import OperatorKeys
from operator_server.negotiation.book import agreement_row, lapsed, release_row, set_agreement_state, undeliverable
from operator_server.settings import Settings
from operator_server.store.accounting import Charge
from operator_server.store.dealings import Delivery, Installation
from operator_server.store.feed import record
from operator_server.store.rows import add, table
from operator_server.store.store import Store
from operator_server.store.terms import AgreementTerm
from operator_server.subscriptions.running import begin, terms_of
from operator_server.subscriptions.settling import Due, NotSettled, settle, take_back
from signalling.clock import Clock, to_micros
from signalling.documents import DeliveryGrant, DeliveryOrder, DeliveryReceipt, decode_document
from signalling.ids import new_id
from signalling.messages import Agreed, DeliveryGrantMessage, DeliveryRequest, Message, Receipt, ReceiptNoted, Refusal
from signalling.proof import check, sign
from signalling.sealing import grant_info, wrap_key

BY_SERVER = "activated by the server"
"""The reason on a receipt that the server wrote, because the terminal takes no part in its deliveries."""


class Deliveries:
    """The transactions that grant what was agreed and book what became of it."""

    def __init__(self, keys: OperatorKeys, vault: KeyVault, usage: UsageGrants, settings: Settings) -> None:
        self._keys = keys
        self._vault = vault
        self._usage = usage
        self._settings = settings

    def order(
        self, connection: Connection, visitor: Visitor, message: DeliveryRequest, now: datetime
    ) -> DeliveryGrantMessage | Refusal:
        """Grant the delivery that an agreement calls for; the first grant charges it.

        A repeated order, perhaps with another key after a crash, gets a grant for that key and charges nothing.
        """
        order = decode_document(DeliveryOrder, check(visitor.public_key, DeliveryOrder.PURPOSE, message.order))
        agreement = _own_agreement(connection, visitor, order.agreement)
        if agreement.subscriber_id != visitor.subscriber:
            raise Refused("unknown_agreement", f"agreement {order.agreement} was not made with this subscriber")
        if order.agreement_digest != agreement.digest:
            raise Refused("wrong_hash", f"the hash of agreement {order.agreement} is another")
        if agreement.state in ("failed", "ended"):
            raise Refused("agreement_closed", f"agreement {order.agreement} is {agreement.state}; make a new one")
        if lapsed(agreement, self._settings.delivery.grant_validity, now):
            raise Refused("agreement_lapsed", f"agreement {order.agreement} was not ordered in time; make a new one")
        installation = self._installation(connection, agreement, now)
        no = undeliverable(release_row(connection, agreement.product, agreement.release), now)
        if no is not None and agreement.state == "granted":
            # The grant was charged and perhaps never arrived: what cannot be delivered any more is not paid for.
            self._call_off(connection, visitor, agreement, installation, no[1], now)
            return Refusal(*no)
        grant = self._grant(connection, agreement, installation, order.wrap_key, now)
        signed = sign(self._keys.signing, DeliveryGrant.PURPOSE, grant.encode())
        first = agreement.state == "agreed"
        values: dict[str, Any] = {
            "grant": signed.document,
            "grant_signature": signed.signature,
            "granted_at": now,
            "expires_at": now + timedelta(seconds=self._settings.delivery.grant_validity),
        }
        if first:
            add(connection, Delivery(agreement_id=agreement.id, installation_id=installation, **values))
            self._charge(connection, agreement, installation, now)
            set_agreement_state(connection, agreement.id, "granted")
            record(
                connection, now, "delivery_granted", terminal=visitor.terminal, subscriber=visitor.subscriber,
                account=visitor.account, reference=agreement.id, product=agreement.product,
            )  # fmt: skip
        else:
            delivery = table(Delivery)
            connection.execute(update(delivery).where(delivery.c.agreement_id == agreement.id).values(**values))
        usage = self._usage.first_grants(connection, agreement, installation, now)
        return DeliveryGrantMessage(grant=signed, usage=usage)

    def receipt(self, connection: Connection, visitor: Visitor, message: Receipt, now: datetime) -> ReceiptNoted:
        """Close a delivery. A signed failure takes the charge back; the first receipt counts."""
        receipt = decode_document(DeliveryReceipt, check(visitor.public_key, DeliveryReceipt.PURPOSE, message.receipt))
        agreement = _own_agreement(connection, visitor, receipt.agreement)
        delivery = table(Delivery)
        row = connection.execute(select(delivery).where(delivery.c.agreement_id == agreement.id)).first()
        if row is None or row.installation_id != receipt.installation:
            raise Refused("unknown_delivery", f"nothing was granted for agreement {receipt.agreement} under this id")
        if row.state != "granted":
            if row.state != receipt.outcome:
                raise Refused("receipt_conflict", f"the delivery of agreement {receipt.agreement} is {row.state}")
            return ReceiptNoted(agreement.id, _charge_state(connection, agreement.id))
        connection.execute(
            update(delivery)
            .where(delivery.c.agreement_id == agreement.id)
            .values(
                receipt=message.receipt.document,
                receipt_signature=message.receipt.signature,
                reason=one_line(receipt.reason, 256),
                finished_at=now,
                state=receipt.outcome,
            )
        )
        installed = receipt.outcome == "installed"
        if installed:
            self._install(connection, agreement, receipt.installation, now)
        else:
            self._fail(connection, agreement, receipt.installation, now)
        record(
            connection, now, "delivered" if installed else "delivery_failed", terminal=visitor.terminal,
            subscriber=visitor.subscriber, account=visitor.account, reference=agreement.id,
            product=agreement.product, reason=one_line(receipt.reason, 256),
        )  # fmt: skip
        return ReceiptNoted(agreement.id, _charge_state(connection, agreement.id))

    def activate(self, connection: Connection, visitor: Visitor, agreed: Agreed, now: datetime) -> str:
        """Grant and finish the delivery of what needs no package, on behalf of a terminal that cannot order it.

        The server signs the receipt in the terminal's place, with :data:`BY_SERVER` as its reason. Returns the
        installation. Done once, however often it is asked for. Raises :class:`Refused`.
        """
        agreement = _own_agreement(connection, visitor, agreed.agreement)
        if agreement.state == "installed":
            return self._installation(connection, agreement, now)
        if agreement.state != "agreed":
            raise Refused("agreement_closed", f"agreement {agreement.id} is {agreement.state}; make a new one")
        if release_row(connection, agreement.product, agreement.release) is not None:
            raise Refused("needs_package", f"{agreement.product} is a package; this terminal takes none")
        installation = self._installation(connection, agreement, now)
        grant = self._grant(connection, agreement, installation, b"", now)
        granted = sign(self._keys.signing, DeliveryGrant.PURPOSE, grant.encode())
        receipt = DeliveryReceipt(agreement.id, installation, "installed", BY_SERVER, to_micros(now))
        received = sign(self._keys.signing, DeliveryReceipt.PURPOSE, receipt.encode())
        add(
            connection,
            Delivery(
                agreement_id=agreement.id,
                installation_id=installation,
                grant=granted.document,
                grant_signature=granted.signature,
                granted_at=now,
                expires_at=now + timedelta(seconds=self._settings.delivery.grant_validity),
                receipt=received.document,
                receipt_signature=received.signature,
                reason=BY_SERVER,
                finished_at=now,
                state="installed",
            ),
        )
        self._charge(connection, agreement, installation, now)
        self._install(connection, agreement, installation, now)
        for kind in ("delivery_granted", "delivered"):
            record(
                connection, now, kind, terminal=visitor.terminal, subscriber=visitor.subscriber,
                account=visitor.account, reference=agreement.id, product=agreement.product, reason=BY_SERVER,
            )  # fmt: skip
        return installation

    def _install(self, connection: Connection, agreement: Row[Any], installation: str, now: datetime) -> None:
        installations = table(Installation)
        connection.execute(update(installations).where(installations.c.id == installation).values(installed_at=now))
        set_agreement_state(connection, agreement.id, "installed")
        for older in _supersede(connection, agreement, installation, now):
            self._usage.release(connection, older, now)

    def _call_off(
        self, connection: Connection, visitor: Visitor, agreement: Row[Any], installation: str, why: str, now: datetime
    ) -> None:
        """End a delivery that was granted and cannot be made."""
        delivery = table(Delivery)
        connection.execute(
            update(delivery)
            .where(delivery.c.agreement_id == agreement.id)
            .values(reason=why[:256], finished_at=now, state="failed")
        )
        self._fail(connection, agreement, installation, now)
        record(
            connection, now, "delivery_failed", terminal=visitor.terminal, subscriber=visitor.subscriber,
            account=visitor.account, reference=agreement.id, product=agreement.product, reason=why,
        )  # fmt: skip

    def _fail(self, connection: Connection, agreement: Row[Any], installation: str, now: datetime) -> None:
        installations = table(Installation)
        connection.execute(update(installations).where(installations.c.id == installation).values(removed_at=now))
        set_agreement_state(connection, agreement.id, "failed")
        self._reverse(connection, agreement, now)
        self._usage.release(connection, installation, now)

    def _installation(self, connection: Connection, agreement: Row[Any], now: datetime) -> str:
        installations = table(Installation)
        known = connection.execute(
            select(installations.c.id).where(installations.c.agreement_id == agreement.id)
        ).scalar()
        if known is not None:
            return str(known)
        release = release_row(connection, agreement.product, agreement.release)
        new = new_id(to_micros(now))
        add(
            connection,
            Installation(
                id=new,
                agreement_id=agreement.id,
                terminal_id=agreement.terminal_id,
                product=agreement.product,
                release=agreement.release,
                digest=b"" if release is None else release.digest,
            ),
        )
        return new

    def _grant(
        self, connection: Connection, agreement: Row[Any], installation: str, wrapping: bytes, now: datetime
    ) -> DeliveryGrant:
        release = release_row(connection, agreement.product, agreement.release)
        obstacle = undeliverable(release, now)
        if obstacle is not None:
            raise Refused(*obstacle)
        content_key = b""
        if release is not None and release.sealed:
            plain = self._vault.open(release.sealed_key, vault_name(release.product, release.version))
            content_key = wrap_key(plain, wrapping, grant_info(agreement.id))
        expires = now + timedelta(seconds=self._settings.delivery.grant_validity)
        return DeliveryGrant(
            agreement=agreement.id,
            installation=installation,
            product=agreement.product,
            release=agreement.release,
            target="" if release is None else release.target,
            sha256=b"" if release is None else release.sha256,
            length=0 if release is None else release.length,
            sealed=release is not None and release.sealed,
            content_key=content_key,
            issued=to_micros(now),
            expires=to_micros(expires),
        )

    def _charge(self, connection: Connection, agreement: Row[Any], installation: str, now: datetime) -> None:
        """Charge what falls due with the delivery, and let the agreement's calendar begin."""
        terms, zone = terms_of(connection, agreement), self._settings.operator.zone
        try:
            if agreement.amount:
                due = Due(
                    source="delivery",
                    op_id=agreement.id,
                    kind="delivery",
                    price=agreement.amount,
                    at=now,
                    installation=installation,
                    reservation=agreement.reservation_id,
                )
                settle(connection, agreement, terms, due, zone, now)
            begin(connection, agreement, terms, self._settings, now)
        except NotSettled as no:
            raise Refused("not_charged", str(no)) from None

    def _reverse(self, connection: Connection, agreement: Row[Any], now: datetime) -> None:
        charge, term = table(Charge), table(AgreementTerm)
        charged = connection.execute(
            select(charge).where(charge.c.agreement_id == agreement.id, charge.c.kind.in_(("delivery", "period")))
        ).all()
        for each in charged:
            try:
                take_back(connection, each, "reversal", self._settings.operator.zone, now, source="receipt")
            except NotSettled as no:
                raise Refused("not_charged", str(no)) from None
        connection.execute(
            update(term).where(term.c.agreement_id == agreement.id).values(state="ended", next_at=None, reason="failed")
        )


class DeliveryDesk(Deliveries):
    """Answers the orders and receipts that come over a link."""

    def __init__(
        self,
        store: Store,
        keys: OperatorKeys,
        vault: KeyVault,
        usage: UsageGrants,
        settings: Settings,
        clock: Clock,
    ) -> None:
        super().__init__(keys, vault, usage, settings)
        self._store = store
        self._clock = clock

    def handlers(self) -> dict[type[Message], Handler]:
        """The messages that this desk answers."""
        answer = partial(answering, self._store, self._clock)
        return {DeliveryRequest: answer(self.order), Receipt: answer(self.receipt)}


def _own_agreement(connection: Connection, visitor: Visitor, agreement: str) -> Row[Any]:
    row = agreement_row(connection, agreement)
    if row is None or row.terminal_id != visitor.terminal:
        raise Refused("unknown_agreement", f"agreement {agreement} was not made with this terminal")
    return row


def _supersede(connection: Connection, agreement: Row[Any], installation: str, now: datetime) -> Sequence[str]:
    """Older installations of the same product on the terminal, which end where the new one begins."""
    installations = table(Installation)
    older = (
        connection.execute(
            select(installations.c.id).where(
                installations.c.terminal_id == agreement.terminal_id,
                installations.c.product == agreement.product,
                installations.c.id != installation,
                installations.c.installed_at.is_not(None),
                installations.c.removed_at.is_(None),
            )
        )
        .scalars()
        .all()
    )
    connection.execute(update(installations).where(installations.c.id.in_(older)).values(removed_at=now))
    return older


def _charge_state(connection: Connection, agreement: str) -> Literal["none", "charged", "reversed"]:
    charge = table(Charge)
    kinds = set(
        connection.execute(
            select(charge.c.kind).where(
                charge.c.agreement_id == agreement, charge.c.kind.in_(("delivery", "period", "reversal"))
            )
        ).scalars()
    )
    return "reversed" if "reversal" in kinds else "charged" if kinds else "none"
