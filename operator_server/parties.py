"""Accounts, subscribers and terminals: who pays, who uses, and with which device and key."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select, update
from sqlmodel import SQLModel

from charging.ledger.book import open_account
from operator_server.settings import OperatorSettings
from operator_server.store.feed import record
from operator_server.store.parties import Account, Binding, PastTaxpayer, Subscriber, Terminal, TerminalKey
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.ids import new_id
from signalling.money import MoneyError, checked_currency, decimal_micros

_ID = re.compile(r"[A-Za-z0-9._:@-]{1,64}\Z")
_COUNTRY = re.compile(r"[A-Z]{2}\Z")
_LANGUAGE = re.compile(r"[a-z]{2}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_PRIME = 2**255 - 19
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_WEAK_KEYS = frozenset({0, 1, _ORDER_8, _PRIME - _ORDER_8, _PRIME - 1, _PRIME, _PRIME + 1})
"""The points of small order, without the sign: Ed25519 accepts signatures for them that anybody can make (RFC 8032,
section 8.9, leaves them to the protocol). Zeros in place of a key are one of them."""


ERASED = "erased"
"""The status of an account, and of its subscribers, whose person's data was overwritten."""


class PartyError(ValueError):
    """Something about an account, subscriber or terminal that cannot be done; the text says what and why."""


@dataclass(frozen=True)
class NewAccount:
    """What makes an account. Empty currency, language and limit take the operator's."""

    id: str
    name: str
    address: list[str] = field(default_factory=list)
    country: str = ""
    vat_id: str = ""
    email: str = ""
    language: str = ""
    currency: str = ""
    credit_limit: str = ""


def checked_id(value: str, what: str) -> str:
    """``value`` when it can be an identifier; else :class:`PartyError`."""
    if not _ID.match(value):
        raise PartyError(f"{what} {value!r}: 1 to 64 of A-Z a-z 0-9 . _ : @ - are allowed")
    return value


def _check_plain(where: str, **texts: str | list[str]) -> None:
    """What stands on invoices and letters is of one line."""
    for key, value in texts.items():
        for text in [value] if isinstance(value, str) else value:
            if _CONTROL.search(text):
                raise PartyError(f"{where}: {key}: {text!r} holds a control character")


def create_account(connection: Connection, new: NewAccount, operator: OperatorSettings, now: datetime) -> Account:
    """Open an account with its ledger side and one subscriber of the same id."""
    checked_id(new.id, "account")
    if not new.name.strip():
        raise PartyError(f"account {new.id}: name: must not be empty; it stands on the invoice")
    country, language = new.country or operator.country, new.language or operator.language
    if not _COUNTRY.match(country):
        raise PartyError(f"account {new.id}: country: {country!r} is not two capital letters (ISO 3166)")
    if not _LANGUAGE.match(language):
        raise PartyError(f"account {new.id}: language: {language!r} is not two small letters (ISO 639)")
    _check_plain(f"account {new.id}", name=new.name, address=new.address, vat_id=new.vat_id, email=new.email)
    if exists(connection, Account, new.id):
        raise PartyError(f"account {new.id}: exists already")
    if exists(connection, Subscriber, new.id):
        raise PartyError(f"account {new.id}: a subscriber of another account has this id; take another one")
    try:
        currency = checked_currency(new.currency or operator.currency)
        limit = decimal_micros(new.credit_limit or operator.credit_limit)
    except MoneyError as error:
        raise PartyError(f"account {new.id}: {error}") from None
    if limit < 0:
        raise PartyError(f"account {new.id}: credit_limit: {new.credit_limit!r} is below zero")
    account = Account(
        id=new.id,
        name=new.name,
        address=list(new.address),
        country=country,
        vat_id=new.vat_id,
        email=new.email,
        language=language,
        currency=currency,
        credit_limit=limit,
        created_at=now,
    )
    add(connection, account)
    open_account(connection, account.id, account.currency, account.credit_limit)
    create_subscriber(connection, account.id, account.id, now, name=new.name)
    record(connection, now, "account_created", account=account.id)
    return account


@dataclass(frozen=True)
class AccountChange:
    """What is to be changed of an account; ``None`` stays. Its currency cannot be; its credit limit is a balance's."""

    name: str | None = None
    address: list[str] | None = None
    country: str | None = None
    vat_id: str | None = None
    email: str | None = None
    language: str | None = None


