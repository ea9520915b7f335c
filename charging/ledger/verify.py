"""Proving the ledger: balances against postings by set-based statements, sealed groups by hashing them again.

A finding says what is wrong and where; no finding means that all of this holds:

1. the postings of every transfer sum to zero in each currency, and every posting belongs to a transfer;
2. every balance is the sum of its account's postings;
3. what an account has reserved is the sum of what is left of its open reservations;
4. no operation was done twice, and nothing was reversed beyond what was charged;
5. no money paid ahead is below zero, but where an unchecked pseudo-prepaid charge was to take it there;
6. every transfer stands in exactly one sealed group, the groups of a writer are numbered without a gap and chained by
   their roots, and neither they nor their transfers and postings are altered.

A chain cannot show that its newest groups were cut off together with their postings *and* the balances changed to
fit; who wants to prove that too keeps a writer's last root elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.sql import Select

from charging.ledger.seal import FIRST_ROOT, group_root, leaf
from charging.ledger.statements import accounts, groups, postings, reservations, transfers
from charging.ledger.tables import OPERATOR, PREPAID


@dataclass(frozen=True, slots=True)
class Finding:
    """``what`` is wrong, and ``where``: the transfer, account, reservation or group."""

    what: str
    where: str


def verify(connection: Connection) -> list[Finding]:
    """All findings, in one snapshot of the database; an empty list is a proven ledger."""
    return [
        *_unbalanced(connection),
        *_balances(connection),
        *_reserved(connection),
        *_twice(connection),
        *_over_reversed(connection),
        *_overdrawn(connection),
        *_seals(connection),
    ]


def _unbalanced(connection: Connection) -> Iterator[Finding]:
    total = func.sum(postings.c.amount)
    rows = connection.execute(
        select(postings.c.transfer_id, postings.c.currency, total)
        .group_by(postings.c.transfer_id, postings.c.currency)
        .having(total != 0)
    )
    for transfer, currency, amount in rows:
        yield Finding(f"its postings in {currency} sum to {amount} micros, not to zero", f"transfer {transfer}")
    homeless = (
        select(postings.c.transfer_id)
        .distinct()
        .where(~select(transfers.c.id).where(transfers.c.id == postings.c.transfer_id).exists())
    )
    for (transfer,) in connection.execute(homeless):
        yield Finding("it has postings but does not exist", f"transfer {transfer}")


def _balances(connection: Connection) -> Iterator[Finding]:
    sums = (
        select(postings.c.ledger_account_id, func.sum(postings.c.amount).label("posted"))
        .group_by(postings.c.ledger_account_id)
        .subquery()
    )
    posted = func.coalesce(sums.c.posted, 0)
    rows = connection.execute(
        select(accounts.c.owner, accounts.c.kind, accounts.c.currency, accounts.c.balance, posted)
        .join_from(accounts, sums, sums.c.ledger_account_id == accounts.c.id, isouter=True)
        .where(accounts.c.balance != posted)
    )
    for owner, kind, currency, balance, amount in rows:
        yield Finding(
            f"its balance is {balance} micros, its postings sum to {amount}", f"account {owner} {kind} {currency}"
        )
    mixed = (
        select(postings.c.transfer_id, accounts.c.owner, accounts.c.kind, postings.c.currency)
        .join_from(postings, accounts, accounts.c.id == postings.c.ledger_account_id, isouter=True)
        .where(accounts.c.currency.is_distinct_from(postings.c.currency))
    )
    for transfer, owner, kind, currency in connection.execute(mixed):
        yield Finding(
            f"a posting in {currency} is not in the currency of its account", f"transfer {transfer} {owner} {kind}"
        )


def _reserved(connection: Connection) -> Iterator[Finding]:
    sums = (
        select(reservations.c.ledger_account_id, func.sum(reservations.c.remaining).label("held"))
        .where(reservations.c.state == "open")
        .group_by(reservations.c.ledger_account_id)
        .subquery()
    )
    held = func.coalesce(sums.c.held, 0)
    rows = connection.execute(
        select(accounts.c.owner, accounts.c.kind, accounts.c.currency, accounts.c.reserved, held)
        .join_from(accounts, sums, sums.c.ledger_account_id == accounts.c.id, isouter=True)
        .where(accounts.c.reserved != held)
    )
    for owner, kind, currency, reserved, amount in rows:
        yield Finding(
            f"it has {reserved} micros reserved, its open reservations hold {amount}",
            f"account {owner} {kind} {currency}",
        )
    captured = (
        select(transfers.c.pending_id, func.sum(postings.c.amount).label("captured"))
        .join_from(transfers, postings, postings.c.transfer_id == transfers.c.id)
        .where(transfers.c.kind == "capture", postings.c.leg == 0)
        .group_by(transfers.c.pending_id)
        .subquery()
    )
    used = func.coalesce(captured.c.captured, 0)
    uneven = connection.execute(
        select(reservations.c.id, reservations.c.amount, reservations.c.remaining, used)
        .join_from(reservations, captured, captured.c.pending_id == reservations.c.id, isouter=True)
        .where(reservations.c.amount != reservations.c.remaining + used)
    )
    for id, amount, remaining, used_amount in uneven:
        yield Finding(f"of {amount} micros {used_amount} are captured and {remaining} remain", f"reservation {id}")


def _twice(connection: Connection) -> Iterator[Finding]:
    rows = connection.execute(
        select(transfers.c.source, transfers.c.op_id, func.count())
        .group_by(transfers.c.source, transfers.c.op_id)
        .having(func.count() > 1)
    )
    for source, op_id, times in rows:
        yield Finding(f"it was done {times} times", f"operation {source} {op_id}")


def _over_reversed(connection: Connection) -> Iterator[Finding]:
    back = (
        select(transfers.c.reverses_id, func.sum(postings.c.amount).label("back"))
        .join_from(transfers, postings, postings.c.transfer_id == transfers.c.id)
        .where(transfers.c.reverses_id.is_not(None), postings.c.leg == 0)
        .group_by(transfers.c.reverses_id)
        .subquery()
    )
    charged = func.coalesce(postings.c.amount, 0)
    rows = connection.execute(
        select(back.c.reverses_id, charged, back.c.back)
        .join_from(back, postings, (postings.c.transfer_id == back.c.reverses_id) & (postings.c.leg == 0), isouter=True)
        .where(charged + back.c.back < 0)
    )
    for transfer, amount, taken in rows:
        yield Finding(f"{-taken} of {amount} micros are taken back", f"transfer {transfer}")


def _overdrawn(connection: Connection) -> Iterator[Finding]:
    below = connection.execute(
        select(accounts.c.id, accounts.c.owner, accounts.c.currency, accounts.c.balance).where(
            accounts.c.kind == PREPAID, accounts.c.balance > 0, accounts.c.owner != OPERATOR
        )
    ).all()
    if not below:
        return
    allowed = set(
        connection.execute(
            select(postings.c.ledger_account_id)
            .distinct()
            .join_from(transfers, postings, postings.c.transfer_id == transfers.c.id)
            .where(transfers.c.kind == "overdraw", postings.c.leg == 0)
        ).scalars()
    )
    for id, owner, currency, balance in below:
        if id not in allowed:
            yield Finding(
                f"it is {balance} micros below zero, and nothing was overdrawn", f"account {owner} {PREPAID} {currency}"
            )


def _seals(connection: Connection) -> Iterator[Finding]:
    """Walk groups and transfers side by side in the order of identifiers; groups do not overlap."""
    hashed = _leaves(connection)
    current = next(hashed, None)
    heads: dict[str, list[tuple[int, bytes, bytes, str]]] = {}
    for writer, sequence, first, last, count, root, previous in connection.execute(
        select(
            groups.c.writer,
            groups.c.sequence,
            groups.c.first_transfer,
            groups.c.last_transfer,
            groups.c.transfers,
            groups.c.root,
            groups.c.previous_root,
        ).order_by(groups.c.first_transfer)
    ):
        where = f"group {writer} {sequence}"
        while current is not None and current[0] < first:
            yield Finding("it stands in no sealed group", f"transfer {current[0]}")
            current = next(hashed, None)
        leaves = []
        while current is not None and current[0] <= last:
            leaves.append(current[1])
            current = next(hashed, None)
        if len(leaves) != count:
            yield Finding(f"it sealed {count} transfers, there are {len(leaves)}", where)
        elif group_root(previous, leaves) != root:
            yield Finding(f"it or a transfer from {first} to {last} was altered after it was sealed", where)
        heads.setdefault(writer, []).append((sequence, previous, root, where))
    while current is not None:
        yield Finding("it stands in no sealed group", f"transfer {current[0]}")
        current = next(hashed, None)
    for chain in heads.values():
        yield from _chain(sorted(chain))


def _chain(chain: list[tuple[int, bytes, bytes, str]]) -> Iterator[Finding]:
    expected_sequence, expected_root = 1, FIRST_ROOT
    for sequence, previous, root, where in chain:
        if sequence != expected_sequence:
            yield Finding(f"the groups from {expected_sequence} to {sequence - 1} before it are missing", where)
        elif previous != expected_root:
            yield Finding("its previous root is not the root of the group before it", where)
        expected_sequence, expected_root = sequence + 1, root


def _leaves(connection: Connection) -> Iterator[tuple[str, bytes]]:
    """Identifier and leaf of every transfer, in order, reading transfers and postings side by side."""
    posted = _stream(
        connection,
        select(postings.c.transfer_id, postings.c.ledger_account_id, postings.c.currency, postings.c.amount).order_by(
            postings.c.transfer_id, postings.c.leg
        ),
    )
    posting = next(posted, None)
    for transfer in _stream(connection, select(*transfers.c).order_by(transfers.c.id)):
        id = transfer[0]
        while posting is not None and posting[0] < id:
            posting = next(posted, None)
        legs = []
        while posting is not None and posting[0] == id:
            legs.append(posting[1:])
            posting = next(posted, None)
        yield id, leaf(transfer, legs)


def _stream(connection: Connection, statement: Select[Any]) -> Iterator[Any]:
    """Rows as plain tuples, a portion at a time."""
    text = str(statement.compile(dialect=connection.dialect))
    if connection.dialect.name == "sqlite":
        if not connection.in_transaction():
            connection.begin()
        cursor = connection.connection.cursor()
        try:
            cursor.execute(text)
            while rows := cursor.fetchmany(5000):
                yield from rows
        finally:
            cursor.close()
    else:
        result = connection.exec_driver_sql(text, execution_options={"stream_results": True})
        for part in result.partitions(5000):
            yield from (tuple(row) for row in part)
