"""Counter reports of one message, taken in one transaction: stored raw, evaluated, charged, answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from charging.counters import CounterState, Evaluation, Known, by_period, evaluate
from charging.rating import RatingError
from operator_server.counting.book import (
    Counted,
    CounterKey,
    counted,
    keys_at,
    neighbours,
    states,
    stored_statuses,
)
from operator_server.counting.grants import UsageGrants, Want
from operator_server.counting.metering import Meter
from operator_server.counting.tariffs import TariffVersions
from operator_server.desk import Visitor
from operator_server.store.accounting import Charge, CounterGap, CounterReportRow
from operator_server.store.accounting import CounterState as CounterStateRow
from operator_server.store.parties import Event
from operator_server.store.rows import add, add_many, table
from signalling.clock import from_micros, to_micros
from signalling.documents import CounterReport, decode_document, document_digest
from signalling.ids import new_id
from signalling.messages import CounterNoted, CounterOutcome, CounterReports, Signed
from signalling.proof import ProofError, check


@dataclass(frozen=True, slots=True)
class Presented:
    """A report as it arrived; ``proven`` by the key with which the terminal logged on."""

    report: CounterReport
    signed: Signed
    digest: bytes
    proven: bool


def present(visitor: Visitor, message: CounterReports) -> list[Presented]:
    """Decode the reports and check their signatures. Raises :class:`signalling.envelope.BodyError`."""
    presented = []
    for signed in message.reports:
        report = decode_document(CounterReport, signed.document)
        proven = _proven(visitor.public_key, signed)
        presented.append(Presented(report, signed, document_digest(signed.document), proven))
    return presented


def take_reports(
    connection: Connection,
    tariffs: TariffVersions,
    grants: UsageGrants,
    zone: tzinfo,
    visitor: Visitor,
    presented: Sequence[Presented],
    now: datetime,
) -> CounterNoted:
    """What becomes of each report, and the usage grants that follow. The effects are rows of this transaction."""
    intake = _Intake(connection, tariffs, zone, visitor, presented, now)
    outcomes = [intake.take(report) for report in presented]
    wants = intake.wants()
    charges = intake.write(grants, wants)
    intake.tell(charges)
    usage = grants.repeat(connection, intake.repeated(), now) + grants.grant(connection, intake.meter, wants, now)
    return CounterNoted(outcomes, usage)


def _proven(public_key: bytes, signed: Signed) -> bool:
    try:
        check(public_key, CounterReport.PURPOSE, signed)
    except ProofError:
        return False
    return True


class _Intake:
    """The reports of one message, what was read for them, and what is to be written."""

    def __init__(
        self,
        connection: Connection,
        tariffs: TariffVersions,
        zone: tzinfo,
        visitor: Visitor,
        presented: Sequence[Presented],
        now: datetime,
    ) -> None:
        self._connection = connection
        self._zone = zone
        self._visitor = visitor
        self._now = now
        self.meter = Meter(connection, tariffs, now)
        ids = {one.report.installation for one in presented}
        self._items = counted(connection, ids)
        self._states = states(connection, ids)
        self._stored_states = set(self._states)
        self._stored = stored_statuses(connection, ids, {one.digest for one in presented})
        self._last_at: dict[CounterKey, datetime] = {}
        self._touched: dict[CounterKey, set[str]] = {}
        self._reports: list[CounterReportRow] = []
        self._events: list[Event] = []

    def take(self, presented: Presented) -> CounterOutcome:
        """Evaluate one report; the next ones see what it changed."""
        report = presented.report
        item = self._items.get(report.installation)
        if item is None or item.terminal != self._visitor.terminal:
            return _outcome(report, "refused", "this installation is not known on this terminal")
        if not (presented.proven or self._proven_by_older_key(presented)):
            return _outcome(report, "refused", "the signature does not hold")
        key = (report.installation, report.counter)
        if presented.digest in self._stored:
            status, reason = self._stored[presented.digest]
            if status in ("conflict", "refused"):
                return _outcome(report, status, reason)
            self._touched.setdefault(key, set()).add("duplicate")
            return _outcome(report, "duplicate", "known already")
        evaluation = self._evaluate(item, presented)
        self._stored[presented.digest] = (evaluation.status, evaluation.reason)
        self._touched.setdefault(key, set()).add(evaluation.status)
        if evaluation.taken:
            self._note_taken(key, presented, evaluation)
        self._keep(presented, evaluation)
        return _outcome(report, evaluation.status, evaluation.reason)

    def wants(self) -> list[Want]:
        """The counters that told something new and may be used further."""
        found = []
        for key, statuses in self._touched.items():
            item = self._items[key[0]]
            if statuses & {"accepted", "gap", "reset"} and self._grantable(item, key[1]):
                state = self._states[key]
                found.append(Want(item, key[1], state.epoch, state.value))
        return found

    def repeated(self) -> dict[CounterKey, CounterState]:
        """The counters of which nothing came but what was known already."""
        return {
            key: self._states[key]
            for key, statuses in self._touched.items()
            if statuses == {"duplicate"} and key in self._states and self._grantable(self._items[key[0]], key[1])
        }

    def write(self, grants: UsageGrants, wants: Sequence[Want]) -> list[Charge]:
        """Store reports, states and charges; the charges made."""
        self._write_reports()
        self._write_states()
        return self.meter.write(also=grants.replace(self._connection, wants))

    def tell(self, charges: Sequence[Charge]) -> None:
        """Write what happened into the feed."""
        for charge in charges:
            self._event(
                "charged",
                charge.id,
                charge.account_id,
                agreement=charge.agreement_id,
                installation=charge.installation_id,
                period=charge.period,
                quantity=charge.quantity,
                net=charge.net,
                currency=charge.currency,
            )
        add_many(self._connection, self._events)
        self._events = []

    def _grantable(self, item: Counted, counter: str) -> bool:
        # Who has the terminal now may be another than who agreed to pay.
        return item.usable and counter == item.counter and item.subscriber == self._visitor.subscriber

    def _proven_by_older_key(self, presented: Presented) -> bool:
        at = from_micros(presented.report.at)
        return any(_proven(key, presented.signed) for key in keys_at(self._connection, self._visitor.terminal, at))

    def _evaluate(self, item: Counted, presented: Presented) -> Evaluation:
        report = presented.report
        key = (report.installation, report.counter)
        state = self._states.get(key, CounterState())
        same: Known | None = None
        before: Known | None = None
        after: Known | None = None
        if report.sequence > state.sequence:
            if state.sequence:
                before = Known(state.sequence, state.epoch, state.value, state.digest, b"")
        else:
            self._write_reports()
            same, before, after = neighbours(self._connection, key, report.sequence)
        evaluation = evaluate(
            state,
            report,
            presented.digest,
            same=same,
            before=before,
            after=after,
            not_before=item.agreed_at,
            now=self._now,
        )
        if evaluation.pieces and report.counter == item.counter:
            try:
                self.meter.add(item, report.counter, by_period(evaluation.pieces, self._zone))
            except RatingError as error:
                return Evaluation("refused", state, reason=str(error))
        return evaluation

    def _note_taken(self, key: CounterKey, presented: Presented, evaluation: Evaluation) -> None:
        previous = self._states.get(key, CounterState())
        self._states[key] = evaluation.state
        if evaluation.state.sequence > previous.sequence:
            self._last_at[key] = min(from_micros(presented.report.at), self._now)
        if evaluation.missing is not None:
            add(
                self._connection,
                CounterGap(
                    id=new_id(to_micros(self._now)),
                    installation_id=key[0],
                    counter=key[1],
                    first_sequence=evaluation.missing[0],
                    last_sequence=evaluation.missing[1],
                    noticed_at=self._now,
                ),
            )
        if evaluation.fills is not None:
            self._fill_gap(key, evaluation.fills)

    def _fill_gap(self, key: CounterKey, sequence: int) -> None:
        """The row of the gap becomes the closed one of this number; what is still missing beside it gets its own."""
        gap = table(CounterGap)
        row = self._connection.execute(
            select(gap).where(
                gap.c.installation_id == key[0],
                gap.c.counter == key[1],
                gap.c.first_sequence <= sequence,
                gap.c.last_sequence >= sequence,
                gap.c.closed_at.is_(None),
            )
        ).one()
        self._connection.execute(
            update(gap)
            .where(gap.c.id == row.id)
            .values(first_sequence=sequence, last_sequence=sequence, closed_at=self._now)
        )
        rest = [(row.first_sequence, sequence - 1), (sequence + 1, row.last_sequence)]
        add_many(
            self._connection,
            [
                CounterGap(
                    id=new_id(to_micros(self._now)),
                    installation_id=key[0],
                    counter=key[1],
                    first_sequence=first,
                    last_sequence=last,
                    noticed_at=row.noticed_at,
                )
                for first, last in rest
                if first <= last
            ],
        )

    def _keep(self, presented: Presented, evaluation: Evaluation) -> None:
        report = presented.report
        self._reports.append(
            CounterReportRow(
                id=new_id(to_micros(self._now)),
                installation_id=report.installation,
                counter=report.counter,
                epoch=report.epoch,
                sequence=report.sequence,
                value=report.value,
                document=presented.signed.document,
                signature=presented.signed.signature,
                digest=presented.digest,
                status=evaluation.status,
                reason=evaluation.reason,
                received_at=self._now,
            )
        )
        facts: dict[str, Any] = {
            "counter": report.counter,
            "epoch": report.epoch,
            "sequence": report.sequence,
            "value": report.value,
        }
        account = self._items[report.installation].account
        if evaluation.taken:
            self._event("counter_reported", report.installation, account, status=evaluation.status, **facts)
        else:
            self._event(
                "counter_conflict", report.installation, account, status=evaluation.status,
                reason=evaluation.reason, **facts,
            )  # fmt: skip
        if evaluation.missing is not None:
            first, last = evaluation.missing
            self._event("counter_gap", report.installation, account, counter=report.counter, first=first, last=last)

    def _write_reports(self) -> None:
        add_many(self._connection, self._reports)
        self._reports = []

    def _write_states(self) -> None:
        row = table(CounterStateRow)
        fresh, changed = [], []
        for key, statuses in self._touched.items():
            if not statuses & {"accepted", "gap", "reset"}:
                continue
            state = self._states[key]
            values: dict[str, Any] = {
                "epoch": state.epoch,
                "sequence": state.sequence,
                "value": state.value,
                "digest": state.digest,
                "state": {"charged": {str(epoch): value for epoch, value in state.charged.items()}},
            }
            if key in self._last_at:
                values["reported_at"] = self._last_at[key]
            if key not in self._stored_states:
                fresh.append(CounterStateRow(installation_id=key[0], counter=key[1], **values))
            else:
                changed.append((key, values))
        add_many(self._connection, fresh)
        for key, values in changed:
            self._connection.execute(
                update(row)
                .where(row.c.installation_id == bindparam("i"), row.c.counter == bindparam("c"))
                .values(**values),
                {"i": key[0], "c": key[1]},
            )

    def _event(self, kind: str, reference: str, account: str, **data: Any) -> None:
        self._events.append(
            Event(
                id=new_id(to_micros(self._now)),
                at=self._now,
                kind=kind,
                terminal_id=self._visitor.terminal,
                subscriber_id=self._visitor.subscriber,
                account_id=account,
                reference=reference,
                data=data,
            )
        )


def _outcome(report: CounterReport, status: str, reason: str) -> CounterOutcome:
    return CounterOutcome(
        installation=report.installation,
        counter=report.counter,
        epoch=report.epoch,
        sequence=report.sequence,
        status=status,  # type: ignore[arg-type]  # stored statuses are the evaluation's own
        reason=reason,
    )
