"""Where a usage record belongs: who pays for it, by which tariff version and agreement, in which month."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta, tzinfo

from sqlalchemy import Connection, select

from charging.periods import PeriodError, period, period_of
from charging.tariffs import Tariff, TariffBook, TariffVersion
from operator_server.counting.book import portions
from operator_server.counting.metering import LIFE
from operator_server.store.parties import Account, Subscriber
from operator_server.store.rows import table
from operator_server.usage.records import BadRecord, Record
from operator_server.usage.standing import CUSTOMER, Customer, agreement_id, customer_from
from signalling.clock import to_micros

AHEAD = timedelta(minutes=5)
"""How far another system's clock may be ahead."""

_DAY = timedelta(days=1)
_MOST_KEPT = 50_000


class Stretch:
    """Use of a tariff by a subscriber from ``begin`` to ``end`` (micros, exclusive): one version and one month of it.

    ``period``: what the use is rated in; ``month``, or the life of the ``agreement``.
    """

    __slots__ = ("agreement", "begin", "customer", "end", "month", "period", "tariff", "version")

    def __init__(
        self, customer: Customer, tariff: Tariff, version: TariffVersion, month: str, begin: int, end: int
    ) -> None:
        self.customer = customer
        self.tariff = tariff
        self.version = version
        self.month = month
        self.begin = begin
        self.end = end
        self.period = month if version.included_per == "month" else LIFE
        self.agreement = agreement_id(customer.subscriber, tariff.tariff_id)


class Places:
    """Finds where records belong. What it learnt of subscribers and tariffs it knows for the next ones."""

    def __init__(self, book: TariffBook, zone: tzinfo) -> None:
        self._book = book
        self._zone = zone
        self._customers: dict[str, Customer] = {}
        self._stretches: dict[tuple[str, str], list[Stretch]] = {}
        self._months: list[tuple[int, int, str]] = []

    def learn(self, connection: Connection, subscribers: Collection[str]) -> None:
        """Who these subscribers are."""
        if len(self._stretches) > _MOST_KEPT:
            self._stretches.clear()
        subscriber, account = table(Subscriber), table(Account)
        statement = select(*CUSTOMER).join(account, account.c.id == subscriber.c.account_id)
        for ids in portions(sorted(set(subscribers) - self._customers.keys())):
            for row in connection.execute(statement.where(subscriber.c.id.in_(ids))):
                self._customers[row[0]] = customer_from(row)

    def of(self, record: Record, latest: int) -> Stretch:
        """Where a record belongs, whose subscriber was asked for; ``latest``: the last instant, in micros, that may be.

        Raises :class:`BadRecord` and :class:`charging.tariffs.TariffError`.
        """
        at = record.micros
        if at <= latest:
            for stretch in self._stretches.get((record.subscriber, record.tariff), ()):
                if stretch.begin <= at < stretch.end:
                    return stretch
        return self._look(record, latest)

    def _look(self, record: Record, latest: int) -> Stretch:
        customer, at = self._customers.get(record.subscriber), record.at
        if customer is None:
            raise BadRecord(f"subscriber: there is no {record.subscriber!r}; `tollgate account create` makes one")
        if record.micros > latest:
            raise BadRecord(f"at: {at.isoformat()} has not come yet")
        tariff = self._book.tariff(record.tariff)
        version = self._book.at(record.tariff, at)
        if version.currency != customer.currency:
            raise BadRecord(
                f"tariff: {record.tariff} is in {version.currency}, account {customer.account} in {customer.currency}"
            )
        start, end, month = self._month(at)
        start = max(start, to_micros(version.effective_from))
        later = [each.effective_from for each in tariff.versions if each.effective_from > version.effective_from]
        stretch = Stretch(customer, tariff, version, month, start, min([end, *map(to_micros, later)]))
        if start < stretch.end:
            self._stretches.setdefault((record.subscriber, record.tariff), []).append(stretch)
        return stretch

    def _month(self, at: datetime) -> tuple[int, int, str]:
        """The name of an instant's month in the operator's zone, and from when to when it surely is that one."""
        micros = to_micros(at)
        for month in self._months:
            if month[0] <= micros < month[1]:
                return month
        name = period_of(at, self._zone)
        try:
            whole = period(name, self._zone)
        except PeriodError:
            return 0, 0, name
        # A clock that is put back at midnight may show the last day of the month before a second time.
        found = (to_micros(whole.start + _DAY), to_micros(whole.end - _DAY), name)
        if not found[0] <= micros < found[1]:
            return 0, 0, name
        self._months.append(found)
        return found
