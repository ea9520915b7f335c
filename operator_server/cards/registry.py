"""Making cards known, and their keys: derived from a master key for each card, and sealed in the store."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from operator_server.delivery.vault import KeyVault
from operator_server.parties import PartyError, checked_id, exists, require_user
from operator_server.store.cards import Card, CardMaster, card_row
from operator_server.store.feed import record
from operator_server.store.parties import Binding, Terminal
from operator_server.store.rows import add, table
from signalling.card.keys import KEY_BYTES, CardKeys, decode_keys, diversify, luhn_digit
from signalling.clock import to_micros
from signalling.ids import new_id

_ICCID = re.compile(r"89\d{16,18}\Z")
_IMSI = re.compile(r"\d{14,15}\Z")
_MSISDN = re.compile(r"\+[1-9]\d{6,14}\Z")


class CardRegistryError(PartyError):
    """Something about a card that cannot be done; the text says what and why."""


@dataclass(frozen=True, slots=True)
class NewCard:
    """What makes a card known. ``keys``: of a card that somebody else made; else they are derived.

    ``msisdn``: its number, such as +491701234567; packets by SMS go there.
    """

    terminal: str
    iccid: str
    msisdn: str
    subscriber: str
    imsi: str = ""
    language: str = "en"
    label: str = ""
    keys: CardKeys | None = None


def add_card(connection: Connection, vault: KeyVault, new: NewCard, now: datetime) -> None:
    """Make a card known as a terminal of its own. Raises :class:`operator_server.parties.PartyError`."""
    checked_id(new.terminal, "terminal")
    _check(connection, new)
    keys = new.keys or diversify(master_key(connection, vault, now), new.iccid, _newest(connection))
    add(
        connection,
        Terminal(id=new.terminal, label=new.label, enrolled_at=now),
        Binding(id=new_id(to_micros(now)), subscriber_id=new.subscriber, terminal_id=new.terminal, valid_from=now),
        Card(
            terminal_id=new.terminal,
            iccid=new.iccid,
            imsi=new.imsi,
            msisdn=new.msisdn,
            key_number=keys.number,
            sealed_keys=vault.seal(keys.encode(), sealed_name(new.iccid)),
            language=new.language,
            created_at=now,
        ),
    )
    record(connection, now, "card_added", terminal=new.terminal, subscriber=new.subscriber, iccid=new.iccid)


def _check(connection: Connection, new: NewCard) -> None:
    what = f"card {new.terminal}"
    if not _ICCID.match(new.iccid):
        raise CardRegistryError(f"{what}: ICCID {new.iccid!r} is not 18 to 20 digits that begin with 89")
    if luhn_digit(new.iccid[:-1]) != new.iccid[-1]:
        raise CardRegistryError(
            f"{what}: ICCID {new.iccid}: the last digit is a check digit and should be {luhn_digit(new.iccid[:-1])}"
        )
    if new.imsi and not _IMSI.match(new.imsi):
        raise CardRegistryError(f"{what}: IMSI {new.imsi!r} is not 14 or 15 digits")
    if not _MSISDN.match(new.msisdn):
        raise CardRegistryError(f"{what}: number {new.msisdn!r}: write it as +491701234567")
    if not re.fullmatch(r"[a-z]{2}", new.language):
        raise CardRegistryError(f"{what}: language {new.language!r} is not two small letters (ISO 639)")
    require_user(connection, new.subscriber, f"{what}: ")
    if exists(connection, Terminal, new.terminal):
        raise CardRegistryError(f"{what}: a terminal of this id exists already")
    for name in ("iccid", "msisdn"):
        other = card_row(connection, **{name: getattr(new, name)})
        if other is not None:
            raise CardRegistryError(f"{what}: {name} {getattr(new, name)} is that of card {other.terminal_id}")


def master_key(connection: Connection, vault: KeyVault, now: datetime) -> bytes:
    """The newest master key; the first is made when it is first needed."""
    master = table(CardMaster)
    row = connection.execute(select(master).order_by(master.c.number.desc()).limit(1)).first()
    if row is not None:
        return vault.open(row.sealed, master_name(row.number))
    return new_master_key(connection, vault, now)


def new_master_key(connection: Connection, vault: KeyVault, now: datetime) -> bytes:
    """A further master key, for cards that are made from now on; those in the field keep theirs.

    Raises :class:`CardRegistryError` after fifteen.
    """
    number = _newest(connection) + 1
    if number > 15:
        raise CardRegistryError("master key: a card knows key sets 1 to 15 and all are used")
    key = os.urandom(KEY_BYTES)
    add(connection, CardMaster(number=number, sealed=vault.seal(key, master_name(number)), created_at=now))
    record(connection, now, "card_master_made", number=number)
    return key


def _newest(connection: Connection) -> int:
    newest: int | None = connection.execute(select(func.max(table(CardMaster).c.number))).scalar()
    return newest or 0


def keys_of(vault: KeyVault, card: Any) -> CardKeys:
    """The keys of a card's row. Raises :class:`operator_server.delivery.vault.VaultError`."""
    return decode_keys(vault.open(card.sealed_keys, sealed_name(card.iccid)))


def require_card(connection: Connection, terminal: str) -> Any:
    """The card's row. Raises :class:`CardRegistryError` where there is none."""
    row = card_row(connection, terminal_id=terminal)
    if row is None:
        raise CardRegistryError(f"card {terminal}: there is none; `tollgate card list` shows those there are")
    return row


def sealed_name(iccid: str) -> str:
    """Under which name the vault seals a card's keys."""
    return f"card/{iccid}"


def master_name(number: int) -> str:
    """Under which name the vault seals a master key."""
    return f"card-master/{number}"
