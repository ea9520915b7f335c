"""SEPA direct debits: mandates, and files (pain.008.001.02, by sepaxml) that collect what is due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from lxml import etree
from sepaxml import SepaDD
from sepaxml.validation import ValidationError, try_valid_xml
from sqlalchemy import Connection, Row, func, select, update

from operator_server.parties import ERASED, PartyError, checked_id, erased_text
from operator_server.receivables.books import (
    ReceivablesError,
    due_instant,
    find_account,
    lock,
    take_in_invoices,
)
from operator_server.receivables.disputes import Held, held
from operator_server.settings import Settings
from operator_server.settings.base import checked_bic, checked_iban
from operator_server.store.feed import record
from operator_server.store.receivables import CollectedItem, Collection, Mandate, ReceivableItem
from operator_server.store.rows import add, matching, table
from signalling.money import minor_unit

SCHEMA = "pain.008.001.02"
CURRENCY = "EUR"
SEQUENCE_ENDINGS = ("-FRST", "-RCUR")
"""How the name of a collection's part at the bank ends."""

_LONGEST_MANDATE = 35
_mandate, _item = table(Mandate), table(ReceivableItem)
_collected, _collection = table(CollectedItem), table(Collection)


@dataclass(frozen=True, slots=True)
class Collected:
    """A direct-debit file: its message id, what it collects in micros, and the debts' numbers; ``None`` for nothing."""

    id: str | None
    total: int
    numbers: tuple[str, ...]
    document: bytes


@dataclass(frozen=True, slots=True)
class NewMandate:
    """A customer's permission to collect, signed on paper or on line. Spaces in numbers do not matter."""

    id: str
    account: str
    iban: str
    signed_on: date
    bic: str = ""
    holder: str = ""


def add_mandate(connection: Connection, settings: Settings, new: NewMandate, now: datetime) -> str | None:
    """Keep a mandate; the one that the account had before is revoked, and returned. Raises :class:`ReceivablesError`.

    A second time for the same mandate changes nothing.
    """
    lock(connection)
    try:
        checked_id(new.id, "mandate")
    except PartyError as error:
        raise ReceivablesError(str(error)) from None
    if len(new.id) > _LONGEST_MANDATE:
        raise ReceivablesError(f"mandate {new.id!r}: at most {_LONGEST_MANDATE} characters")
    account = find_account(connection, new.account)
    if account.status == ERASED:
        raise ReceivablesError(erased_text(f"account {new.account}"))
    try:
        iban, bic = checked_iban(new.iban), checked_bic(new.bic) if new.bic else ""
    except ValueError as error:
        raise ReceivablesError(str(error)) from None
    if new.signed_on > now.astimezone(settings.operator.zone).date():
        raise ReceivablesError(f"mandate {new.id}: it is signed on {new.signed_on}, which has not come yet")
    known = connection.execute(select(_mandate).where(_mandate.c.id == new.id)).first()
    if known is not None:
        if (known.account_id, known.iban, known.signed_on, known.state) != (new.account, iban, new.signed_on, "active"):
            raise ReceivablesError(f"mandate {new.id}: there is one of this id, of other content or revoked")
        return None
    former = connection.execute(
        select(_mandate.c.id).where(_mandate.c.account_id == new.account, _mandate.c.state == "active")
    ).scalar()
    _revoke(connection, _mandate.c.account_id == new.account, now)
    add(
        connection,
        Mandate(
            id=new.id, account_id=new.account, holder=new.holder or account.name, iban=iban, bic=bic,
            signed_on=new.signed_on, created_at=now,
        ),
    )  # fmt: skip
    record(connection, now, "mandate", account=new.account, reference=new.id)
    return former


def revoke_mandate(connection: Connection, settings: Settings, mandate: str, now: datetime) -> bool:
    """Nothing is collected by a mandate any more; whether it was active."""
    lock(connection)
    if connection.execute(select(_mandate.c.id).where(_mandate.c.id == mandate)).first() is None:
        raise ReceivablesError(f"mandate {mandate}: there is none; `tollgate mandate list` lists them")
    return _revoke(connection, _mandate.c.id == mandate, now)


def find_mandates(connection: Connection, account: str = "") -> list[Row[Any]]:
    """Mandates, by account, the newest first."""
    statement = select(_mandate).order_by(_mandate.c.account_id, _mandate.c.created_at.desc())
    return list(connection.execute(matching(statement, (_mandate.c.account_id, account))))


