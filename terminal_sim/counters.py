"""Application counters (claims 10 and 20): use within what was granted, reports that can be repeated.

A counter only goes up; after a loss of its value a new epoch begins at 0. A report is signed once and kept, so however
often it is sent it has the same bytes. Use at an instant T belongs after a cut-over at T: the sample at T holds what
was used before it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from signalling.clock import from_micros
from signalling.documents import CounterReport, UsageGrant
from signalling.messages import CounterNoted, Signed
from signalling.proof import sign
from terminal_sim import journal as lines
from terminal_sim.state import Counter, State

MAX_REPORTS = 64
"""Reports in one message."""

MAX_SAMPLES = 64


class UseRefused(Exception):
    """The terminal does not let the user use an item now. ``code``: not_installed, no_grant, ceiling, ended, overdue;
    the text is for the user."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def use(state: State, installation: str, units: int, now: int) -> int | None:
    """Use an installed item ``units`` times at ``now``; the counter's new value, None for an item that is not counted.

    Raises :class:`UseRefused` beyond the usage grant's ceiling, after its end, or when a report is overdue; then
    nothing was counted.
    """
    if units < 1:
        raise ValueError(f"{units} uses; at least 1")
    item = state.items.get(installation)
    if item is None or not item.active:
        raise UseRefused("not_installed", f"{installation} is not installed here, or was replaced by a newer version")
    now = max(now, state.latest)
    counters = state.counters_of(installation)
    if not counters:
        if state.agreements[item.agreement].confirmed.terms.counter:
            raise UseRefused("no_grant", f"{item.title}: no use was granted yet; connect to get a usage grant")
        return None
    for counter in counters:
        _check_grant(item.title, counter, units, now)
    state.record(
        *(
            lines.Used(
                at=now,
                installation=installation,
                counter=counter.name,
                epoch=counter.epoch,
                units=units,
                value=counter.value + units,
            )
            for counter in counters
        )
    )
    return counters[0].value


def _check_grant(title: str, counter: Counter, units: int, now: int) -> None:
    grant = counter.usage
    if grant is None or grant.epoch != counter.epoch:
        raise UseRefused("no_grant", f"{title}: no use was granted yet; connect to report and get a usage grant")
    if now >= grant.valid_until:
        raise UseRefused("ended", f"{title}: the usage grant ended on {_day(grant.valid_until)}; connect to renew it")
    if now >= grant.report_by and counter.reported_at < grant.report_by:
        raise UseRefused("overdue", f"{title}: a report was due on {_day(grant.report_by)}; connect to send it")
    if counter.value + units > grant.ceiling:
        left = max(0, grant.ceiling - counter.value)
        raise UseRefused("ceiling", f"{title}: {units} wanted, {left} left of what was granted; connect to get more")


def _day(micros: int) -> str:
    return from_micros(micros).strftime("%Y-%m-%d")


def announce(state: State, cut_overs: Iterable[int], now: int) -> None:
    """Keep instants at which the server wants to know the counters' values."""
    fresh = sorted(set(cut_overs) - set(state.cut_overs))
    if fresh:
        state.record(lines.CutOvers(at=now, instants=fresh))


def report(state: State, now: int, *, everything: bool = False) -> list[Signed]:
    """The reports to send now: first those not acknowledged, then a new one for each counter that has news.

    With ``everything`` also counters without news get a new report, unless one of theirs still waits. At most
    :data:`MAX_REPORTS`; what is left comes with the next call.
    """
    now = max(now, state.latest)
    reports: list[Signed] = []
    for counter in state.counters.values():
        due = _needs_report(state, counter, now) or (everything and not counter.waiting)
        if due and len(reports) + len(counter.waiting) < MAX_REPORTS:
            _new_report(state, counter, now)
        reports += list(counter.waiting.values())[: MAX_REPORTS - len(reports)]
    return reports


def _needs_report(state: State, counter: Counter, now: int) -> bool:
    if (counter.value, counter.epoch) != (counter.reported_value, counter.reported_epoch):
        return True
    if _samples(state, counter, now):
        return True
    grant = counter.usage
    if grant is None or grant.epoch != counter.epoch:
        return not counter.waiting
    # A grant without use is renewed before its second half ends, so that use off line does not stop.
    renew_from = (grant.issued + min(grant.report_by, grant.valid_until)) // 2
    return now >= renew_from and counter.reported_at < renew_from


def _samples(state: State, counter: Counter, now: int) -> list[tuple[int, int]]:
    after = max(counter.reported_at, counter.epoch_from)
    instants = [at for at, _ in counter.history]
    before = counter.reported_value if counter.reported_epoch == counter.epoch else 0
    samples = []
    for cut_over in state.cut_overs:
        if after < cut_over <= now:
            uses = bisect_left(instants, cut_over)
            samples.append((cut_over, counter.history[uses - 1][1] if uses else before))
    return samples[-MAX_SAMPLES:]


def _new_report(state: State, counter: Counter, now: int) -> None:
    document = CounterReport(
        installation=counter.installation,
        counter=counter.name,
        epoch=counter.epoch,
        sequence=counter.sequence + 1,
        value=counter.value,
        samples=_samples(state, counter, now),
        previous=counter.last_digest,
        at=now,
    )
    state.record(
        lines.Reported(
            at=now,
            installation=counter.installation,
            counter=counter.name,
            epoch=document.epoch,
            sequence=document.sequence,
            value=document.value,
            report=sign(state.identity.key, CounterReport.PURPOSE, document.encode()),
        )
    )


def reset(state: State, installation: str, now: int) -> None:
    """The counters of an installation lose their value: a new epoch begins, and use needs a new grant."""
    now = max(now, state.latest)
    for counter in state.counters_of(installation):
        state.record(
            lines.CounterReset(at=now, installation=installation, counter=counter.name, epoch=counter.epoch + 1)
        )


def acknowledged(state: State, noted: CounterNoted, now: int, server_time: int) -> None:
    """Take in what became of reports, and the usage grants that came with it.

    Raises :class:`signalling.proof.ProofError` for a grant that the server did not sign.
    """
    entries: list[lines.AnyEntry] = []
    for outcome in noted.outcomes:
        counter = state.counters.get((outcome.installation, outcome.counter))
        if counter is not None and outcome.sequence in counter.waiting:
            entries.append(
                lines.ReportNoted(
                    at=now,
                    installation=outcome.installation,
                    counter=outcome.counter,
                    epoch=outcome.epoch,
                    sequence=outcome.sequence,
                    status=outcome.status,
                    server_time=server_time,
                    reason=outcome.reason,
                )
            )
    if entries:
        state.record(*entries)
    for grant in checked_usage(state, noted.usage, now):
        state.record(grant)


def checked_usage(state: State, grants: Iterable[Signed], now: int) -> list[lines.UsageGranted]:
    """Usage grants as journal lines. Raises :class:`signalling.proof.ProofError` for one the server did not sign."""
    entries = []
    for signed in grants:
        grant = state.trust.document(UsageGrant, signed)
        entries.append(
            lines.UsageGranted(
                at=now,
                installation=grant.installation,
                counter=grant.counter,
                epoch=grant.epoch,
                ceiling=grant.ceiling,
                issued=grant.issued,
                valid_until=grant.valid_until,
                report_by=grant.report_by,
                grant=signed,
            )
        )
    return entries
