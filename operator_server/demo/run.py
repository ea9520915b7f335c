"""The demo from end to end: build the world, walk through it, bill, check, sum up.

The seed settles the customers, the terminals and their configurations, who logs on when, and what each user and each
fault is drawn from. Server and terminals are processes that meet in real time, so whether an inquiry overtakes a report
is not settled: the other figures differ by a few in a hundred from run to run, the checks hold in each.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Connection, func, select
from twisted.internet.defer import FirstError
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python.failure import Failure

from charging.ledger.verify import verify as verify_ledger
from operator_server.billing.invoices import each_invoice, export_invoices
from operator_server.billing.proof import verify_billing
from operator_server.demo import gateway, gateway_journal
from operator_server.demo.audit import audit, shown_too_early
from operator_server.demo.driver import Course, DemoFailed, Driver
from operator_server.demo.gateway import Gateway
from operator_server.demo.process import ServerProcess, import_server
from operator_server.demo.reckoning import ReckoningError
from operator_server.demo.reckoning.bills import differences, read_invoice
from operator_server.demo.reckoning.journals import lost_uses, reckon
from operator_server.demo.reckoning.prices import Prices
from operator_server.demo.roamer import Roamer
from operator_server.demo.sim_phones import SimPhones
from operator_server.demo.summary import Verdict, gather, sections_fetched, show
from operator_server.demo.timeline import Step
from operator_server.demo.visited_network import VisitedNetwork
from operator_server.demo.world import GATEWAY_USER, Customers, World, draw_customers
from operator_server.store.accounting import InvoiceRow
from operator_server.store.configurations import Section
from operator_server.store.devices import DeviceMeter
from operator_server.store.rows import table
from terminal_sim.fleet import make_fleet, total
from terminal_sim.host import read_host
from terminal_sim.journal import AnyEntry, MemoryJournal, read_journal
from terminal_sim.profiles import FaultRates, read_profiles
from terminal_sim.simulated import SimulatedTerminal
from terminal_sim.trust import Trust
from terminal_sim.user import ScriptedFaults

START = datetime(2026, 8, 31, 12, 0, tzinfo=UTC)

WILD = FaultRates(
    cut_link=0.03,
    forget_answer=0.05,
    repeat_report=0.3,
    report_late=0.3,
    break_download=0.4,
    spoil_download=0.05,
    reset_counter=0.04,
)
"""How every third terminal misbehaves, beside what its profile says of the others."""

WILD_EVERY = 3

SETTLING = 6
"""Fetches of the gateway's user after which what was fetched before is in its readings: a third of the course."""


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    config: Path
    folder: Path
    terminals: int = 200
    seed: int = 7
    kills: int = 0
    json: bool = False
    simulated_device: bool = False


def run_demo(options: Options, console: Console) -> tuple[dict[str, Any], Verdict]:
    """Run it all in this process and a server process beside it; the figures, and what the checks found.

    Takes the default reactor, so it runs once in a process. Raises what keeps the demo from its end.
    """
    began = time.monotonic()
    import_server()
    world = World(options.config, options.folder, START)
    _log_to(world.folder / "fleet.log")
    visited = VisitedNetwork(world)
    try:
        return _run(options, world, visited, began, console)
    finally:
        visited.stop()


