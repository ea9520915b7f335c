"""Commitments: what an account promised to spend in a cycle and did not is charged when it is billed next.

Every cycle owes its commitment, also one in which nothing was used or no bill was made: a run settles each cycle from
where the last one stopped up to the one that it bills. What re-rating changed of a settled one is charged, or given
back, with the next run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, func, or_, select, update

from charging.billing.commitment import true_up
from charging.billing.cycle import cycle_of
from charging.ledger.book import apply, open_account
from charging.ledger.operations import Applied, Duplicate, Leg, Operation, Post
from charging.ledger.operations import Charge as LedgerCharge
from charging.ledger.tables import OPERATOR, REVENUE, UNBILLED, LedgerAccount
from charging.periods import Period
from operator_server.billing.making import CLOSED, Run, billed_cycle, zone_of
from operator_server.billing.writing import SOURCE, lock_numbers
from operator_server.parties import PartyError, exists, require_open
from operator_server.settings import OperatorSettings
from operator_server.store.accounting import Charge, InvoiceRow
from operator_server.store.billing import Commitment
from operator_server.store.parties import Account
from operator_server.store.receivables import Rerating
from operator_server.store.rows import add, add_many, matching, table
from operator_server.store.store import transact
from operator_server.usage.history import RERATED, as_rated_last
from signalling.clock import from_micros, to_micros
from signalling.ids import new_id
from signalling.money import MAX_MICROS, MoneyError, checked_currency

KIND = "commitment"
_PORTION = 200


@dataclass(frozen=True, slots=True)
class _Part:
    """What of a commitment is settled at once: ``begin`` to ``end`` (exclusive) of a cycle."""

    cycle: Period
    begin: datetime
    end: datetime


@dataclass(frozen=True)
class NewCommitment:
    """What an account promises: ``amount`` micros net of ``currency`` a cycle, from ``starts_at`` on.

    The currency need not be the account's: what is missing to it is on an invoice of its own.
    """

    account: str
    amount: int
    currency: str
    starts_at: datetime
    label: str = "Minimum spend"
    tax_category: str = "S"
    ends_at: datetime | None = None


def add_commitment(connection: Connection, new: NewCommitment, operator: OperatorSettings, now: datetime) -> str:
    """Keep a commitment; its id. Raises :class:`PartyError` for what cannot be."""
    where = f"commitment of account {new.account}"
    if not exists(connection, Account, new.account):
        raise PartyError(f"account {new.account}: there is none; `tollgate account list` shows all")
    require_open(connection, new.account)
    try:
        checked_currency(new.currency)
    except MoneyError as error:
        raise PartyError(f"{where}: {error}") from None
    if not 0 < new.amount <= MAX_MICROS:
        raise PartyError(f"{where}: the amount must be above zero")
    if new.tax_category not in operator.tax_rates:
        raise PartyError(f"{where}: tax category {new.tax_category!r} is none of {', '.join(operator.tax_rates)}")
    if new.ends_at is not None and new.ends_at <= new.starts_at:
        raise PartyError(f"{where}: it ends before it begins")
    commitment = new_id(to_micros(now))
    add(
        connection,
        Commitment(
            id=commitment,
            account_id=new.account,
            currency=new.currency,
            amount=new.amount,
            label=new.label,
            tax_category=new.tax_category,
            starts_at=new.starts_at,
            ends_at=new.ends_at,
        ),
    )
    return commitment


def end_commitment(connection: Connection, commitment: str, ends_at: datetime) -> None:
    """Let a commitment end; of the cycle in which that lies, its share is promised. Raises :class:`PartyError`."""
    rows = table(Commitment)
    found = connection.execute(select(rows).where(rows.c.id == commitment)).first()
    if found is None:
        raise PartyError(f"commitment {commitment}: there is none; `tollgate bill commitments` shows all")
    if ends_at < found.starts_at:
        raise PartyError(f"commitment {commitment}: it begins at {found.starts_at.isoformat()}, after that")
    connection.execute(update(rows).where(rows.c.id == commitment).values(ends_at=ends_at))


def commitments(connection: Connection, account: str = "") -> Sequence[Row[Any]]:
    """All commitments, or an account's, in the order they were made."""
    rows = table(Commitment)
    return connection.execute(matching(select(rows).order_by(rows.c.id), (rows.c.account_id, account))).all()


