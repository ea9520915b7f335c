"""What a month's past use would have cost by another tariff version, for console, API and commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from charging.periods import PeriodError
from charging.periods import period as named_period
from charging.tariffs import TariffBook, TariffVersion
from charging.tariffs.simulate import History, Simulation, simulate
from operator_server.counting.tariffs import TariffVersions
from operator_server.store.accounting import Charge
from operator_server.store.rows import table
from operator_server.usage.history import histories

Progress = Callable[[int, int], None]
"""Called with how many uses are rated again, of how many."""


class NothingToCompare(ValueError):
    """A simulation that makes no sense; the text says why."""


def simulate_month(
    connection: Connection, version: TariffVersion, month: str, zone: ZoneInfo, progress: Progress | None = None
) -> Simulation:
    """Rate the use of a month that was charged by any version of the same tariff with ``version``; changes nothing.

    Raises :class:`NothingToCompare`, and ``TariffError`` where a version was not kept.
    """
    try:
        named_period(month, zone)
    except PeriodError as error:
        raise NothingToCompare(str(error)) from None
    tariff = version.tariff_id
    of = _count(connection, tariff, month) if progress else 0
    kept = TariffVersions(lambda: TariffBook([]))
    uses = 0

    def watched() -> Iterator[History]:
        nonlocal uses
        for history in histories(connection, kept, tariff, month):
            other = {each.use.version.currency for each in history.charged} - {version.currency}
            if other:
                raise NothingToCompare(
                    f"{version.version_id} is in {version.currency}, but {month} was charged in {', '.join(other)}"
                )
            yield history
            uses += sum(each.counts for each in history.charged)
            if progress:
                progress(uses, of)

    result = simulate(watched(), version)
    if not uses:
        raise NothingToCompare(f"no use was charged by tariff {tariff!r} in {month}; nothing to compare")
    return result


def months_of(connection: Connection, tariff: str, most: int = 24) -> list[str]:
    """The months in which use was charged by a tariff, newest first."""
    charge = table(Charge)
    rows = connection.execute(
        select(charge.c.period)
        .where(charge.c.kind == "use", charge.c.tariff_version.startswith(f"{tariff}@", autoescape=True))
        .group_by(charge.c.period)
        .order_by(charge.c.period.desc())
        .limit(most)
    )
    return [str(period) for period in rows.scalars()]


def _count(connection: Connection, tariff: str, month: str) -> int:
    charge = table(Charge)
    return int(
        connection.execute(
            select(func.count()).where(
                charge.c.kind == "use",
                charge.c.period == month,
                charge.c.tariff_version.startswith(f"{tariff}@", autoescape=True),
            )
        ).scalar_one()
    )