def _run(
    options: Options, world: World, visited: VisitedNetwork, began: float, console: Console
) -> tuple[dict[str, Any], Verdict]:
    customers = draw_customers(options.terminals, options.seed)
    world.settle(customers, options.terminals, options.seed)
    world.publish_all()
    visited.settle()
    with gateway.running(world, simulated=options.simulated_device) as device:
        fleet, phones, roamer, course = _walk(options, world, visited, device, console)
    journals = _dump(fleet, world.folder / "journals") | {roamer.id: roamer.journal()}
    invoices = world.folder / "invoices"
    with world.operator.engine.connect() as connection:
        export_invoices(connection, each_invoice(connection), invoices, "pdf")
        export_invoices(connection, each_invoice(connection), invoices, "json")
        verdict = _check(connection, world, customers, fleet, device, phones, roamer, course, journals, invoices)
        figures = gather(connection, world, fleet, device, phones, roamer, course, verdict)
    if options.kills:
        figures |= {"kills": options.kills, "kills_under_load": course.kills_under_load}
    world.operator.engine.dispose()
    for bulky in ("fleet", "packages"):
        shutil.rmtree(world.folder / bulky, ignore_errors=True)
    seconds = time.monotonic() - began
    if not options.json:
        show(console, figures, verdict, invoices, seconds)
    return figures, verdict


def _log_to(path: Path) -> None:
    """Faults of the fleet's own side, which nobody should meet."""
    to_file: Any = textFileLogObserver(path.open("a", encoding="utf-8"))
    warnings: Any = LogLevelFilterPredicate(LogLevel.warn)
    observer: Any = FilteringLogObserver(to_file, [warnings])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def _walk(
    options: Options, world: World, visited: VisitedNetwork, device: Gateway, console: Console
) -> tuple[list[SimulatedTerminal], SimPhones, Roamer, Course]:
    from twisted.internet import reactor

    loop: Any = reactor
    trust = msgspec.json.decode(world.operator.bundle(), type=Trust)
    fleet = make_fleet(
        options.terminals,
        read_profiles(world.config / "terminals"),
        options.seed,
        trust,
        world.clock,
        loop,
        folder=world.folder / "fleet",
        hosts=[read_host()],
    )
    for number, terminal in enumerate(fleet):
        if number % WILD_EVERY == 0:
            terminal.faults = ScriptedFaults(WILD, random.Random(f"{options.seed} wild {number}"))
    server = ServerProcess(world.config, world.environment, world.ports, world.folder / "server.log", loop)
    phones = SimPhones(world, fleet, loop)
    roamer = Roamer(world, visited, options.terminals + 1, options.seed, trust, loop)
    failures: list[Failure] = []
    ended = False
    with Teller(console, fleet) as teller:
        driver = Driver(world, server, fleet, device, phones, roamer, options.seed, options.kills, loop, teller.tell)

        def end(_: object) -> None:
            nonlocal ended
            ended = True
            loop.stop()

        def start() -> None:
            driver.run().addErrback(failures.append).addBoth(end)

        loop.callWhenRunning(start)
        try:
            loop.run()
        finally:
            server.stop()
            phones.close()
    for failure in failures:
        cause = failure
        while isinstance(cause.value, FirstError):
            cause = cause.value.subFailure
        cause.raiseException()
    if not ended:
        raise DemoFailed("the demo was interrupted; what it had made so far is left as it is")
    return fleet, phones, roamer, driver.course


class Teller:
    """Progress: a bar with the simulated date on a terminal, else a line for each simulated week."""

    def __init__(self, console: Console, fleet: list[SimulatedTerminal]) -> None:
        self._console, self._fleet = console, fleet
        self._bar: Progress | None = None
        self._task: Any = None
        self._week = ""

    def __enter__(self) -> Teller:
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("The server starts", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, step: Step, number: int, of: int) -> None:
        """A step begins."""
        week = f"{step.at:%G-W%V}"
        if self._bar is None and week == self._week:
            return
        self._week = week
        counts = total(self._fleet)
        text = (
            f"{step.at:%Y-%m-%d}: {counts.sessions} sessions, {counts.offers_shown} offers shown,"
            f" {counts.agreements} agreements, {counts.installed} delivered, {counts.reports} counter reports"
        )
        if self._bar is None:
            self._console.print(text, soft_wrap=True)
        else:
            self._bar.update(self._task, description=text, completed=number, total=of)


