"""Partner operators: whose mobiles may come here, and where ours may go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, select, update

from operator_server.audit import audited
from operator_server.delivery.vault import KeyVault
from operator_server.parties import PartyError, checked_id
from operator_server.people.persons import person_row
from operator_server.store.feed import record
from operator_server.store.rows import add, table
from operator_server.store.visited import RoamingPartner
from operator_server.visited.faults import VisitedError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class NewPartner:
    """A partner. ``url``, ``ca_pem``, ``token``: to call it, for its mobiles here; ``user``: as which it calls us."""

    network: str
    name: str
    url: str = ""
    ca_pem: str = ""
    token: str = ""
    user: str = ""


def put_partner(
    connection: Connection, vault: KeyVault, new: NewPartner, own: str, now: datetime, *, actor: str
) -> None:
    """Make a partner known, or change one; what is empty stays as it was. Raises :class:`VisitedError`."""
    try:
        checked_id(new.network, "network")
    except PartyError as no:
        raise VisitedError("unknown_network", str(no)) from None
    if new.network == own:
        raise VisitedError("unknown_network", f"network {new.network}: is this operator itself")
    values: dict[str, Any] = {"name": new.name, "status": "active"} if new.name else {"status": "active"}
    if new.url:
        values["url"] = _checked_url(new.url)
    if new.ca_pem:
        if "BEGIN CERTIFICATE" not in new.ca_pem:
            raise VisitedError("bad_partner", f"network {new.network}: ca_pem holds no certificate")
        values["ca_pem"] = new.ca_pem
    if new.token:
        values["sealed_token"] = vault.seal(new.token.encode(), _sealed_name(new.network))
    if new.user:
        values["person_id"] = _person(connection, new)
    partners = table(RoamingPartner)
    before = partner_row(connection, new.network)
    if before is None:
        if not new.name:
            raise VisitedError("bad_partner", f"network {new.network}: a new partner needs its name")
        add(connection, RoamingPartner(network=new.network, created_at=now, **values))
    else:
        connection.execute(update(partners).where(partners.c.network == new.network).values(**values))
    told = {key: value for key, value in values.items() if key not in ("sealed_token", "ca_pem")}
    audited(connection, actor, "roaming_partner.put", f"roaming_partner/{new.network}", None, told, now)
    record(connection, now, "roaming_partner_changed", reference=new.network)


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


def active_partner(connection: Connection, network: str) -> Row[Any]:
    """A partner with whom roaming is agreed. Raises :class:`VisitedError`."""
    row = partner_row(connection, network)
    if row is None:
        raise _unknown(network)
    if row.status != "active":
        raise VisitedError("unknown_network", f"network {network}: roaming with it is {row.status}")
    return row


def calling_partner(connection: Connection, person: str) -> Row[Any]:
    """The partner that calls us by this user's token. Raises :class:`VisitedError`."""
    rows = table(RoamingPartner)
    row = connection.execute(select(rows).where(rows.c.person_id == person)).first()
    if row is None:
        raise VisitedError("unknown_network", "the token is no partner's; `tollgate visited partner` names its user")
    return active_partner(connection, row.network)


def token_of(vault: KeyVault, row: Row[Any]) -> str:
    """The token by which we call a partner. Raises :class:`VisitedError`."""
    if row.sealed_token is None or not row.url:
        raise VisitedError("unknown_network", f"network {row.network}: its mobiles cannot come here: no url and token")
    return vault.open(row.sealed_token, _sealed_name(row.network)).decode()


def _sealed_name(network: str) -> str:
    return f"roaming_partner/{network}"


def _unknown(network: str) -> VisitedError:
    return VisitedError("unknown_network", f"network {network}: roaming with it is not agreed")


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname and not parts.query and not parts.fragment:
        return url.rstrip("/")
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return url.rstrip("/")
    raise VisitedError("bad_partner", f"url {url!r}: https://HOST:PORT is needed; http on the loopback alone")


def _person(connection: Connection, new: NewPartner) -> str:
    person = person_row(connection, new.user)
    if person is None:
        raise VisitedError("bad_partner", f"user {new.user}: there is none; `tollgate user add` makes one")
    rows = table(RoamingPartner)
    other = connection.execute(select(rows.c.network).where(rows.c.person_id == person.id)).scalar()
    if other is not None and other != new.network:
        raise VisitedError("bad_partner", f"user {new.user}: is {other}'s already; give each partner a user of its own")
    return str(person.id)
