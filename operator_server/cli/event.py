"""``tollgate event``: the feed of what happens."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer
from sqlalchemy import select

from operator_server.cli.common import CONFIG, ConfigOption, JsonOption, opened, out, says_errors, show_table
from operator_server.store.feed import after as following
from operator_server.store.parties import Event
from operator_server.store.rows import table

app = typer.Typer(no_args_is_help=True, help="What happens: logons, offers, agreements, charges, invoices, changes.")

LOOK_SECONDS = 1.0


def _facts(row: Any) -> dict[str, Any]:
    return {
        "place": row.place, "at": row.at, "kind": row.kind, "terminal": row.terminal_id,
        "subscriber": row.subscriber_id, "account": row.account_id, "reference": row.reference, "data": row.data,
    }  # fmt: skip


@app.command("list")
@says_errors()
def list_(
    kind: Annotated[str, typer.Option(help="Only of this kind, such as agreed or charged.")] = "",
    account: Annotated[str, typer.Option(help="Only of this account.")] = "",
    terminal: Annotated[str, typer.Option(help="Only of this terminal.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows, the newest.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", help="Then go on with what happens, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List what happened, the newest last; with --json an object a line.

    Example: tollgate event list --account A-1001 --follow
    """
    event = table(Event)
    wanted = {name: value for name, value in (("kind", kind), ("account", account), ("terminal", terminal)) if value}
    columns = {"kind": event.c.kind, "account": event.c.account_id, "terminal": event.c.terminal_id}
    query = select(event).where(event.c.place.is_not(None)).order_by(event.c.place.desc()).limit(limit)
    for name, value in wanted.items():
        query = query.where(columns[name] == value)
    with opened(config) as operator:
        with operator.engine.connect() as connection:
            rows = [_facts(row) for row in connection.execute(query)][::-1]
        _show(rows, as_json, whole=not follow)
        place = rows[-1]["place"] if rows else 0
        while follow:
            time.sleep(LOOK_SECONDS)
            with operator.engine.connect() as connection:
                new = [_facts(row) for row in following(connection, place)]
            place = new[-1]["place"] if new else place
            _show([r for r in new if all(r[name] == value for name, value in wanted.items())], as_json, whole=False)


def _show(rows: list[dict[str, Any]], as_json: bool, *, whole: bool) -> None:
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row, default=str, ensure_ascii=False))
        return
    cells = [
        (row["place"], f"{row['at']:%Y-%m-%d %H:%M:%S}", row["kind"], row["terminal"] or "", row["account"] or "",
         row["reference"])
        for row in rows
    ]  # fmt: skip
    if whole:
        empty = "Nothing has a place in the feed yet; the role worker gives it."
        show_table("Events", ["Place", "When (UTC)", "What", "Terminal", "Account", "About"], cells, empty=empty)
        return
    for each in cells:
        out.print("  ".join(str(cell) for cell in each if cell != ""))
