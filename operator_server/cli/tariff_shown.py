"""What the commands of tariffs show."""

from __future__ import annotations

import json
from typing import Any

from charging.rating import decimal_text
from charging.tariffs import Tariff, TariffVersion
from charging.tariffs.explain import Explanation
from charging.tariffs.headline import headline
from charging.tariffs.simulate import Bill, Simulation
from operator_server.cli.common import out, show_table
from operator_server.usage.history import ChargedUse
from signalling.money import format_micros


def price_text(version: TariffVersion) -> str:
    """The price of a version in a line."""
    price = headline(version)
    size = f"{price.size} " if price.size > 1 else ""
    amount = f"{format_micros(price.amount, version.currency)} {version.currency}"
    text = f"{'' if price.exact else 'up to '}{amount} per {size}{version.unit}"
    return f"{text}, {version.included} included per {version.included_per}" if version.included else text


def name_of(tariff: Tariff) -> str:
    """The name of a tariff for people."""
    return tariff.names.get("en") or next(iter(tariff.names.values()), "")


def content_of(version: TariffVersion) -> dict[str, Any]:
    """A version as its file has it."""
    content: dict[str, Any] = json.loads(version.content)
    return content


def version_facts(tariff: Tariff, version: TariffVersion) -> dict[str, Any]:
    """A version as data."""
    return {
        "tariff": tariff.tariff_id,
        "names": dict(tariff.names),
        "version": version.version_id,
        "effective_from": version.effective_from,
        "price": price_text(version),
        "content": content_of(version),
    }


def print_tables(value: Any, indent: str) -> None:
    """Keys and values, a line each, tables indented."""
    for key, entry in value.items():
        if isinstance(entry, dict):
            out.print(f"{indent}{key}:")
            print_tables(entry, indent + "  ")
        elif isinstance(entry, list) and entry and isinstance(entry[0], dict):
            for number, item in enumerate(entry, 1):
                out.print(f"{indent}{key} {number}:")
                print_tables(item, indent + "  ")
        else:
            out.print(f"{indent}{key} = {', '.join(map(str, entry)) if isinstance(entry, list) else entry}")


def print_explanation(found: ChargedUse, explained: Explanation) -> None:
    """How a cost came about, for people."""
    charge, use = found.charge, explained.use
    to = f" to {use.destination}" if use.destination else ""
    out.print(f"Charge {charge.id} of account {charge.account_id}, agreement {charge.agreement_id}")
    out.print(f"{use.quantity} {use.version.unit}{to}, used {use.at:%Y-%m-%d %H:%M:%S} UTC, period {charge.period}")
    out.print(f"Tariff version {use.version.version_id}, as it was kept")
    before = explained.before
    out.print(
        f"Before it: {explained.earlier} earlier uses of the period, {before.used} units, "
        f"{decimal_text(before.due)} {charge.currency} due"
    )
    show_table(
        "Steps",
        ["Step", "Units", charge.currency],
        [(step.text, step.quantity or "", decimal_text(step.cost)) for step in explained.steps]
        + [("cost", use.quantity, decimal_text(explained.cost_micros))],
        empty="",
    )
    out.print(f"Charged: {format_micros(charge.net, charge.currency)} {charge.currency} net")


def explanation(found: ChargedUse, explained: Explanation, agrees: bool) -> dict[str, Any]:
    """The same as data."""
    charge, use, before = found.charge, explained.use, explained.before
    return {
        "charge": charge.id,
        "account": charge.account_id,
        "agreement": charge.agreement_id,
        "period": charge.period,
        "tariff_version": use.version.version_id,
        "quantity": use.quantity,
        "unit": use.version.unit,
        "destination": use.destination,
        "at": use.at,
        "earlier_uses": explained.earlier,
        "units_before": before.used,
        "due_before": decimal_text(before.due),
        "steps": [
            {"step": step.text, "units": step.quantity, "cost": decimal_text(step.cost)} for step in explained.steps
        ],
        "cost": format_micros(explained.cost_micros, charge.currency),
        "charged": format_micros(charge.net, charge.currency),
        "currency": charge.currency,
        "agrees": agrees,
    }


def print_simulation(simulation: Simulation, tariff: Tariff, on: str, limit: int) -> None:
    """Who would pay more and who less, for people."""
    version = simulation.version
    out.print(f"{tariff.tariff_id} in {on}, net, as charged and by {version.version_id}; nothing is charged")
    bills = simulation.bills
    if limit:
        bills = sorted(bills, key=lambda bill: -abs(bill.difference))[:limit]

    def cells(name: str, bill: Bill) -> tuple[Any, ...]:
        amounts = (format_micros(micros, version.currency) for micros in (bill.now, bill.then, bill.difference))
        return name, bill.uses, bill.quantity, *amounts

    show_table(
        f"Accounts ({len(bills)} of {len(simulation.bills)})",
        ["Account", "Uses", version.unit, f"Now {version.currency}", f"Then {version.currency}", "Difference"],
        [*(cells(bill.account, bill) for bill in bills), cells("all", simulation.total)],
        empty="",
    )
    for account, agreement, reason in simulation.unrated:
        out.print(f"account {account}, agreement {agreement}: {reason}")


def simulation_facts(simulation: Simulation, on: str) -> dict[str, Any]:
    """The same as data."""
    version = simulation.version

    def figures(bill: Bill) -> dict[str, Any]:
        return {
            "uses": bill.uses,
            "quantity": bill.quantity,
            "now": format_micros(bill.now, version.currency),
            "then": format_micros(bill.then, version.currency),
            "difference": format_micros(bill.difference, version.currency),
        }

    return {
        "period": on,
        "tariff": version.tariff_id,
        "version": version.version_id,
        "currency": version.currency,
        "unit": version.unit,
        "accounts": [{"account": bill.account, **figures(bill)} for bill in simulation.bills],
        "total": figures(simulation.total),
        "unrated": [
            {"account": account, "agreement": agreement, "reason": reason}
            for account, agreement, reason in simulation.unrated
        ],
    }
