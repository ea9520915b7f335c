"""Counter reports taken in one transaction: stored raw, evaluated, charged, answered.

Messages of many terminals are taken together: what they need is read with one statement a table, each report is
evaluated in its order, and what follows is written with one statement a table. Only reports that come twice or late
are looked up one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from sqlalchemy import Connection, bindparam, insert, update

from charging.counters import CounterState, Evaluation, Known, by_period, evaluate
from charging.periods import period_of
from charging.rating import RatingError
from operator_server.counting.book import (
    Counted,
    CounterKey,
    counted,
    fill_gap,
    is_stored,
    keys_at,
    neighbours,
    states,
)
from operator_server.counting.grants import UsageGrants, Want
from operator_server.counting.metering import Meter
from operator_server.counting.tariffs import TariffVersions
from operator_server.desk import Visitor
from operator_server.store.accounting import CounterGap, CounterReportRow
from operator_server.store.accounting import CounterState as CounterStateRow
from operator_server.store.parties import Event
from operator_server.store.rows import table
from signalling.clock import from_micros, to_micros
from signalling.documents import CounterReport, decode_document, document_digest
from signalling.ids import new_id
from signalling.messages import CounterNoted, CounterOutcome, CounterReports, Signed
from signalling.proof import ProofError, check

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Presented:
    """A report as it arrived; ``proven`` by the key with which the terminal logged on."""

    report: CounterReport
    signed: Signed
    digest: bytes
    proven: bool

    @property
    def key(self) -> CounterKey:
        """The counter that it reports."""
        return self.report.installation, self.report.counter


Message = tuple[Visitor, Sequence[Presented]]
"""A terminal's reports and who it is."""


def present(visitor: Visitor, message: CounterReports) -> Message:
    """Decode the reports and check their signatures. Raises :class:`signalling.envelope.BodyError`."""
    presented = []
    for signed in message.reports:
        report = decode_document(CounterReport, signed.document)
        proven = _proven(visitor.public_key, signed)
        presented.append(Presented(report, signed, document_digest(signed.document), proven))
    return visitor, presented


def take_reports(
    connection: Connection,
    tariffs: TariffVersions,
    grants: UsageGrants,
    zone: tzinfo,
    messages: Sequence[Message],
    now: datetime,
) -> list[CounterNoted]:
    """For each message, what becomes of its reports and the usage grants that follow.

    All effects are rows of this transaction. Raises :class:`operator_server.counting.metering.NotCharged` and
    :class:`charging.tariffs.TariffError`; then the caller must roll back.
    """
    intake = _Intake(connection, tariffs, zone, messages, now)
    outcomes = [[intake.take(visitor, one) for one in presented] for visitor, presented in messages]
    told = intake.told()
    intake.write(grants, told)
    wants = [want for want in told if want.usable]
    usage: Mapping[CounterKey, Signed] = {
        **grants.repeat(connection, intake.repeated(), now),
        **grants.grant(connection, intake.meter, wants, now),
    }
    return [
        CounterNoted(of_message, [usage[key] for key in dict.fromkeys(one.key for one in presented) if key in usage])
        for of_message, (_, presented) in zip(outcomes, messages, strict=True)
    ]


def _proven(public_key: bytes, signed: Signed) -> bool:
    try:
        check(public_key, CounterReport.PURPOSE, signed)
    except ProofError:
        return False
    return True


@dataclass(slots=True)
class _Touched:
    """A counter that somebody reported: what is known of it, and what became of the reports."""

    item: Counted
    visitor: Visitor
    state: CounterState
    stored: bool
    taken: bool = False
    repeated: bool = False
    faulty: bool = False
    last_at: datetime | None = None

    @property
    def grantable(self) -> bool:
        # Who has the terminal now may be another than who agreed to pay.
        return self.item.usable and self.item.subscriber == self.visitor.subscriber


