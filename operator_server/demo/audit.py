"""What the terminals wrote down against what the operator keeps: nothing acknowledged is lost, nothing charged twice,
nothing rejected shown too early."""

from __future__ import annotations

import tomllib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from offers.versions import compare
from operator_server.store.accounting import Charge, CounterReportRow
from operator_server.store.accounting import CounterState as CounterStateRow
from operator_server.store.dealings import Agreement, Delivery, Rejection
from operator_server.store.rows import table
from signalling.clock import from_micros
from signalling.documents import document_digest
from terminal_sim import journal as lines
from terminal_sim.journal import AnyEntry

Journals = Mapping[str, Sequence[AnyEntry]]
"""Terminal to the lines of its journal."""


def audit(
    connection: Connection, journals: Journals, subscriber_of: Mapping[str, str], by_page: Collection[str] = ()
) -> list[str]:
    """In words, every acknowledgement that the operator does not know of, and every charge that is there twice.

    ``by_page``: agreements that the offers page acknowledged.
    """
    return [
        *_agreements(connection, journals, by_page),
        *_receipts(connection, journals),
        *_reports(connection, journals),
        *_rejections(connection, journals, subscriber_of),
        *_charged_twice(connection),
    ]


def _agreements(connection: Connection, journals: Journals, by_page: Collection[str]) -> Iterator[str]:
    agreements = table(Agreement)
    stored = {row.id: row.digest for row in connection.execute(select(agreements.c.id, agreements.c.digest))}
    wanted: set[str] = set()
    for terminal, entries in journals.items():
        for entry in entries:
            if isinstance(entry, lines.Confirmed):
                wanted.add(entry.agreement)
            elif isinstance(entry, lines.AgreementMade) and stored.get(entry.agreement) != entry.digest:
                yield f"{terminal}: agreement {entry.agreement} was acknowledged, the operator does not have it"
    for agreement in sorted(set(by_page) - set(stored)):
        yield f"agreement {agreement} was acknowledged by the page, the operator does not have it"
    for agreement in sorted(set(stored) - wanted - set(by_page)):
        yield f"agreement {agreement}: no terminal's user ever confirmed it"


def _receipts(connection: Connection, journals: Journals) -> Iterator[str]:
    deliveries, charges = table(Delivery), table(Charge)
    stored = {row.agreement_id: row.state for row in connection.execute(select(deliveries))}
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for row in connection.execute(select(charges.c.agreement_id, charges.c.kind)):
        kinds[row.agreement_id][row.kind] += 1
    for terminal, entries in journals.items():
        outcome: dict[str, str] = {}
        for entry in entries:
            if isinstance(entry, lines.Installed | lines.Failed):
                outcome[entry.agreement] = "installed" if isinstance(entry, lines.Installed) else "failed"
            elif isinstance(entry, lines.ReceiptNoted):
                is_ = stored.get(entry.agreement)
                if is_ != outcome[entry.agreement]:
                    yield f"{terminal}: receipt of {entry.agreement} was acknowledged, its delivery is {is_}"
                said, booked = entry.charge, kinds[entry.agreement]
                if (said != "none") != bool(booked["delivery"]) or (said == "reversed") != bool(booked["reversal"]):
                    yield f"{terminal}: charge of {entry.agreement} was told to be {said}, booked are {dict(booked)}"


def _reports(connection: Connection, journals: Journals) -> Iterator[str]:
    reports = table(CounterReportRow)
    stored = set(connection.execute(select(reports.c.digest).where(reports.c.status != "conflict")).scalars())
    for terminal, entries in journals.items():
        made: dict[tuple[str, int], bytes] = {}
        for entry in entries:
            if isinstance(entry, lines.Reported):
                made[entry.installation, entry.sequence] = document_digest(entry.report.document)
            elif isinstance(entry, lines.ReportNoted):
                if entry.status in ("conflict", "refused"):
                    yield f"{terminal}: report {entry.sequence} of {entry.installation}: {entry.status}: {entry.reason}"
                elif made[entry.installation, entry.sequence] not in stored:
                    yield f"{terminal}: report {entry.sequence} of {entry.installation} was acknowledged and is lost"