def true_up_commitments(engine: Engine, operator: OperatorSettings, run: Run, now: datetime) -> None:
    """Charge what is missing to each commitment up to the cycle that ``run`` bills, once however often it is called."""
    rows, account, last = table(Commitment), table(Account), ""

    def portion(connection: Connection) -> Sequence[Row[Any]]:
        found = connection.execute(
            select(rows, account.c.cycle_day, account.c.time_zone, account.c.status)
            .join(account, account.c.id == rows.c.account_id)
            .where(rows.c.id > last)
            .order_by(rows.c.id)
            .limit(_PORTION)
        ).all()
        if found:
            _true_up(connection, operator, run, found, now)
        return found

    while done := transact(engine, portion):
        last = done[-1].id


def _true_up(
    connection: Connection, operator: OperatorSettings, run: Run, portion: Sequence[Row[Any]], now: datetime
) -> None:
    lock_numbers(connection)
    charged: list[Charge] = []
    rows, invoice, rerating = table(Commitment), table(InvoiceRow), table(Rerating)
    rerated = set(
        connection.execute(
            select(invoice.c.account_id)
            .join(rerating, rerating.c.invoice_number == invoice.c.number)
            .where(invoice.c.account_id.in_({row.account_id for row in portion}))
        ).scalars()
    )
    for row in portion:
        billed = billed_cycle(row, run, operator, now)
        if billed is None:
            continue
        zone, until = zone_of(row, operator), None
        if row.account_id in rerated:
            charged += _corrected(connection, row, billed, operator, now)
        for part in _parts(row, billed, zone):
            until = part.end
            if not _charged(connection, row.id, part):
                since = max(part.cycle.start, row.settled_until or part.cycle.start)
                spent = _spent(connection, row, part.cycle, since)
                due = true_up(row.amount, spent, part.cycle, part.begin, part.end, zone)
                if due:
                    charged.append(_charge(row, part, billed, due, operator, now))
        if until is not None:
            # Who gets a last bill promises nothing any more.
            ended = {"ends_at": until} if row.status == CLOSED else {}
            connection.execute(update(rows).where(rows.c.id == row.id).values(settled_until=until, **ended))
    parts = [(f"{each.agreement_id}:{to_micros(each.service_to or each.effective_at)}", each) for each in charged]
    book(connection, numbered(connection, parts), now)


def _parts(row: Row[Any], billed: Period, zone: tzinfo) -> Iterator[_Part]:
    """The cycles of a commitment that are not settled yet, up to the one that is billed."""
    begin = max(row.starts_at, row.settled_until or row.starts_at)
    ends = billed.end if row.ends_at is None else min(billed.end, row.ends_at)
    while begin < ends:
        cycle = cycle_of(begin, row.cycle_day, zone)
        end = min(cycle.end, ends)
        # A part of a cycle is no reason to charge what may yet be spent; the last bill is.
        if cycle.end > billed.end and row.status != CLOSED:
            return
        yield _Part(cycle, begin, end)
        begin = end


def book(connection: Connection, charged: Sequence[tuple[str, Charge]], now: datetime) -> None:
    """Post charges of commitments, each once by its operation id, and store those that were not there."""
    operations = [_operation(op_id, each) for op_id, each in charged]
    if not operations:
        return
    kept = []
    _open_accounts(connection, {(each.account_id, each.currency) for _, each in charged})
    outcomes = apply(connection, operations, to_micros(now), writer=SOURCE)
    for (op_id, each), outcome in zip(charged, outcomes, strict=True):
        if isinstance(outcome, Applied):
            each.transfer_id = outcome.transfer_id
            kept.append(each)
        elif not isinstance(outcome, Duplicate):
            raise PartyError(f"commitment {op_id} of account {each.account_id}: {outcome}")
    add_many(connection, kept)


def numbered(connection: Connection, charged: Sequence[tuple[str, Charge]]) -> list[tuple[str, Charge]]:
    """The charges with operation ids of their own, where others of the same agreement and time came before."""
    charge = table(Charge)
    which = (charge.c.agreement_id, charge.c.service_from, charge.c.service_to)
    before = {
        (agreement, begin, end): count
        for agreement, begin, end, count in connection.execute(
            select(*which, func.count())
            .where(charge.c.agreement_id.in_({each.agreement_id for _, each in charged}), charge.c.kind == KIND)
            .group_by(*which)
        )
    }
    made = []
    for op_id, each in charged:
        times = before.get((each.agreement_id, each.service_from, each.service_to))
        made.append((f"{op_id}:{times}" if times else op_id, each))
    return made


