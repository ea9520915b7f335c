"""Partner operators: whose mobiles may come here, and where ours may go; each is known by its certificate."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from operator_server.audit import audited
from operator_server.context import Operator
from operator_server.parties import PartyError, checked_id
from operator_server.store.feed import record
from operator_server.store.rows import add, table
from operator_server.store.visited import RoamingPartner
from operator_server.visited.faults import VisitedError
from operator_server.visited.identity import Introduction, checked_certificate, checked_url, fingerprint_of


def put_partner(connection: Connection, told: Introduction, own: str, now: datetime, *, actor: str) -> None:
    """Agree on roaming with the operator of an introduction, or take what changed. Raises :class:`VisitedError`."""
    try:
        checked_id(told.network, "network")
    except PartyError as no:
        raise VisitedError("unknown_network", str(no)) from None
    if told.network == own:
        raise VisitedError("unknown_network", f"network {told.network}: is this operator itself")
    certificate = checked_certificate(told.certificate)
    fingerprint = fingerprint_of(certificate)
    partners = table(RoamingPartner)
    other = connection.execute(
        select(partners.c.network).where(partners.c.fingerprint == fingerprint, partners.c.network != told.network)
    ).scalar()
    if other is not None:
        raise VisitedError("bad_partner", f"network {told.network}: shows the certificate of {other}")
    values: dict[str, Any] = {
        "name": told.name, "url": checked_url(told.url), "certificate": certificate, "fingerprint": fingerprint,
        "status": "active",
    }  # fmt: skip
    before = partner_row(connection, told.network)
    if before is None:
        add(connection, RoamingPartner(network=told.network, created_at=now, **values))
    else:
        connection.execute(update(partners).where(partners.c.network == told.network).values(**values))
    was = None if before is None else {name: getattr(before, name) for name in values if name != "certificate"}
    now_is = {name: value for name, value in values.items() if name != "certificate"}
    audited(connection, actor, "roaming_partner.put", f"roaming_partner/{told.network}", was, now_is, now)
    record(connection, now, "roaming_partner_changed", reference=told.network)


def block_partner(connection: Connection, network: str, now: datetime, *, actor: str) -> None:
    """From now on nothing is taken from or told to a partner; what was settled stays. Raises :class:`VisitedError`."""
    if partner_row(connection, network) is None:
        raise _unknown(network)
    partners = table(RoamingPartner)
    connection.execute(update(partners).where(partners.c.network == network).values(status="blocked"))
    audited(connection, actor, "roaming_partner.block", f"roaming_partner/{network}", None, {"status": "blocked"}, now)


def partner_row(connection: Connection, network: str) -> Row[Any] | None:
    """A partner, in whatever state."""
    partners = table(RoamingPartner)
    return connection.execute(select(partners).where(partners.c.network == network)).first()


def partners(connection: Connection) -> list[Row[Any]]:
    """All partners."""
    rows = table(RoamingPartner)
    return list(connection.execute(select(rows).order_by(rows.c.network)))


def role_is_wanted(operator: Operator) -> bool:
    """Whether the role ``roaming`` is to run: the settings ask for it, or roaming is agreed with anybody."""
    if operator.settings.roaming.enabled:
        return True
    rows = table(RoamingPartner)
    with operator.engine.connect() as connection:
        return connection.execute(select(rows.c.network).where(rows.c.status == "active").limit(1)).first() is not None


def active_partner(connection: Connection, network: str) -> Row[Any]:
    """A partner with whom roaming is agreed. Raises :class:`VisitedError`."""
    row = partner_row(connection, network)
    if row is None:
        raise _unknown(network)
    if row.status != "active":
        raise VisitedError("unknown_network", f"network {network}: roaming with it is {row.status}")
    return row


def calling_partner(connection: Connection, fingerprint: str) -> str:
    """The network that shows the certificate of this fingerprint (hex). Raises :class:`VisitedError`."""
    rows = table(RoamingPartner)
    network = connection.execute(select(rows.c.network).where(rows.c.fingerprint == fingerprint)).scalar()
    if network is None:
        raise VisitedError(
            "unknown_peer",
            f"the certificate {fingerprint[:16]}... is no partner's here; send us your introduction, "
            "`tollgate visited partner` takes it",
        )
    return str(active_partner(connection, network).network)


def _unknown(network: str) -> VisitedError:
    return VisitedError("unknown_network", f"network {network}: roaming with it is not agreed")
