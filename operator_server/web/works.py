"""The kinds of long work: what each is made of, and how it is done, by whichever process."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from charging.billing.tax import TaxError
from charging.periods import PeriodError
from charging.tariffs import TariffError, restore_version
from operator_server.billing import approval
from operator_server.billing.bill_run import BillRunError, BillRunReport, run_bills
from operator_server.context import Operator
from operator_server.usage.simulation import NothingToCompare, simulate_month
from operator_server.web.jobs import Kind, Task
from operator_server.web.simulations import summarised

BILL_RUN = "bill_run"
FINALISE = "finalise"
ARCHIVE = "archive"
SIMULATION = "simulation"
BILLING_ERRORS = (BillRunError, PeriodError, TaxError)


def bill_run(operator: Operator, given: Mapping[str, Any], task: Task) -> str:
    """A bill run over ``period``, up to ``until`` where that is not null, as drafts where ``draft`` says so."""
    until = given["until"]
    report = run_bills(
        operator.engine, operator.settings, given["period"], now=operator.clock.now(), draft=given["draft"],
        until=None if until is None else datetime.fromisoformat(until), progress=task.progress,
    )  # fmt: skip
    return _came_to(report)


def finalise(operator: Operator, given: Mapping[str, Any], task: Task) -> str:
    """The approved drafts of ``period`` made final, as ``actor`` asked."""
    report = approval.finalise(
        operator.engine, operator.settings, given["period"], given["actor"], now=operator.clock.now(),
        progress=task.progress,
    )  # fmt: skip
    return _came_to(report)


def simulation(operator: Operator, given: Mapping[str, Any], task: Task) -> str:
    """The use of ``month`` rated by the version of ``tariff`` that ``content`` has."""
    version = restore_version(given["tariff"], given["content"])
    with operator.engine.connect() as connection:
        result = simulate_month(
            connection, version, given["month"], operator.settings.operator.zone, task.progress
        )  # fmt: skip
    told = summarised(result, given["month"])
    task.result = told.encoded()
    return f"{told.accounts} accounts"


def _came_to(report: BillRunReport) -> str:
    failed = f"; {len(report.failed)} accounts could not be billed: {report.failed[0]}" if report.failed else ""
    waiting = f"; {report.waiting} accounts have a cycle that is not over" if report.waiting else ""
    kind = "drafts" if report.state in ("drafting", "drafted") else "invoices"
    return f"{report.made} {kind} made now, {report.invoices} in all{waiting}{failed}"


KINDS: Mapping[str, Kind] = {
    BILL_RUN: Kind("bills", bill_run, BILLING_ERRORS),
    FINALISE: Kind("bills", finalise, BILLING_ERRORS),
    SIMULATION: Kind("simulation", simulation, (NothingToCompare, TariffError)),
    ARCHIVE: Kind("archive", slots=2),
}
