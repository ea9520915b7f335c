"""What is to be mended: found by indexes of what is open, or in bounds of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, and_, func, or_, select
from tuf.api.exceptions import RepositoryError

from operator_server.delivery.expiry import RoleExpiry, role_expiries
from operator_server.store.accounting import CounterGap
from operator_server.store.cards import CardPacketRow
from operator_server.store.configurations import InterrogationOrder
from operator_server.store.dealings import Agreement, Delivery, Installation
from operator_server.store.devices import Device
from operator_server.store.invitations import OutgoingMessage
from operator_server.store.parties import TerminalSession
from operator_server.store.rows import table
from signalling.clock import to_micros

DELIVERIES = timedelta(days=7)
WAITS = timedelta(minutes=10)
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something to be mended: how often, what it means and what mends it, and where. ``bad``: it stops something."""

    title: str
    count: int
    mend: str
    url: str
    examples: tuple[tuple[str, str], ...] = ()
    bad: bool = False


@dataclass
class Repository:
    """The expiry of the repository's metadata, read again when the timestamp was replaced."""

    metadata: Path
    _stamp: int = -1
    _known: list[RoleExpiry] = field(default_factory=list)

    def expiring(self, now: datetime) -> list[RoleExpiry]:
        """Roles whose time is nearly over. Their owner signs them anew at half of it, so something keeps that from it.

        Raises ``OSError`` where there is no repository.
        """
        stamp = (self.metadata / "timestamp.json").stat().st_mtime_ns
        if stamp != self._stamp:
            self._known, self._stamp = role_expiries(self.metadata), stamp
        return [each for each in self._known if each.expires - now < WARNED.get(each.role, timedelta(days=20))]


WARNED = {
    "timestamp": timedelta(hours=20), "snapshot": timedelta(days=6), "bins": timedelta(days=40),
    "targets": timedelta(days=60), "root": timedelta(days=60),
}  # fmt: skip


def troubles(
    connection: Connection, repository: Repository, now: datetime, may: Callable[[str], bool]
) -> list[Trouble]:
    """What is to be mended, what stops something first; only what the person may read."""
    found = [*_terminal_troubles(connection, now)] if may("terminals.read") else []
    if may("agreements.read"):
        found += _dealing_troubles(connection, now)
    if may("health.read"):
        found += _repository_troubles(repository, now)
    return sorted(found, key=lambda each: not each.bad)


def _terminal_troubles(connection: Connection, now: datetime) -> Iterator[Trouble]:
    session, device, order = table(TerminalSession), table(Device), table(InterrogationOrder)
    silent = session.c.unanswered > 0
    count = connection.execute(select(func.count()).select_from(session).where(silent)).scalar_one()
    if count:
        rows = connection.execute(
            select(session.c.terminal_id, session.c.unanswered).where(silent).order_by(session.c.terminal_id)
            .limit(EXAMPLES)
        )  # fmt: skip
        yield Trouble(
            "Terminals that do not answer", count,
            "They left inquiries unanswered. They are asked again by themselves; interrogate one to see what it says.",
            "/console/terminals?state=silent", _linked((row[0], f"{row[1]} unanswered") for row in rows),
        )  # fmt: skip
    failing = connection.execute(
        select(device.c.terminal_id, device.c.last_error).where(device.c.state == "failing").limit(EXAMPLES)
    ).all()
    if failing:
        count = connection.execute(
            select(func.count()).select_from(device).where(device.c.state == "failing")
        ).scalar_one()
        yield Trouble(
            "Devices whose polls fail", count, "What each last met stands with it; `tollgate device show` says more.",
            f"/console/terminals/{failing[0][0]}", _linked((row[0], row[1]) for row in failing), bad=True,
        )  # fmt: skip
    waiting = and_(order.c.state == "open", order.c.ordered_at < now - WAITS)
    ids = connection.execute(select(order.c.terminal_id).where(waiting).limit(EXAMPLES + 100)).scalars().all()
    if ids:
        yield Trouble(
            "Interrogations that nobody took up", len(ids),
            "No link process takes orders: see whether the role `link` runs.",
            f"/console/terminals/{ids[0]}", _linked((each, "") for each in ids[:EXAMPLES]), bad=True,
        )  # fmt: skip


