"""Usage records taken in batches: each batch is one transaction that rates, charges and stores its records.

A record is taken once for its ``(source, id)``; the same again is counted, another of that name is refused. Records
of one standing agreement and period cost together what the tariff makes of the whole, in whatever portions they come.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine, select

from charging.bulk import PortionRater
from charging.modes import Payment
from charging.tariffs import TariffBook, TariffError
from operator_server.balances.drawing import lock_purses
from operator_server.billing.open_period import billed_until
from operator_server.billing.taxpayers import PaidTaxes, inclusive_of
from operator_server.counting.book import portions
from operator_server.counting.metering import NotCharged
from operator_server.counting.units import Units
from operator_server.settings import Settings
from operator_server.store.dealings import Agreement
from operator_server.store.feed import record as record_event
from operator_server.store.races import Overtaken
from operator_server.store.rows import table
from operator_server.store.store import transact
from operator_server.usage.placing import AHEAD, Places, Stretch
from operator_server.usage.posting import Posting
from operator_server.usage.rating import Placed, Rated, Rating, Refused
from operator_server.usage.reading import Line, open_source
from operator_server.usage.records import BadRecord, Record, read_record
from operator_server.usage.rejects import Rejects
from operator_server.usage.standing import Wanted, keep_agreements, payments
from operator_server.usage.statements import statements
from signalling.clock import Clock, to_micros

BATCH = 4000
"""Records in a transaction; others who write wait as long as it takes, about a quarter of a second."""

FEWEST = 400
"""Of fewer records of a tariff version in a transaction, rating by columns would take longer."""


@dataclass(slots=True)
class Report:
    """How many records were taken (of them ``late``: billed in a later period than they were used in), were ``known``
    already, and were refused; ``rejects`` is the file of these."""

    file: Path
    taken: int = 0
    known: int = 0
    late: int = 0
    refused: int = 0
    rejects: Path | None = None


Read = tuple[Line, Record | str]
"""A line with its record, or with why it is none."""


@dataclass(slots=True)
class Outcome:
    """What became of a batch."""

    taken: int = 0
    known: int = 0
    late: int = 0
    refused: list[tuple[Line, str]] = field(default_factory=list)


class Importer:
    """Takes usage records into an operator's store. ``default_source`` stands where a record names none.

    ``fewest``: from so many records of a tariff version in a transaction on, they are rated by columns.
    """

    def __init__(
        self,
        book: TariffBook,
        settings: Settings,
        key: Ed25519PrivateKey,
        clock: Clock,
        *,
        default_source: str = "",
        fewest: int = FEWEST,
    ) -> None:
        self._settings = settings
        self._server = settings.operator.server_id
        self._tax_rates = settings.operator.tax_basis_points()
        self._taxes = PaidTaxes(settings)
        self._key = key
        self._clock = clock
        self._default_source = default_source
        self._places = Places(book, settings.operator.zone)
        self._rater = PortionRater()
        self._fewest = fewest

    def import_file(
        self, engine: Engine, path: Path, *, batch: int = BATCH, progress: Callable[[float], None] | None = None
    ) -> Report:
        """Take a file. Killed and started again, it goes on: what was taken is known then.

        ``progress`` hears after each batch how far the file was read, between 0 and 1. Raises
        :class:`operator_server.usage.reading.UnreadableFile`; the batches before stay taken.
        """
        report = Report(path)
        # The next portion is read while the one before waits for the disk.
        with open_source(path) as source, ThreadPoolExecutor(1, "usage-reader") as reader, _seldom_collected():
            rejects = Rejects(path, source.form, source.columns)

            def read() -> tuple[Sequence[Read], float]:
                return self._read(islice(source.lines, batch)), source.progress()

            coming = reader.submit(read)

            def take(connection: Connection) -> Outcome:
                nonlocal coming
                outcome = self._take(connection, lines, path.name)
                # Not so where another import was at the same records and this portion is taken again.
                if coming is here:
                    coming = reader.submit(read)
                return outcome

            try:
                while (portion := (here := coming).result())[0]:
                    lines, done = portion
                    outcome = transact(engine, take)
                    report.taken += outcome.taken
                    report.known += outcome.known
                    report.late += outcome.late
                    for line, reason in sorted(outcome.refused, key=lambda refused: refused[0].number):
                        rejects.add(line, reason)
                    if progress is not None:
                        progress(done)
                report.refused, report.rejects = rejects.count, rejects.close()
            finally:
                if report.rejects is None:
                    rejects.discard()
        return report

    def take(self, connection: Connection, lines: Sequence[Line], reference: str = "") -> Outcome:
        """Take records in the caller's transaction.

        Raises :class:`operator_server.counting.metering.NotCharged`; then the caller must roll back.
        """
        return self._take(connection, self._read(lines), reference)

    def _read(self, lines: Iterable[Line]) -> list[Read]:
        """Each line with its record, or with why it is none."""
        read: list[Read] = []
        for line in lines:
            try:
                if line.fault:
                    raise BadRecord(line.fault)
                read.append((line, read_record(line.fields, self._default_source)))
            except BadRecord as bad:
                read.append((line, str(bad)))
        return read

    def _take(self, connection: Connection, lines: Sequence[Read], reference: str) -> Outcome:
        now = self._clock.now()
        outcome = Outcome()
        fresh = self._fresh(connection, lines, outcome)
        self._places.learn(connection, {record.subscriber for _, record in fresh})
        placed = self._place(fresh, to_micros(now + AHEAD), outcome)
        stretches = {each.stretch.agreement: each.stretch for each in placed}
        units = self._units(connection, stretches.values(), now)
        wanted = {name: (each.customer, each.tariff, each.version) for name, each in stretches.items()}
        paying = self._agree(connection, wanted, now)
        until = billed_until(connection)
        rating = Rating(connection, placed, paying, units, rater=self._rater, fewest=self._fewest)
        rated: list[tuple[Placed, Rated]] = []
        for each, done in zip(placed, rating.rate(), strict=True):
            if isinstance(done, Refused):
                outcome.refused.append((each.line, done.reason))
            else:
                rated.append((each, done))
        if rated:
            posting = Posting(connection, paying, self._tax_rates, self._taxes, until, now)
            charges = self._posted(connection, posting, rated)
            rating.write_states()
            for charge, (_, done) in zip(charges, rated, strict=True):
                if done.drawn:
                    units.take(done.drawn, charge)
            outcome.taken, outcome.late = len(charges), posting.late
            record_event(
                connection, now, "usage_imported", reference=reference, taken=outcome.taken, late=outcome.late
            )  # fmt: skip
        return outcome

    def _posted(self, connection: Connection, posting: Posting, rated: Sequence[tuple[Placed, Rated]]) -> list[str]:
        """The charges. Raises :class:`Overtaken` where another import has taken some of the records meanwhile."""
        try:
            return posting.write(rated)
        except NotCharged:
            if _known(connection, [each.record for each, _ in rated]):
                raise Overtaken("another import has taken records of this one meanwhile") from None
            raise

    def _agree(self, connection: Connection, wanted: Mapping[str, Wanted], now: datetime) -> dict[str, Payment]:
        """Make the agreements that are not there yet; how each is paid for. Nobody else rates use of them meanwhile."""
        paying = payments(connection, wanted)
        missing = {name: wanted[name] for name in wanted.keys() - paying.keys()}
        if missing:
            keep_agreements(
                connection, missing, server=self._server, key=self._key, tax_rates=self._tax_rates, now=now,
                inclusive=inclusive_of(self._settings),
            )  # fmt: skip
        if connection.dialect.name == "postgresql":
            agreement = table(Agreement)
            for ids in portions(sorted(wanted)):
                connection.execute(
                    select(agreement.c.id).where(agreement.c.id.in_(ids)).order_by(agreement.c.id).with_for_update()
                )
            return payments(connection, wanted)
        return paying | payments(connection, missing)

    def close(self) -> None:
        """Let the database go in which columns are rated."""
        self._rater.close()

    def _units(self, connection: Connection, stretches: Collection[Stretch], now: datetime) -> Units:
        """The units that users may draw on."""
        units = Units(connection, now)
        users = {(each.customer.subscriber, each.customer.account) for each in stretches}
        units.expect(users)
        # Live use locks its account before agreements and buckets; who comes in another order might wait for ever.
        lock_purses(connection, [user for user in users if units.has(user)])
        return units

    def _fresh(self, connection: Connection, lines: Sequence[Read], outcome: Outcome) -> list[tuple[Line, Record]]:
        """The records that can be read and are not known yet, each name once."""
        known = _known(connection, [record for _, record in lines if not isinstance(record, str)])
        fresh = []
        for line, record in lines:
            if isinstance(record, str):
                outcome.refused.append((line, record))
                continue
            before = known.setdefault((record.source, record.id), b"")
            if not before:
                known[record.source, record.id] = record.digest
                fresh.append((line, record))
            elif before == record.digest:
                outcome.known += 1
            else:
                reason = f"id: {record.source} had a record {record.id} with other content before"
                outcome.refused.append((line, reason))
        return fresh

    def _place(self, fresh: Sequence[tuple[Line, Record]], latest: int, outcome: Outcome) -> list[Placed]:
        """The records with where they belong."""
        placed = []
        for line, record in fresh:
            try:
                placed.append(Placed(line, record, self._places.of(record, latest)))
            except (BadRecord, TariffError) as error:
                outcome.refused.append((line, str(error)))
        return placed


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """A batch makes many objects and no cycles: looking for these at every step costs a seventh of the time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _known(connection: Connection, records: Sequence[Record]) -> dict[tuple[str, str], bytes]:
    """Digests of the records that are stored under the names of these."""
    by_source: dict[str, list[str]] = {}
    for record in records:
        by_source.setdefault(record.source, []).append(record.id)
    sql = statements(connection)
    return {
        (source, id): digest for source, ids in by_source.items() for id, digest in sql.known(connection, source, ids)
    }