def collect(connection: Connection, settings: Settings, on: date, now: datetime) -> Collected:
    """Write the direct-debit file that collects on a day what is due by then of accounts with a mandate.

    What is in a file already and neither returned nor paid, what is disputed, and what is not in euros is left out.
    A second call for the same day finds nothing new. Raises :class:`ReceivablesError`.
    """
    lock(connection)
    today = now.astimezone(settings.operator.zone).date()
    if on <= today:
        raise ReceivablesError(f"{on}: banks need a day at least; the first day is {today + timedelta(days=1)}")
    _check_creditor(settings)
    take_in_invoices(connection, settings, now)
    rows = _due(connection, due_instant(on, settings.operator))
    disputed = held(connection, {row.number for row in rows})
    wanted = [(row, disputed.get(row.number, Held()).demanded(row.open)) for row in rows]
    wanted = [(row, amount) for row, amount in wanted if amount > 0]
    if not wanted:
        return Collected(None, 0, (), b"")
    number = connection.execute(select(func.count()).select_from(_collection)).scalar_one() + 1
    id = f"DD{on:%Y%m%d}-{number:06d}"
    items, used = [], set()
    for place, (row, amount) in enumerate(wanted, 1):
        first = row.first_used_on is None and row.mandate_id not in used
        used.add(row.mandate_id)
        items.append(
            CollectedItem(
                id=f"{id}-{place:06d}", collection_id=id, item_id=row.id, mandate_id=row.mandate_id,
                sequence="FRST" if first else "RCUR", amount=amount,
            )
        )  # fmt: skip
    document = _document(settings, id, on, now, [(item, row) for item, (row, _) in zip(items, wanted, strict=True)])
    total = sum(amount for _, amount in wanted)
    add(
        connection,
        Collection(
            id=id, collect_on=on, currency=CURRENCY, total=total, count=len(items), document=document, created_at=now
        ),
        *items,
    )
    connection.execute(
        update(_mandate)
        .where(_mandate.c.id.in_(sorted(used)), _mandate.c.first_used_on.is_(None))
        .values(first_used_on=on)
    )
    record(connection, now, "collected", reference=id, currency=CURRENCY, total=total, count=len(items))
    return Collected(id, total, tuple(row.number for row, _ in wanted), document)


def cancel_collection(connection: Connection, settings: Settings, id: str, now: datetime) -> int:
    """A file that was never handed to the bank: its debts can be collected again. How many.

    Raises :class:`ReceivablesError` where there is no such file.
    """
    lock(connection)
    if connection.execute(select(_collection.c.id).where(_collection.c.id == id)).first() is None:
        raise ReceivablesError(f"collection {id}: there is none; `tollgate payment collections` lists them")
    count = connection.execute(
        update(_collected)
        .where(_collected.c.collection_id == id, _collected.c.state == "sent")
        .values(state="cancelled")
    ).rowcount
    record(connection, now, "collection_cancelled", reference=id, count=count)
    return int(count)


def find_collections(connection: Connection) -> list[Row[Any]]:
    """Direct-debit files, the newest first."""
    columns = [column for column in _collection.c if column.name != "document"]
    return list(connection.execute(select(*columns).order_by(_collection.c.created_at.desc())))


def _check_creditor(settings: Settings) -> None:
    operator, creditor = settings.operator, settings.receivables.creditor_id
    if not creditor or not operator.iban or not operator.bic:
        raise ReceivablesError(
            "direct debits need receivables.creditor_id, operator.iban and operator.bic in operator.toml"
        )


def _revoke(connection: Connection, which: Any, now: datetime) -> bool:
    revoked = connection.execute(
        update(_mandate).where(which, _mandate.c.state == "active").values(state="revoked", revoked_at=now)
    )
    return bool(revoked.rowcount)


def _due(connection: Connection, until: datetime) -> Sequence[Row[Any]]:
    sent = select(_collected.c.item_id).where(_collected.c.state == "sent")
    rows: Any = connection.execute(
        select(
            _item.c.id, _item.c.number, _item.c.open, _mandate.c.id.label("mandate_id"), _mandate.c.holder,
            _mandate.c.iban, _mandate.c.bic, _mandate.c.signed_on, _mandate.c.first_used_on,
        )
        .join(_mandate, _mandate.c.account_id == _item.c.account_id)
        .where(
            _mandate.c.state == "active", _item.c.currency == CURRENCY, _item.c.open > 0, _item.c.due_at <= until,
            _item.c.kind.in_(["invoice", "fee"]), _item.c.id.not_in(sent),
        )
        .order_by(_item.c.account_id, _item.c.due_at, _item.c.number)
    ).all()  # fmt: skip
    return list(rows)


def _document(
    settings: Settings, id: str, on: date, now: datetime, collected: Sequence[tuple[CollectedItem, Row[Any]]]
) -> bytes:
    operator = settings.operator
    file = SepaDD(
        {
            "name": operator.name, "IBAN": operator.iban, "BIC": operator.bic, "batch": True,
            "creditor_id": settings.receivables.creditor_id, "currency": CURRENCY, "instrument": "CORE",
        },
        schema=SCHEMA,
    )  # fmt: skip
    for item, row in collected:
        payment = {
            "name": row.holder, "IBAN": row.iban, "amount": item.amount // minor_unit(CURRENCY), "type": item.sequence,
            "collection_date": on, "mandate_id": row.mandate_id, "mandate_date": row.signed_on,
            "description": f"{operator.name} {row.number}", "endtoend_id": item.id,
        }  # fmt: skip
        file.add_payment(payment | ({"BIC": row.bic} if row.bic else {}))
    try:
        written = file.export(validate=False)
        named = _named(written, id, now)
        try_valid_xml(named, SCHEMA)
    except ValidationError as error:
        raise ReceivablesError(f"the direct-debit file is not valid by {SCHEMA}: {error.__cause__}") from None
    return named


def _named(document: bytes, id: str, now: datetime) -> bytes:
    """The library's file with our ids and time in place of random ones and the machine's clock."""
    root = etree.fromstring(document)
    names = {"d": etree.QName(root).namespace}
    root.find(".//d:GrpHdr/d:MsgId", names).text = id
    root.find(".//d:GrpHdr/d:CreDtTm", names).text = now.strftime("%Y-%m-%dT%H:%M:%S")
    for part in root.findall(".//d:PmtInf", names):
        part.find("d:PmtInfId", names).text = f"{id}-{part.find('d:PmtTpInf/d:SeqTp', names).text}"
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))
