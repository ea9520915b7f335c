"""``tollgate serve`` and ``tollgate interrogate``."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated

import typer
from sqlalchemy import Connection, Engine, select

from operator_server.audit import audited, cli_actor
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    err,
    opened,
    out,
    says_errors,
    show_json,
    show_table,
)
from operator_server.context import Operator, open_operator
from operator_server.delivery.repository import RepositoryError
from operator_server.offering.loading import BrokenCatalogue, load
from operator_server.parties import exists
from operator_server.people.first import ensure_administrator
from operator_server.roles.run import ROLES, begin_logging, default_roles, end_with_parent, run_roles
from operator_server.roles.supervisor import supervise
from operator_server.store.configurations import Interrogation, InterrogationOrder
from operator_server.store.parties import Terminal
from operator_server.store.rows import add, table
from operator_server.store.store import transact
from signalling.clock import to_micros
from signalling.ids import new_id


@says_errors(BrokenCatalogue, RepositoryError)
def serve(
    role: Annotated[
        list[str] | None, typer.Option("--role", help=f"Run only this role: {', '.join(ROLES)}; repeat for more.")
    ] = None,
    single: Annotated[bool, typer.Option("--single", help="All roles in one process, for a trial.")] = False,
    child_of: Annotated[int, typer.Option("--child-of", hidden=True, help="Process id of the supervisor.")] = 0,
    config: ConfigOption = CONFIG,
) -> None:
    """Serve terminals, console and API: each role is a process of its own under one supervisor.

    link, web and worker always run; snmp from the first device on, sms where a short message centre is set, roaming
    from the first partner on. Keys, database, repository and a first administrator are made at the first start.

    Example: tollgate serve --config configs
    """
    unknown = sorted(set(role or ()) - set(ROLES))
    if unknown:
        raise CommandError(f"--role {unknown[0]}: there is no such role; there are {', '.join(ROLES)}")
    if child_of:
        end_with_parent(child_of)
    operator = open_operator(config)
    _prepare(operator)
    roles = list(role or (_all_roles(operator) if single else default_roles(operator)))
    if "web" in roles:
        ensure_administrator(operator.engine, operator.data, operator.clock.now(), tell=out.print)
    begin_logging()
    if single or len(roles) == 1:
        raise typer.Exit(run_roles(operator, roles, _announce))
    operator.engine.dispose()
    # The first device, or the first partner, may come while the server runs.
    whole = {"snmp", "roaming"} <= set(roles)
    supervise(config, roles, (lambda: default_roles(operator)) if not role and not whole else None)


def _all_roles(operator: Operator) -> list[str]:
    """All; but where nobody roams, nobody is to be listened to."""
    usual = default_roles(operator)
    return [each for each in ROLES if each != "roaming" or each in usual]


def _announce(line: str) -> None:
    err.print(line)


def _prepare(operator: Operator) -> None:
    """Whatever keeps a server from starting is found here, before a port is open."""
    load(operator.settings)
    operator.engine  # noqa: B018 - creates or upgrades the database
    operator.repository  # noqa: B018 - creates keys and repository


@says_errors()
def interrogate(
    terminals: Annotated[list[str], typer.Argument(help="Terminal ids.")],
    wait: Annotated[float, typer.Option(help="Seconds to wait for the outcome.")] = 60.0,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Interrogate terminals now, whoever holds their links, and show what they answered.

    Example: tollgate interrogate T-1001 T-1002
    """
    with opened(config) as operator:
        now = operator.clock.now()
        orders = transact(operator.engine, lambda connection: _order(connection, terminals, now))
        outcomes = _await_outcomes(operator.engine, orders, wait)
    if as_json:
        show_json(outcomes)
    else:
        show_table(
            "Interrogations",
            ["Terminal", "Outcome", "Configuration code", "Changed", "Reason"],
            [(o["terminal"], o["outcome"], o["code"][:16], o["changed"], o["reason"]) for o in outcomes],
            empty="",
        )
    if any(outcome["outcome"] != "answered" for outcome in outcomes):
        raise typer.Exit(1)


def _order(connection: Connection, terminals: list[str], now: datetime) -> dict[str, str]:
    for terminal in terminals:
        if not exists(connection, Terminal, terminal):
            raise CommandError(f"terminal {terminal}: is not enrolled")
    orders = {new_id(to_micros(now)): terminal for terminal in dict.fromkeys(terminals)}
    for order, terminal in orders.items():
        add(connection, InterrogationOrder(id=order, terminal_id=terminal, ordered_at=now))
        audited(connection, cli_actor(), "terminal.interrogate", f"terminal/{terminal}", None, {"order": order}, now)
    return orders


def _await_outcomes(engine: Engine, orders: dict[str, str], wait: float) -> list[dict[str, str]]:
    order, outcome = table(InterrogationOrder), table(Interrogation)
    query = (
        select(order, outcome.c.outcome, outcome.c.code, outcome.c.changed, outcome.c.reason)
        .outerjoin(outcome, outcome.c.id == order.c.interrogation_id)
        .where(order.c.id.in_(list(orders)))
        .order_by(order.c.id)
    )
    end = time.monotonic() + wait
    while True:
        with engine.connect() as connection:
            rows = connection.execute(query).all()
        if all(row.state != "open" for row in rows) or time.monotonic() >= end:
            break
        time.sleep(0.1)
    return [
        {
            "terminal": row.terminal_id,
            "outcome": row.outcome or ("no server took the order" if row.state == "open" else row.state),
            "code": row.code.hex() if row.code else "",
            "changed": row.changed or "",
            "reason": row.reason or "",
        }
        for row in rows
    ]
