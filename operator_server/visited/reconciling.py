"""Whether both sides hold the same records: statements of a month are compared, and differences kept as disputes.

Either side may ask, for what it is owed and for what it owes; what it finds is told to the other side, so that both
see it. A dispute is closed when a later comparison does not find it any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, select, update

from operator_server.context import Operator
from operator_server.store.feed import record
from operator_server.store.rows import add, matching, table
from operator_server.store.store import transact
from operator_server.store.visited import SettlementDispute, SettlementRecord
from operator_server.visited import wire
from operator_server.visited.faults import VisitedError
from operator_server.visited.partners import active_partner
from operator_server.visited.peer import PeerSide, remote_peer
from operator_server.visited.records import Difference, compare, lines_of, month_records, month_span
from operator_server.visited.wire import Direction, Disputed, Line

OTHER: dict[Direction, Direction] = {"receivable": "payable", "payable": "receivable"}

_disputes = table(SettlementDispute)


@dataclass(frozen=True)
class Compared:
    """How a month stands in one direction: records that both hold alike, and where the sides differ."""

    direction: Direction
    alike: int
    differences: Sequence[Difference]


def statement(connection: Connection, network: str, asked: wire.StatementWanted) -> wire.Statement:
    """What we hold of a month with a partner, a part at a time. Raises :class:`VisitedError`."""
    rows = month_records(connection, network, asked.direction, asked.month)
    behind = sorted((line for line in lines_of(rows) if line.id > asked.after), key=lambda line: line.id)
    return wire.Statement(behind[: wire.MOST_LINES], len(behind) > wire.MOST_LINES)


def reconcile(
    operator: Operator, network: str, month: str, peer_of: Callable[[Row[Any]], PeerSide] | None = None
) -> list[Compared]:
    """Compare a month with a partner in both directions; keep what differs, close what does not, and tell the partner.

    Raises :class:`VisitedError`, :class:`operator_server.visited.faults.HomeUnreachable`.
    """
    with operator.engine.connect() as connection:
        partner = active_partner(connection, network)
    peer = peer_of(partner) if peer_of is not None else remote_peer(operator, partner)
    found = []
    for direction, other in OTHER.items():
        theirs = peer.statement(month, other)
        now = operator.clock.now()
        keep = partial(
            _keep,
            own=operator.settings.operator.server_id,
            network=network,
            month=month,
            direction=direction,
            theirs=theirs,
            now=now,
        )
        compared = transact(operator.engine, keep)
        found.append(compared)
        told = [Disputed(each.id, each.what[:300]) for each in compared.differences[: wire.MOST_DISPUTED]]
        peer.dispute(wire.Disputes(month, direction, told))
    return found


def reconcile_recent(
    operator: Operator, peer_of: Callable[[Row[Any]], PeerSide] | None = None
) -> Iterator[tuple[str, str, str]]:
    """Compare this month and the last one with each partner with whom there are records.

    Network, month and what came of it, in words: a partner that does not answer is asked another time.
    """
    now = operator.clock.now()
    rows = table(SettlementRecord)
    for month in (f"{now.replace(day=1) - timedelta(days=1):%Y-%m}", f"{now:%Y-%m}"):
        begin, end = month_span(month)
        with operator.engine.connect() as connection:
            there = select(rows.c.network).where(rows.c.agreed_at >= begin, rows.c.agreed_at < end).distinct()
            networks = connection.execute(there.order_by(rows.c.network)).scalars().all()
        for network in networks:
            try:
                found = reconcile(operator, network, month, peer_of)
            except VisitedError as no:
                yield network, month, f"not compared: {no.reason}"
                continue
            differing = sum(len(each.differences) for each in found)
            yield network, month, f"{sum(each.alike for each in found)} records alike, {differing} differ"


def _keep(
    connection: Connection,
    own: str,
    network: str,
    month: str,
    direction: Direction,
    theirs: Sequence[Line],
    now: datetime,
) -> Compared:
    # Both sides read what differs: it says which is which by name.
    here, there = f"at {own}", f"at {network}"
    rows = month_records(connection, network, direction, month)
    ours = lines_of(rows)
    differences = [_explained(each, rows, here, there) for each in compare(ours, theirs, here, there)]
    _raise(connection, network, month, direction, "us", [(each.id, each.what) for each in differences], now)
    differing = {each.id for each in differences}
    return Compared(direction, sum(line.id not in differing for line in ours), differences)


def _explained(difference: Difference, rows: Iterable[Row[Any]], here: str, there: str) -> Difference:
    """A record that only they acknowledge may be here in another state."""
    state = next((row.state for row in rows if row.id == difference.id and row.state != "acknowledged"), None)
    return difference if state is None else Difference(difference.id, f"acknowledged {there}, {state} {here}")


def take_disputes(connection: Connection, network: str, told: wire.Disputes, now: datetime) -> None:
    """Keep what a partner disputes. Raises :class:`VisitedError` for one of a record that is not between us."""
    ours = OTHER[told.direction]
    rows = table(SettlementRecord)
    ids = [each.record for each in told.records]
    if len(set(ids)) != len(ids):
        raise VisitedError("bad_message", "a record stands twice")
    foreign = connection.execute(
        select(rows.c.id).where(rows.c.id.in_(ids), (rows.c.network != network) | (rows.c.direction != ours)).limit(1)
    ).scalar()
    if foreign is not None:
        raise VisitedError("bad_record", f"record {foreign}: is not one that {network} may dispute so")
    _raise(connection, network, told.month, ours, "them", [(each.record, each.what) for each in told.records], now)


def _raise(
    connection: Connection,
    network: str,
    month: str,
    direction: Direction,
    raised_by: str,
    found: Sequence[tuple[str, str]],
    now: datetime,
) -> None:
    """Keep these as the open disputes of the month; those of before that are not among them are closed."""
    of = (
        _disputes.c.network == network, _disputes.c.direction == direction, _disputes.c.raised_by == raised_by,
    )  # fmt: skip
    known = {row.record_id: row for row in connection.execute(select(_disputes).where(*of))}
    for id, what in found:
        row = known.get(id)
        if row is None:
            add(
                connection,
                SettlementDispute(
                    network=network, direction=direction, record_id=id, raised_by=raised_by, month=month,
                    what=what[:300], found_at=now, seen_at=now,
                ),
            )  # fmt: skip
        else:
            again = {} if row.closed_at is None else {"found_at": now}
            connection.execute(
                update(_disputes)
                .where(*of, _disputes.c.record_id == id)
                .values(what=what[:300], month=month, seen_at=now, closed_at=None, **again)
            )
        if row is None or row.closed_at is not None:
            record(connection, now, "settlement_disputed", reference=id, network=network, by=raised_by, what=what[:300])
    still = {id for id, _ in found}
    for id, row in known.items():
        if row.month == month and row.closed_at is None and id not in still:
            connection.execute(update(_disputes).where(*of, _disputes.c.record_id == id).values(closed_at=now))
            record(connection, now, "settlement_agreed", reference=id, network=network, by=raised_by)


def open_disputes(connection: Connection, network: str = "") -> Sequence[Row[Any]]:
    """What is disputed now, of one partner or all."""
    query = matching(select(_disputes).where(_disputes.c.closed_at.is_(None)), (_disputes.c.network, network))
    return connection.execute(query.order_by(_disputes.c.found_at, _disputes.c.record_id)).all()
