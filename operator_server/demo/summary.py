"""The demo's figures: gathered from the database, the terminals and the checks; shown as a table or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, func, select

from offers.memory import OfferMemory
from operator_server.delivery.publishing import valid_releases
from operator_server.demo.driver import Course
from operator_server.demo.gateway import GATEWAY, Gateway
from operator_server.demo.gateway_journal import OFFER
from operator_server.demo.roamer import Roamer
from operator_server.demo.sim_phones import SimPhones
from operator_server.demo.world import World
from operator_server.offering.live import read_configurations
from operator_server.offering.loading import load
from operator_server.store.accounting import Charge, InvoiceRow
from operator_server.store.configurations import ConfigurationRow, Interrogation, Section
from operator_server.store.dealings import Installation
from operator_server.store.devices import DeviceSample
from operator_server.store.rows import table
from signalling.money import format_micros
from terminal_sim.fleet import total
from terminal_sim.simulated import SimulatedTerminal

SHOWN_FAULTS = 20


@dataclass
class Verdict:
    """What the checks found; each list is empty where nothing is wrong."""

    differences: list[str] = field(default_factory=list)
    too_early: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    ledger: list[str] = field(default_factory=list)
    sections: list[str] = field(default_factory=list)
    gateway: list[str] = field(default_factory=list)
    sim_phones: list[str] = field(default_factory=list)
    visited_network: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not any(vars(self).values())

    def texts(self) -> list[str]:
        """All of it, with the name of the check before each."""
        return [f"{name}: {text}" for name, found in vars(self).items() for text in found]


def gather(
    connection: Connection,
    world: World,
    fleet: Sequence[SimulatedTerminal],
    device: Gateway,
    phones: SimPhones,
    roamer: Roamer,
    course: Course,
    verdict: Verdict,
) -> dict[str, Any]:
    """The figures of the JSON object."""
    counts = total(fleet)
    invoices = table(InvoiceRow)
    sums = connection.execute(
        select(invoices.c.currency, func.sum(invoices.c.total)).group_by(invoices.c.currency)
    ).all()
    return {
        "terminals": len(fleet),
        "distinct_codes": _count(connection, ConfigurationRow),
        "offer_classes": _classes(connection, world),
        "sections_fetched": sections_fetched(connection, fleet, phones, roamer),
        "distinct_sections": _count(connection, Section),
        "interrogations": _interrogations(connection),
        "offers_shown": counts.offers_shown,
        "rejected": counts.rejected,
        "rejected_shown_too_early": len(verdict.too_early),
        "agreements": dict(sorted(counts.modes.items())),
        "counter_proposals": counts.counter_proposals,
        "refusals": dict(sorted(counts.refusals.items())),
        "deliveries": counts.installed,
        "failed_deliveries": counts.failed,
        "resumed": counts.resumed,
        "bytes_delivered": counts.bytes_received,
        "uses": counts.uses,
        "counter_reports": counts.reports,
        "duplicates_ignored": counts.reports_known,
        "charges": _count(connection, Charge),
        "invoices": _count(connection, InvoiceRow),
        "invoice_total": {currency: format_micros(int(micros), currency) for currency, micros in sums},
        "notices": counts.notices,
        "snmp_device": _gateway(connection, device),
        "SIM_phones": phones.figures(connection),
        "visited_network": roamer.figures(connection),
        "sessions": course.sessions,
        "links_lost": counts.links_lost,
        "reconciled": not verdict.differences,
        "acknowledged_and_lost": len(verdict.lost),
        "ledger_findings": len(verdict.ledger),
    }


def _count(connection: Connection, model: Any) -> int:
    return connection.execute(select(func.count()).select_from(table(model))).scalar_one()


def sections_fetched(
    connection: Connection, fleet: Sequence[SimulatedTerminal], phones: SimPhones, roamer: Roamer
) -> int:
    """Sections that terminals sent, and those first brought by the gateway, or by cards, which send all four."""
    section = table(Section)
    others = [GATEWAY, *phones.terminals()]
    first = select(func.count()).select_from(section).where(section.c.first_terminal.in_(others))
    return total([*fleet, roamer.terminal]).sections_sent.total() + connection.execute(first).scalar_one()


def _gateway(connection: Connection, device: Gateway) -> dict[str, Any]:
    """The device that is read by SNMP: which agent it is, what it answered, what was counted and charged."""
    rows, readings, charges = table(Interrogation), table(DeviceSample), table(Charge)
    answered = select(func.count()).select_from(rows).where(
        rows.c.terminal_id == GATEWAY, rows.c.outcome == "answered"
    )  # fmt: skip
    read = select(func.count()).select_from(readings).where(readings.c.terminal_id == GATEWAY)
    installations = select(table(Installation).c.id).where(table(Installation).c.product == OFFER)
    used = select(func.sum(charges.c.quantity), func.sum(charges.c.net)).where(
        charges.c.installation_id.in_(installations)
    )
    quantity, net = connection.execute(used).one()
    return {
        "agent": device.kind,
        "interrogations": connection.execute(answered).scalar_one(),
        "readings": connection.execute(read).scalar_one(),
        "MiB charged": int(quantity or 0),
        "net": format_micros(int(net or 0), "EUR"),
    }


def _interrogations(connection: Connection) -> dict[str, int]:
    rows = table(Interrogation)
    found = connection.execute(
        select(rows.c.trigger, func.count()).where(rows.c.outcome == "answered").group_by(rows.c.trigger)
    )
    return {"logon": 0, "calendar": 0, "interval": 0, "manual": 0} | {row[0]: row[1] for row in found}


def _classes(connection: Connection, world: World) -> int:
    """In how many offer classes the terminals' configurations fall, by the rules and releases of the end."""
    catalogue = load(world.operator.settings).catalogue
    memory = OfferMemory(catalogue, valid_releases(connection, world.clock.now()))
    for code, configuration in read_configurations(connection):
        memory.learn(code, configuration)
    return memory.class_count


def show(console: Console, figures: dict[str, Any], verdict: Verdict, invoices: Path, seconds: float) -> None:
    """The summary for people."""
    table = Table(title="What happened", title_justify="left", header_style="bold")
    table.add_column("Figure")
    table.add_column("Value", justify="right", overflow="fold")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), _text(value))
    console.print(table)
    for text in verdict.texts()[:SHOWN_FAULTS]:
        console.print(text, markup=False, soft_wrap=True, style="red")
    verdict_text = (
        "Every invoice is what the terminals' own journals make of it." if verdict.good else "Something differs."
    )
    console.print(f"{verdict_text} {seconds:.0f} s.", style="green" if verdict.good else "bold red")
    console.print(f"Invoices (PDF and JSON): {invoices}", markup=False, soft_wrap=True)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_text(each)}" for key, each in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