def _dump(fleet: list[SimulatedTerminal], folder: Path) -> dict[str, list[AnyEntry]]:
    """Write the journals as a terminal's own disk would hold them, and read them back."""
    folder.mkdir()
    journals = {}
    for terminal in fleet:
        path = folder / f"{terminal.terminal}.jsonl"
        journal = terminal.state.journal
        assert isinstance(journal, MemoryJournal)
        journal.dump(path)
        journals[terminal.terminal] = read_journal(path)
    return journals


def _check(
    connection: Connection,
    world: World,
    customers: Customers,
    fleet: list[SimulatedTerminal],
    device: Gateway,
    phones: SimPhones,
    roamer: Roamer,
    course: Course,
    journals: dict[str, list[AnyEntry]],
    invoices: Path,
) -> Verdict:
    subscriber_of = {
        [*fleet, roamer.terminal][number - 1].terminal: person.subscriber
        for person in customers.people
        for number in person.terminals
    }
    subscriber_of |= {each.terminal: each.subscriber for each in phones.phones}
    journals = journals | phones.journals(connection)
    of_gateway, faults = _gateway(connection, world, device, course)
    verdict = Verdict(
        differences=_differences(connection, world, customers, course, journals, of_gateway, invoices),
        too_early=shown_too_early(journals, subscriber_of, world.config / "offers"),
        lost=audit(connection, journals, subscriber_of, [] if course.agreed is None else [course.agreed.agreement]),
        gateway=faults,
        sim_phones=phones.faults(connection),
        visited_network=roamer.faults(connection),
        ledger=[f"{each.where}: {each.what}" for each in (*verify_ledger(connection), *verify_billing(connection))],
    )
    sent = sections_fetched(connection, fleet, phones, roamer)
    distinct = connection.execute(select(func.count()).select_from(table(Section))).scalar_one()
    if sent - course.sections_in_kills > distinct:
        verdict.sections.append(f"{sent} sections were fetched, {distinct} are distinct")
    return verdict


def _gateway(connection: Connection, world: World, device: Gateway, course: Course) -> tuple[list[AnyEntry], list[str]]:
    """What the gateway's readings amount to as a journal, and what is wrong with them."""
    if course.agreed is None:
        return [], ["its user never came to agree on anything"]
    meter = table(DeviceMeter)
    begun = connection.execute(select(meter.c.begun_at).where(meter.c.terminal_id == gateway.GATEWAY)).scalar()
    if begun is None:
        return [], ["its counter was never read after the agreement"]
    operator, readings = world.operator.settings.operator, gateway.samples(connection)
    yes = gateway_journal.confirmed(course.agreed, GATEWAY_USER.subscriber, operator.currency)
    entries = gateway_journal.journal(yes, readings, begun, operator.zone)
    counted = gateway_journal.octets_counted(readings, begun)
    # What is fetched last may be in no reading yet: snmpd reads its interfaces anew only every some seconds.
    fetched = sum(octets for at, octets in device.fetched[:-SETTLING] if at > begun)
    if counted < fetched:
        return entries, [f"{counted} octets were counted, its user fetched {fetched}"]
    return entries, []


def _differences(
    connection: Connection,
    world: World,
    customers: Customers,
    course: Course,
    journals: dict[str, list[AnyEntry]],
    of_gateway: list[AnyEntry],
    invoices: Path,
) -> list[str]:
    rows = connection.execute(
        select(table(InvoiceRow).c.number, table(InvoiceRow).c.account_id, table(InvoiceRow).c.period)
    ).all()
    try:
        expected = reckon(
            [*journals.values(), of_gateway],
            Prices.read(world.config),
            customers.account_of(),
            course.runs,
            customers.untaxed(world.operator.settings.operator.country),
        )
        found = dict(
            read_invoice(row.account_id, row.period, json.loads((invoices / f"{row.number}.json").read_bytes()))
            for row in rows
        )
    except ReckoningError as error:
        return [str(error)]
    lost = [fault for entries in journals.values() for fault in lost_uses(entries)]
    return differences(expected, found) + lost