def _rejections(connection: Connection, journals: Journals, subscriber_of: Mapping[str, str]) -> Iterator[str]:
    rejections = table(Rejection)
    # One that stands already is not stored again, whichever of the user's terminals it came from.
    stored = {(row.subscriber_id, row.offer_id, row.until_at) for row in connection.execute(select(rejections))}
    for terminal, entries in journals.items():
        for entry in entries:
            if isinstance(entry, lines.Rejected):
                until = None if entry.until is None else from_micros(entry.until)
                if (subscriber_of[terminal], entry.offer, until) not in stored:
                    yield f"{terminal}: rejection of {entry.offer} was acknowledged and is lost"


def _charged_twice(connection: Connection) -> Iterator[str]:
    charges, states = table(Charge), table(CounterStateRow)
    singles: Counter[tuple[str, str]] = Counter()
    ranges: dict[tuple[str, str, int], list[tuple[int, int]]] = defaultdict(list)
    for row in connection.execute(select(charges)):
        if row.kind == "use":
            ranges[row.installation_id, row.counter, row.epoch].append((row.counter_from, row.counter_to))
        else:
            singles[row.agreement_id, row.kind] += 1
    for (agreement, kind), count in singles.items():
        if count > 1:
            yield f"agreement {agreement}: {count} charges of kind {kind}"
    known = {(row.installation_id, row.counter): row.state["charged"] for row in connection.execute(select(states))}
    for (installation, counter, epoch), parts in ranges.items():
        end = 0
        for start, stop in sorted(parts):
            if start != end:
                yield f"{installation} {counter}, epoch {epoch}: charged to {end}, then from {start}"
            end = stop
        if known[installation, counter].get(str(epoch)) != end:
            yield f"{installation} {counter}, epoch {epoch}: charged to {end}, known is {known[installation, counter]}"


@dataclass(frozen=True)
class _Rejected:
    at: int
    order: int
    terminal: str
    offer: str
    product: str
    release: str
    until: int | None


def shown_too_early(journals: Journals, subscriber_of: Mapping[str, str], offers_dir: Path) -> list[str]:
    """Menu lines of products whose rejection by the same user had not ended, whatever terminal the menu was on.

    Of what happened on two terminals at the same instant nobody knows the order; that is not counted.
    """
    reopening = {
        offer["id"]: frozenset(offer.get("rejection", {}).get("reopen_on", ()))
        for path in sorted(offers_dir.glob("*.toml"))
        for offer in tomllib.loads(path.read_text())["offer"]
    }
    rejected: dict[tuple[str, str], list[_Rejected]] = defaultdict(list)
    for terminal, entries in journals.items():
        for one in _rejected(terminal, entries):
            rejected[subscriber_of[terminal], one.product].append(one)
    faults = []
    for terminal, entries in journals.items():
        for order, entry in enumerate(entries):
            if not isinstance(entry, lines.Shown):
                continue
            for shown in entry.offers:
                for one in rejected.get((subscriber_of[terminal], shown.product), ()):
                    if _hides(one, terminal, order, entry.at, shown.release, reopening.get(one.offer, frozenset())):
                        faults.append(f"{terminal}: {shown.offer} {shown.release} was shown at {entry.at}: {one}")
                        break
    return faults


def _rejected(terminal: str, entries: Sequence[AnyEntry]) -> Iterator[_Rejected]:
    release: dict[str, str] = {}
    for order, entry in enumerate(entries):
        if isinstance(entry, lines.Shown):
            release.update({shown.offer: shown.release for shown in entry.offers})
        elif isinstance(entry, lines.Rejected):
            yield _Rejected(
                entry.at, order, terminal, entry.offer, entry.product, release.get(entry.offer, ""), entry.until
            )


def _hides(one: _Rejected, terminal: str, order: int, at: int, release: str, reopens_on: frozenset[str]) -> bool:
    if at < one.at or (at == one.at and (terminal != one.terminal or order < one.order)):
        return False
    if one.until is not None and at >= one.until:
        return False
    return not ("new_release" in reopens_on and (compare(release, one.release) or 0) > 0)