def _dealing_troubles(connection: Connection, now: datetime) -> Iterator[Trouble]:
    gap, installation, delivery, agreement = table(CounterGap), table(Installation), table(Delivery), table(Agreement)
    missing = gap.c.closed_at.is_(None)
    count = connection.execute(select(func.count()).select_from(gap).where(missing)).scalar_one()
    if count:
        rows = connection.execute(
            select(installation.c.terminal_id, gap.c.counter, gap.c.first_sequence, gap.c.last_sequence)
            .join(installation, installation.c.id == gap.c.installation_id)
            .where(missing)
            .limit(EXAMPLES)
        )
        yield Trouble(
            "Gaps in counter reports", count,
            "Reports are missing; what they count is not charged until they arrive. The terminal sends them again when "
            "it logs on; if they are lost, agree with the customer on what was used.",
            "/console/terminals?state=gaps",
            _linked((row[0], f"{row[1]}, reports {row[2]} to {row[3]}") for row in rows),
        )  # fmt: skip
    # Ids grow with time: what failed lately is at the end of its state's index.
    since = f"{to_micros(now - DELIVERIES) // 1000:012x}"
    failed = and_(agreement.c.state == "failed", agreement.c.id >= f"{since[:8]}-{since[8:]}")
    count = connection.execute(select(func.count()).select_from(agreement).where(failed)).scalar_one()
    if count:
        rows = connection.execute(
            select(agreement.c.terminal_id, agreement.c.product, delivery.c.reason)
            .outerjoin(delivery, delivery.c.agreement_id == agreement.c.id)
            .where(failed)
            .order_by(agreement.c.id.desc())
            .limit(EXAMPLES)
        )
        yield Trouble(
            "Failed deliveries of the last seven days", count,
            "Nothing was charged for them. The reason stands with each terminal; the user may take the offer again.",
            "/console/terminals?state=failed",
            _linked((row[0], f"{row[1]}: {row[2] or 'no reason told'}") for row in rows), bad=True,
        )  # fmt: skip
    message, packet = table(OutgoingMessage), table(CardPacketRow)
    for rows_of, what in ((message, "Messages to users"), (packet, "Packets to cards")):
        lost = or_(rows_of.c.state == "failed", rows_of.c.state == "refused")
        late = and_(lost, rows_of.c.created_at > now - DELIVERIES)
        count = connection.execute(select(func.count()).select_from(rows_of).where(late)).scalar_one()
        if count:
            undelivered = connection.execute(
                select(rows_of.c.terminal_id, rows_of.c.reason)
                .where(late)
                .order_by(rows_of.c.id.desc())
                .limit(EXAMPLES)
            ).all()
            yield Trouble(
                f"{what} that were not delivered", count,
                "See the reason with each; mend the address, or the way there.",
                f"/console/terminals/{undelivered[0][0]}", _linked((row[0], row[1]) for row in undelivered),
            )  # fmt: skip


def _repository_troubles(repository: Repository, now: datetime) -> Iterator[Trouble]:
    try:
        expiring = repository.expiring(now)
    except OSError:
        yield Trouble(
            "No repository is published", 1,
            "Publish a package: `tollgate publish FILE --name NAME --version 1.0`.", "", bad=True,
        )  # fmt: skip
        return
    except (RepositoryError, ValueError) as error:
        yield Trouble("The repository cannot be read", 1, f"{error}; restore it from a back-up.", "", bad=True)
        return
    if expiring:
        over = any(each.expires <= now for each in expiring)
        told = ", ".join(f"{each.role} {each.expires:%Y-%m-%d %H:%M} UTC" for each in expiring)
        yield Trouble(
            "The repository's signatures have ended" if over else "The repository's signatures end soon", len(expiring),
            f"{told}. The role `worker` renews them while it runs and its keys are there; the root needs its key: see "
            "docs/operator.md. Terminals take nothing from a repository whose signatures have ended.",
            "", bad=True,
        )  # fmt: skip


def _linked(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(pairs)
