"""The web server that :mod:`bench.web` measures, run as a process of its own, and the data that lies under it.

``/api/v1/...`` is the application as the web role serves it. ``/bare/...`` is a FastAPI application of its own in the
same process behind the same uvicorn: routes as FastAPI's guide writes them (``async``, the return type is the model,
which FastAPI encodes by pydantic in one step), which return a model of the same shape and size that is made already. No
database, no gate, no middleware, no thread stands behind them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sqlite3
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI

from bench.pdf import sample
from charging.invoices.export import to_data
from operator_server.context import Operator
from operator_server.settings import StoreSettings, WebSettings, load_settings
from operator_server.store.schema import metadata
from operator_server.web.api.invoices import InvoiceDetail, InvoiceView
from operator_server.web.pages import Page
from signalling.clock import SystemClock, to_micros
from signalling.ids import new_id

INVOICES = 20_000
ACCOUNTS = 10_000
_HERE = Path(__file__).parent.parent


def number_of(invoice: int) -> str:
    """The number of an invoice."""
    return f"NL-2026-{invoice:06d}"


def bench_operator(folder: Path) -> Operator:
    """The operator whose data lies in ``folder``."""
    settings = load_settings(_HERE / "configs")
    own = {"store": StoreSettings(data=folder), "web": WebSettings(tls=False)}
    return Operator(settings.model_copy(update=own), SystemClock())


def prepare(folder: Path, terminals: int, charges: int, events: int = 0) -> str:
    """Fill the operator in ``folder``; the token of a script that may read."""
    from operator_server.people import persons, tokens
    from operator_server.people.passwords import OneTimePassword
    from operator_server.store.store import transact

    operator = bench_operator(folder)
    operator.engine.dispose()
    with contextlib.closing(sqlite3.connect(folder / "tollgate.sqlite", isolation_level=None)) as database:
        _fill(database, operator.clock.now(), terminals, charges, events)
    now = operator.clock.now()

    def people(connection: Any) -> str:
        persons.create_person(connection, "bench", "administrator", OneTimePassword("", "-"), now, actor="cli:bench")
        return tokens.create_token(
            connection, "bench", "bench", ["read"], timedelta(days=1), now, actor="cli:bench"
        ).secret

    secret = transact(operator.engine, people)
    operator.engine.dispose()
    return secret


def _fill(database: sqlite3.Connection, now: datetime, terminals: int, charges: int, events: int) -> None:
    at, month = to_micros(now), f"{now:%Y-%m}"
    database.execute("PRAGMA synchronous = OFF")
    database.execute("BEGIN")

    def many(table: str, count: int, **values: Any) -> None:
        """``count`` rows; a value that is a text is SQL over the number ``n`` of the row, from 0 on."""
        given = {name: value if isinstance(value, str) else repr(value) for name, value in values.items()}
        for column in metadata.tables[table].c:
            if not column.nullable and column.server_default is None:
                plain = getattr(column.default, "arg", None) if column.default is not None else None
                plain = None if callable(plain) else plain
                given.setdefault(column.name, repr(int(plain)) if isinstance(plain, int) else repr(plain or ""))
        database.execute(
            f"WITH RECURSIVE each(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM each WHERE n + 1 < {count}) "
            f"INSERT INTO {table} ({', '.join(given)}) SELECT {', '.join(given.values())} FROM each"
        )

    name, account = "printf('T-%06d', n)", f"printf('A-%06d', n % {ACCOUNTS})"
    many("account", ACCOUNTS, id=account, name="'Customer ' || n", country="'DE'", currency="'EUR'", credit_limit=0,
         created_at=at, address="'[]'")  # fmt: skip
    many("terminal", terminals, id=name, enrolled_at=at)
    many("subscriber", terminals, id=name, account_id=account, created_at=at)
    many("binding", terminals, id=name, subscriber_id=name, terminal_id=name, valid_from=at)
    second = 1_000_000
    today = to_micros(now.replace(hour=0, minute=0, second=0, microsecond=0))
    spread = f"({today} - (n % 30) * {86_400 * second} + (n * 7919) % {max(1, at - today)})"
    many("charge", charges, id="printf('0192f3c4-0000-7000-8000-%012d', n)",
         kind="CASE n % 3 WHEN 0 THEN 'delivery' ELSE 'use' END", agreement_id="printf('G-%06d', n % 50000)",
         account_id=account, subscriber_id=f"printf('T-%06d', n % {terminals})", quantity="1 + n % 100",
         period=f"'{month}'", effective_at=spread, recorded_at=spread, net="10000 * (1 + n % 500)",
         currency="'EUR'", tax_category="'S'", tax_rate=1900,
         transfer_id="printf('X-%d', n)")  # fmt: skip
    many("event", events, id="printf('0192f3c5-0000-7000-8000-%012d', n)", place="n + 1", at=spread,
         kind="CASE n % 5 WHEN 0 THEN 'terminal.logon' WHEN 1 THEN 'offers.shown' WHEN 2 THEN 'offer.selected' "
              "WHEN 3 THEN 'offer.agreed' ELSE 'offer.delivered' END",
         terminal_id=f"printf('T-%06d', n % {terminals})", data="'{}'")  # fmt: skip
    database.execute(
        "INSERT INTO bill_run (id, period, until_at, started_at, finished_at, state, invoices) VALUES (?,?,?,?,?,?,?)",
        ("R-1", "2026-10", at, at, at, "done", INVOICES),
    )
    rows = []
    for each in range(INVOICES):
        made = sample(each % 200)
        invoice = msgspec.structs.replace(made, number=number_of(each), account=f"A-{each % ACCOUNTS:06d}")
        rows.append(
            (f"0192f3c6-0000-7000-8000-{each:012d}", invoice.number, invoice.series, each, "R-1", invoice.account,
             "2026-10", "EUR", invoice.totals.net_micros, invoice.totals.tax_micros, invoice.totals.gross_micros, at,
             msgspec.json.encode(invoice), new_id(at))
        )  # fmt: skip
    database.executemany(
        "INSERT INTO invoice (id, number, series, number_in_series, bill_run_id, account_id, period, currency, net, "
        f"tax, total, issued_at, document, transfer_id) VALUES ({','.join('?' * 14)})",
        rows,
    )
    database.execute("COMMIT")


def bare_app() -> Any:
    """What stands beside the API: routes that return a model."""
    made = sample()
    total: dict[str, Any] = {
        "net": "12.34",
        "tax": "2.34",
        "total": "14.68",
        "issued_at": datetime(2026, 11, 2, tzinfo=UTC),
    }
    ids: dict[str, Any] = {
        "id": new_id(0),
        "bill_run": "R-1",
        "transfer": new_id(0),
        "currency": "EUR",
        "period": "2026-10",
    }
    view = InvoiceView(number=made.number, account="A-001000", **ids, **total)
    detail = InvoiceDetail(**view.model_dump(), document=to_data(made))
    page = Page[InvoiceView](items=[view] * 50, next="c" * 120, total=10_000, total_is_exact=False)
    app = FastAPI()

    @app.get("/bare/invoices/{number}")
    async def invoice(number: str) -> InvoiceDetail:
        return detail

    @app.get("/bare/invoices")
    async def invoices(limit: int = 50) -> Page[InvoiceView]:
        return page

    return app


async def _serve(folder: Path) -> None:
    from operator_server.roles.run import give_way
    from operator_server.roles.web import WebRole
    from operator_server.web.server import EmbeddedServer, bind, make_config

    give_way()
    operator = bench_operator(folder)
    role, bare = WebRole(operator), bare_app()

    async def both(scope: Any, receive: Any, send: Any) -> None:
        await (bare if scope["path"].startswith("/bare") else role.app)(scope, receive, send)

    listener = bind("127.0.0.1", 0)
    server = EmbeddedServer(make_config(both))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    print(listener.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = server.force_exit = True
    await running


def _serve_single(folder: Path) -> int:
    """Link and web in one process, as ``--single`` has them; their ports are told."""
    from bench.link_servers import bench_settings
    from operator_server.roles.run import run_roles
    from operator_server.web.server import bind

    links = bench_settings(tls=False)
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    web = WebSettings(tls=False, port=port)
    settings = bench_operator(folder).settings
    named = settings.operator.model_copy(update={"server_id": links.operator.server_id})
    own = {"operator": named, "link": links.link, "interrogation": links.interrogation, "web": web}
    operator = Operator(settings.model_copy(update=own), SystemClock())

    def announce(line: str) -> None:
        if found := re.match(r"link: \S+:(\d+) ", line):
            print(port, found[1], flush=True)
        elif "cannot start" in line:
            print(line, file=sys.stderr)

    def wait() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
    return run_roles(operator, ("link", "web"), announce)


def main() -> None:
    """Serve until standard input ends."""
    import uvloop

    if sys.argv[2:] == ["single"]:
        sys.exit(_serve_single(Path(sys.argv[1])))
    uvloop.run(_serve(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