class _Intake:
    """The reports of one transaction, what was read for them, and what is to be written."""

    def __init__(
        self,
        connection: Connection,
        tariffs: TariffVersions,
        zone: tzinfo,
        messages: Sequence[Message],
        now: datetime,
    ) -> None:
        self._connection = connection
        self._zone = zone
        self._now = now
        ids = {one.report.installation for _, presented in messages for one in presented}
        self._items = counted(connection, ids)
        self._states = states(connection, ids)
        self.meter = Meter(connection, tariffs, now)
        charged = {item.agreement for item in self._items.values() if item.counter}
        self.meter.expect(charged, [period_of(now, zone)])
        self.meter.units.expect({(item.subscriber, item.account) for item in self._items.values() if item.counter})
        self._touched: dict[CounterKey, _Touched] = {}
        self._reports: list[Fields] = []
        self._gaps: list[Fields] = []
        self._events: list[Fields] = []

    def take(self, visitor: Visitor, presented: Presented) -> CounterOutcome:
        """Evaluate one report; the next ones see what it changed."""
        item = self._items.get(presented.report.installation)
        if item is None or item.terminal != visitor.terminal:
            return _outcome(presented, "refused", "this installation is not known on this terminal")
        if not (presented.proven or self._proven_by_older_key(visitor, presented)):
            return _outcome(presented, "refused", "the signature does not hold")
        touched = self._touch(item, visitor, presented.key)
        evaluation = self._evaluate(touched, presented)
        if evaluation.taken:
            self._note_taken(touched, presented, evaluation)
            self._keep(touched, presented, evaluation)
        elif evaluation.status == "duplicate":
            touched.repeated = True
        else:
            touched.faulty = True
            self._write_reports()
            if not is_stored(self._connection, presented.key, presented.digest):
                self._keep(touched, presented, evaluation)
        return _outcome(presented, evaluation.status, evaluation.reason)

    def told(self) -> list[Want]:
        """The charged counters that told something new: what was granted to them before is over."""
        return [
            Want(touched.item, counter, touched.state.epoch, touched.state.value, touched.grantable)
            for (_, counter), touched in self._touched.items()
            if touched.taken and counter == touched.item.counter
        ]

    def repeated(self) -> dict[CounterKey, CounterState]:
        """The counters of which nothing came but what was known already."""
        return {
            key: touched.state
            for key, touched in self._touched.items()
            if touched.repeated and not touched.taken and not touched.faulty and touched.grantable
        }

    def write(self, grants: UsageGrants, told: Sequence[Want]) -> None:
        """Store reports, states, charges and what happened; release in the ledger what was granted before."""
        self._write_reports()
        self._write_states()
        for charge in self.meter.write(also=grants.replace(self._connection, self.meter, told, self._now)):
            visitor = self._touched[charge["installation_id"], charge["counter"]].visitor
            self._event(
                "charged",
                charge["id"],
                visitor,
                charge["account_id"],
                agreement=charge["agreement_id"],
                installation=charge["installation_id"],
                period=charge["period"],
                quantity=charge["quantity"],
                units=self.meter.taken(charge["id"]),
                net=charge["net"],
                currency=charge["currency"],
            )
        self._insert(Event, self._events)
        self._events = []

    def _touch(self, item: Counted, visitor: Visitor, key: CounterKey) -> _Touched:
        touched = self._touched.get(key)
        if touched is None:
            known = self._states.get(key)
            touched = _Touched(item, visitor, known or CounterState(), stored=known is not None)
            self._touched[key] = touched
        return touched

    def _proven_by_older_key(self, visitor: Visitor, presented: Presented) -> bool:
        at = from_micros(presented.report.at)
        return any(_proven(key, presented.signed) for key in keys_at(self._connection, visitor.terminal, at))

    def _evaluate(self, touched: _Touched, presented: Presented) -> Evaluation:
        report, state, item = presented.report, touched.state, touched.item
        same: Known | None = None
        before: Known | None = None
        after: Known | None = None
        if report.sequence > state.sequence:
            if state.sequence:
                before = Known(state.sequence, state.epoch, state.value, state.digest, b"")
        else:
            self._write_reports()
            same, before, after = neighbours(self._connection, presented.key, report.sequence)
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
                self.meter.add(item, report.counter, by_period(evaluation.pieces, self._zone, item.cuts))
            except RatingError as error:
                return Evaluation("refused", state, reason=str(error))
        return evaluation

    def _note_taken(self, touched: _Touched, presented: Presented, evaluation: Evaluation) -> None:
        report = presented.report
        if evaluation.state.sequence > touched.state.sequence:
            touched.last_at = min(from_micros(report.at), self._now)
        touched.state, touched.taken = evaluation.state, True
        if evaluation.missing is not None:
            first, last = evaluation.missing
            self._gaps.append(
                {
                    "id": new_id(to_micros(self._now)),
                    "installation_id": report.installation,
                    "counter": report.counter,
                    "first_sequence": first,
                    "last_sequence": last,
                    "noticed_at": self._now,
                }
            )
            self._event(
                "counter_gap", report.installation, touched.visitor, touched.item.account,
                counter=report.counter, first=first, last=last,
            )  # fmt: skip
        if evaluation.fills is not None:
            fill_gap(self._connection, presented.key, evaluation.fills, self._now)

    def _keep(self, touched: _Touched, presented: Presented, evaluation: Evaluation) -> None:
        report = presented.report
        self._reports.append(
            {
                "id": new_id(to_micros(self._now)),
                "installation_id": report.installation,
                "counter": report.counter,
                "epoch": report.epoch,
                "sequence": report.sequence,
                "value": report.value,
                "document": presented.signed.document,
                "signature": presented.signed.signature,
                "digest": presented.digest,
                "status": evaluation.status,
                "reason": evaluation.reason,
                "received_at": self._now,
            }
        )
        self._event(
            "counter_reported" if evaluation.taken else "counter_conflict",
            report.installation,
            touched.visitor,
            touched.item.account,
            status=evaluation.status,
            reason=evaluation.reason,
            counter=report.counter,
            epoch=report.epoch,
            sequence=report.sequence,
            value=report.value,
        )

    def _write_reports(self) -> None:
        """Reports and gaps, so that those looked up one by one see them."""
        self._insert(CounterReportRow, self._reports)
        self._insert(CounterGap, self._gaps)
        self._reports, self._gaps = [], []

    def _write_states(self) -> None:
        row = table(CounterStateRow)
        fresh: list[Fields] = []
        moved: list[Fields] = []
        filled: list[Fields] = []
        for (installation, counter), touched in self._touched.items():
            if not touched.taken:
                continue
            state = touched.state
            values: Fields = {
                "epoch": state.epoch,
                "sequence": state.sequence,
                "value": state.value,
                "digest": state.digest,
                "state": {"charged": {str(epoch): value for epoch, value in state.charged.items()}},
            }
            if touched.last_at is not None:
                values["reported_at"] = touched.last_at
            if not touched.stored:
                fresh.append({"installation_id": installation, "counter": counter, **values})
            else:
                (filled if touched.last_at is None else moved).append({"i": installation, "c": counter, **values})
        self._insert(CounterStateRow, fresh)
        key = (row.c.installation_id == bindparam("i")) & (row.c.counter == bindparam("c"))
        for rows in (moved, filled):
            if rows:
                self._connection.execute(update(row).where(key), rows)

    def _insert(self, model: type[CounterReportRow | CounterGap | CounterStateRow | Event], rows: list[Fields]) -> None:
        if rows:
            self._connection.execute(insert(table(model)), rows)

    def _event(self, kind: str, reference: str, visitor: Visitor, account: str, **data: Any) -> None:
        self._events.append(
            {
                "id": new_id(to_micros(self._now)),
                "at": self._now,
                "kind": kind,
                "terminal_id": visitor.terminal,
                "subscriber_id": visitor.subscriber,
                "account_id": account,
                "reference": reference,
                "data": data,
            }
        )


def _outcome(presented: Presented, status: str, reason: str) -> CounterOutcome:
    report = presented.report
    return CounterOutcome(
        installation=report.installation,
        counter=report.counter,
        epoch=report.epoch,
        sequence=report.sequence,
        status=status,  # type: ignore[arg-type]  # an evaluation's own status
        reason=reason,
    )