def change_account(connection: Connection, account: str, change: AccountChange, now: datetime) -> None:
    """Change an account; what was invoiced stays as it is. Raises :class:`PartyError`."""
    accounts = table(Account)
    row = connection.execute(select(accounts).where(accounts.c.id == account)).first()
    if row is None:
        raise PartyError(f"account {account}: there is none")
    require_open(connection, account)
    values = {key: value for key, value in asdict(change).items() if value is not None}
    if "name" in values and not values["name"].strip():
        raise PartyError(f"account {account}: name: must not be empty; it stands on the invoice")
    if not _COUNTRY.match(values.get("country", "DE")):
        raise PartyError(f"account {account}: country: {change.country!r} is not two capital letters (ISO 3166)")
    if not _LANGUAGE.match(values.get("language", "en")):
        raise PartyError(f"account {account}: language: {change.language!r} is not two small letters (ISO 639)")
    _check_plain(f"account {account}", **values)
    if values:
        keep_taxpayer(connection, account, values, now)
        connection.execute(update(accounts).where(accounts.c.id == account).values(**values))
        record(connection, now, "account_changed", account=account, changed=sorted(values))


def keep_taxpayer(connection: Connection, account: str, values: Collection[str], now: datetime) -> None:
    """Keep what an account is as far as tax goes, before the columns ``values`` of it change."""
    past = table(PastTaxpayer)
    if not {"country", "vat_id", "tax_country", "tax_status"}.intersection(values):
        return
    if connection.execute(select(past.c.until).where(past.c.account_id == account, past.c.until == now)).first():
        return
    row = connection.execute(select(table(Account)).where(table(Account).c.id == account)).one()
    was = PastTaxpayer(
        account_id=account,
        until=now,
        country=row.tax_country or row.country,
        vat_country=row.vat_id.replace(" ", "").upper()[:2],
        tax_status=row.tax_status,
    )
    add(connection, was)


def create_subscriber(
    connection: Connection,
    subscriber: str,
    account: str,
    now: datetime,
    *,
    name: str = "",
    groups: list[str] | None = None,
) -> None:
    """Add a subscriber to an account."""
    checked_id(subscriber, "subscriber")
    if not exists(connection, Account, account):
        raise PartyError(f"account {account}: there is none; make it with `tollgate account create`")
    require_open(connection, account)
    _check_plain(f"subscriber {subscriber}", name=name, groups=groups or [])
    if exists(connection, Subscriber, subscriber):
        raise PartyError(f"subscriber {subscriber}: exists already")
    add(connection, Subscriber(id=subscriber, account_id=account, name=name, groups=groups or [], created_at=now))


def set_groups(connection: Connection, subscriber: str, groups: list[str]) -> None:
    """Put a subscriber into exactly these groups."""
    require_user(connection, subscriber)
    connection.execute(update(table(Subscriber)).where(table(Subscriber).c.id == subscriber).values(groups=groups))


def exists(connection: Connection, model: type[SQLModel], key: str) -> bool:
    """Whether a row with this id is there."""
    identifier = table(model).c.id
    return connection.execute(select(identifier).where(identifier == key)).first() is not None


def currency_of(connection: Connection, account: str) -> str:
    """The currency of an account. Raises :class:`PartyError` where there is none."""
    accounts = table(Account)
    currency = connection.execute(select(accounts.c.currency).where(accounts.c.id == account)).scalar()
    if currency is None:
        raise PartyError(f"account {account}: there is none; `tollgate account list` shows all")
    return str(currency)


def require_open(connection: Connection, account: str) -> None:
    """Raises :class:`PartyError` for an account that is erased: what names a person may not come back to it."""
    accounts = table(Account)
    if connection.execute(select(accounts.c.status).where(accounts.c.id == account)).scalar() == ERASED:
        raise PartyError(erased_text(f"account {account}"))


def require_user(connection: Connection, subscriber: str, where: str = "") -> None:
    """Raises :class:`PartyError`, beginning with ``where``, for a subscriber that there is not, or that is erased."""
    subscribers = table(Subscriber)
    row = connection.execute(select(subscribers.c.status).where(subscribers.c.id == subscriber)).first()
    if row is None:
        raise PartyError(
            f"{where}subscriber {subscriber}: there is none; `tollgate account create` makes an account with its "
            "first subscriber, `tollgate account add-subscriber` adds one"
        )
    if row.status == ERASED:
        raise PartyError(where + erased_text(f"subscriber {subscriber}"))


def erased_text(what: str) -> str:
    """Why nothing may be changed of an erased account or subscriber, and what to do."""
    return f"{what}: its person's data is erased, so nothing of it is changed any more; open a new account"