def _operation(op_id: str, charge: Charge) -> Operation:
    common: dict[str, Any] = {
        "source": SOURCE, "op_id": op_id, "effective_at": charge.effective_at, "agreement_id": charge.agreement_id,
    }  # fmt: skip
    owner, currency, net = charge.account_id, charge.currency, charge.net
    if net < 0:
        legs = (Leg(owner, UNBILLED, currency, net), Leg(OPERATOR, REVENUE, currency, -net))
        return Post(**common, kind="commitment_credit", legs=legs)
    version = charge.tariff_version or None
    return LedgerCharge(
        **common, owner=owner, amount=net, currency=currency, tariff_version_id=version, checked=False
    )  # fmt: skip


def _corrected(
    connection: Connection, row: Row[Any], billed: Period, operator: OperatorSettings, now: datetime
) -> Iterator[Charge]:
    """What re-rating changed of the parts of a commitment that are settled already."""
    charge, zone = table(Charge), zone_of(row, operator)
    if row.settled_until is None:
        return
    again = connection.execute(
        select(charge.c.effective_at).where(
            charge.c.account_id == row.account_id, charge.c.currency == row.currency, charge.c.kind == RERATED,
            charge.c.effective_at >= row.starts_at, charge.c.effective_at < row.settled_until,
        )
    ).scalars()  # fmt: skip
    for cycle in sorted({cycle_of(at, row.cycle_day, zone) for at in again}):
        part = _Part(cycle, max(row.starts_at, cycle.start), min(row.ends_at or cycle.end, cycle.end))
        if part.end > row.settled_until:
            continue
        settled = connection.execute(
            select(charge.c.net, charge.c.service_from, charge.c.service_to).where(_of_part(row.id, part))
        ).all()
        if any((each.service_from, each.service_to) != (part.begin, part.end) for each in settled):
            continue  # The account's cycle was another then.
        due = true_up(row.amount, _spent(connection, row, cycle, cycle.start), cycle, part.begin, part.end, zone)
        if due != sum(each.net for each in settled):
            yield _charge(row, part, billed, due - sum(each.net for each in settled), operator, now)


def _open_accounts(connection: Connection, wanted: set[tuple[str, str]]) -> None:
    """Open the ledger accounts of customers who promised a spend in a currency that they never used."""
    ledger = table(LedgerAccount)
    there = connection.execute(
        select(ledger.c.owner, ledger.c.currency).where(
            ledger.c.kind == UNBILLED, ledger.c.owner.in_({owner for owner, _ in wanted})
        )
    )
    for owner, currency in sorted(wanted - {(row.owner, row.currency) for row in there}):
        open_account(connection, owner, currency)


def _of_part(commitment: str, part: _Part) -> ColumnElement[bool]:
    charge = table(Charge)
    return and_(charge.c.agreement_id == commitment, charge.c.service_from < part.end, charge.c.service_to > part.begin)


def _charged(connection: Connection, commitment: str, part: _Part) -> bool:
    return connection.execute(select(table(Charge).c.id).where(_of_part(commitment, part))).first() is not None


def _spent(connection: Connection, row: Row[Any], cycle: Period, since: datetime) -> int:
    """Micros net that an account was charged for within a cycle from ``since`` on, as they were rated last."""
    charge = table(Charge)
    first = charge.alias()
    total = (
        select(func.coalesce(func.sum(charge.c.net), 0))
        .outerjoin(first, first.c.id == charge.c.reverses_id)
        .where(charge.c.kind != KIND, charge.c.pays != "none")
        # What is given back of an earlier cycle is not spent less in this one.
        .where(or_(first.c.id.is_(None), first.c.effective_at >= since))
    )
    which = (
        charge.c.account_id == row.account_id, charge.c.currency == row.currency, charge.c.effective_at >= since,
        charge.c.effective_at < cycle.end,
    )  # fmt: skip
    return int(connection.execute(as_rated_last(total, *which)).scalar_one())


def _charge(row: Row[Any], part: _Part, billed: Period, due: int, operator: OperatorSettings, now: datetime) -> Charge:
    return Charge(
        id=new_id(to_micros(now)),
        kind=KIND,
        agreement_id=row.id,
        account_id=row.account_id,
        subscriber_id=row.account_id,
        period=part.cycle.name,
        # Cycles before the one that is billed stay as they were.
        effective_at=from_micros(to_micros(billed.end) - 1),
        recorded_at=now,
        net=due,
        currency=row.currency,
        tax_category=row.tax_category,
        tax_rate=operator.tax_basis_points()[row.tax_category],
        transfer_id="",
        service_from=part.begin,
        service_to=part.end,
    )
