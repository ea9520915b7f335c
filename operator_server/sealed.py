"""All that lies in the database under the vault's key: what it is, and how it comes under another key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, func, select, update
from sqlmodel import SQLModel

from operator_server.cards import registry
from operator_server.delivery.publishing import vault_name
from operator_server.delivery.vault import KeyVault
from operator_server.devices import invitations
from operator_server.snmp import credentials
from operator_server.store.cards import Card, CardMaster
from operator_server.store.dealings import Release
from operator_server.store.devices import DeviceCredential
from operator_server.store.engine import writing
from operator_server.store.invitations import OutgoingMessage
from operator_server.store.rows import table
from operator_server.store.visited import Roamer

_PORTION = 500


@dataclass(frozen=True)
class Sealed:
    """A column of sealed values. ``name``: what of the row the vault binds a value to."""

    what: str
    model: type[SQLModel]
    column: str
    name: Callable[[Any], str]


SEALED = (
    Sealed("releases", Release, "sealed_key", lambda row: vault_name(row.product, row.version)),
    Sealed("credentials of devices", DeviceCredential, "sealed", lambda row: credentials.sealed_name(row.name)),
    Sealed("master keys of cards", CardMaster, "sealed", lambda row: registry.master_name(row.number)),
    Sealed("cards", Card, "sealed_keys", lambda row: registry.sealed_name(row.iccid)),
    Sealed("links in messages", OutgoingMessage, "sealed_token", lambda row: invitations.sealed_name(row.token_id)),
    Sealed("secrets of roamers", Roamer, "sealed_secret", lambda row: f"roamer/{row.terminal_id}"),
)


def sealed_values(connection: Connection) -> dict[str, Counter[str]]:
    """How many values of each kind are sealed under which key, by the key's id."""
    found: dict[str, Counter[str]] = {}
    for each in SEALED:
        column = table(each.model).c[each.column]
        key = func.substr(column, 2, 8)
        counts = connection.execute(select(key, func.count()).where(column.is_not(None)).group_by(key))
        found[each.what] = Counter({bytes(id).hex(): number for id, number in counts})
    return found


def others(connection: Connection, key_id: str) -> int:
    """How many values are sealed under another key than this one."""
    counts = sealed_values(connection).values()
    return sum(number for each in counts for id, number in each.items() if id != key_id)


def reseal(engine: Engine, vault: KeyVault, progress: Callable[[int], None] = lambda done: None) -> int:
    """Bring everything under the vault's key in force, in portions; how many values.

    Servers may run. What was cut short is finished by calling it again. Raises
    :class:`operator_server.delivery.vault.VaultError` for a value that does not open; what was done before stays done.
    """
    done = 0
    for each in SEALED:
        while count := _portion(engine, vault, each):
            done += count
            progress(done)
    return done


def _portion(engine: Engine, vault: KeyVault, sealed: Sealed) -> int:
    rows, current = table(sealed.model), bytes.fromhex(vault.key_id)
    column = rows.c[sealed.column]
    waiting = select(rows).where(column.is_not(None), func.substr(column, 2, 8) != current).limit(_PORTION)
    with writing(engine).begin() as connection:
        found = connection.execute(waiting).all()
        for row in found:
            old, name = getattr(row, sealed.column), sealed.name(row)
            same = [key == getattr(row, key.name) for key in rows.primary_key]
            fresh = {sealed.column: vault.seal(vault.open(old, name), name)}
            connection.execute(update(rows).where(*same, column == old).values(**fresh))
    return len(found)