def enroll_terminal(
    connection: Connection, terminal: str, public_key: bytes, subscriber: str, now: datetime, *, label: str = ""
) -> None:
    """Make a terminal known by its Ed25519 public key and bind it to a subscriber."""
    checked_id(terminal, "terminal")
    _check_key(terminal, public_key)
    _check_plain(f"terminal {terminal}", label=label)
    require_user(connection, subscriber, f"terminal {terminal}: ")
    if exists(connection, Terminal, terminal):
        raise PartyError(
            f"terminal {terminal}: is enrolled already; `tollgate terminal replace-key` gives it a new key"
        )
    add(
        connection,
        Terminal(id=terminal, label=label, enrolled_at=now),
        _key(terminal, public_key, now),
        Binding(id=new_id(to_micros(now)), subscriber_id=subscriber, terminal_id=terminal, valid_from=now),
    )
    record(connection, now, "terminal_enrolled", terminal=terminal, subscriber=subscriber)


def _check_key(terminal: str, public_key: bytes) -> None:
    if len(public_key) != 32:
        raise PartyError(
            f"terminal {terminal}: a public key has 32 bytes (64 hexadecimal digits), not {len(public_key)}"
        )
    if int.from_bytes(public_key, "little") & ~(1 << 255) in _WEAK_KEYS:
        raise PartyError(f"terminal {terminal}: anybody can sign for this public key, there is no private one to it")


def _key(terminal: str, public_key: bytes, now: datetime) -> TerminalKey:
    return TerminalKey(id=new_id(to_micros(now)), terminal_id=terminal, public_key=public_key, valid_from=now)


def _require_terminal(connection: Connection, terminal: str) -> None:
    if not exists(connection, Terminal, terminal):
        raise PartyError(f"terminal {terminal}: is not enrolled; see `tollgate terminal list`")


def _end_keys(connection: Connection, terminal: str, now: datetime) -> None:
    ends = table(TerminalKey).c.valid_to
    connection.execute(
        update(table(TerminalKey))
        .where(table(TerminalKey).c.terminal_id == terminal, ends.is_(None))
        .values(valid_to=now)
    )


def revoke_terminal(connection: Connection, terminal: str, now: datetime, *, reason: str = "") -> None:
    """Refuse the terminal from now on; its agreements and charges stay."""
    _require_terminal(connection, terminal)
    _end_keys(connection, terminal, now)
    connection.execute(
        update(table(Terminal)).where(table(Terminal).c.id == terminal).values(status="revoked", revoked_at=now)
    )
    record(connection, now, "terminal_revoked", terminal=terminal, reason=reason)


def holds(connection: Connection, terminal: str, public_key: bytes, subscriber: str) -> bool:
    """Whether a terminal is active with this key and this user, which may have changed since it logged on."""
    key, binding = table(TerminalKey), table(Binding)
    found = connection.execute(
        select(table(Terminal).c.id)
        .join(key, key.c.terminal_id == table(Terminal).c.id)
        .join(binding, binding.c.terminal_id == table(Terminal).c.id)
        .where(
            table(Terminal).c.id == terminal, table(Terminal).c.status == "active",
            key.c.valid_to.is_(None), key.c.public_key == public_key,
            binding.c.valid_to.is_(None), binding.c.subscriber_id == subscriber,
        )
    )  # fmt: skip
    return found.first() is not None


def replace_key(connection: Connection, terminal: str, public_key: bytes, now: datetime) -> None:
    """End the terminal's key and give it a new one; a revoked terminal becomes active again."""
    _require_terminal(connection, terminal)
    _check_key(terminal, public_key)
    _end_keys(connection, terminal, now)
    add(connection, _key(terminal, public_key, now))
    connection.execute(
        update(table(Terminal)).where(table(Terminal).c.id == terminal).values(status="active", revoked_at=None)
    )
    record(connection, now, "terminal_key_replaced", terminal=terminal)


def bind_terminal(connection: Connection, terminal: str, subscriber: str, now: datetime) -> None:
    """From now on this subscriber uses the terminal."""
    _require_terminal(connection, terminal)
    require_user(connection, subscriber)
    ends = table(Binding).c.valid_to
    connection.execute(
        update(table(Binding)).where(table(Binding).c.terminal_id == terminal, ends.is_(None)).values(valid_to=now)
    )
    add(
        connection,
        Binding(id=new_id(to_micros(now)), subscriber_id=subscriber, terminal_id=terminal, valid_from=now),
    )
    record(connection, now, "terminal_bound", terminal=terminal, subscriber=subscriber)
