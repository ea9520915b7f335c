"""``tollgate audit``: who changed what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.text import Text

from operator_server.audit import OVERWRITTEN, entries, verify_audit
from operator_server.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    fail,
    opened,
    out,
    reading,
    says_errors,
    show_json,
    working,
)

app = typer.Typer(no_args_is_help=True, help="The audit trail: who changed what, when, from what to what.")


@app.command("list")
@says_errors()
def list_(
    actor: Annotated[str, typer.Option(help="Only of this actor, such as person:erika.")] = "",
    about: Annotated[str, typer.Option(help="Only about this, such as account/A-1001.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows.")] = 100,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List changes, newest first.

    Example: tollgate audit list --about account/A-1001
    """
    with reading(config) as connection:
        rows = list(entries(connection, actor=actor, reference=about, most=limit))
    if as_json:
        show_json([dict(row._mapping) for row in rows])
        return
    if not rows:
        out.print("Nothing was changed yet, or no entry matches.")
    for row in rows:
        out.print(Text(f"{row.id}  {row.at:%Y-%m-%d %H:%M:%S} UTC  {row.actor}", style="bold"))
        out.print(f"    {row.action}  {row.reference}")
        for line in _changes(row.before or {}, row.after or {}):
            out.print(f"        {line}")


def _changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for name in {**before, **after}:
        if name == OVERWRITTEN:
            yield f"{len(after[name])} entries were overwritten"
        elif name in before and name in after:
            yield f"{name}: {_short(before[name])} -> {_short(after[name])}"
        elif name in before:
            yield f"{name}: {_short(before[name])} -> gone" if not after else f"{name}: was {_short(before[name])}"
        else:
            yield f"{name}: {_short(after[name])}"


def _short(value: Any) -> str:
    if value is None or value == "":
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@app.command()
@says_errors()
def verify(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Check that no entry was changed or removed; exit 1 where one was.

    Keep the last digest that it prints elsewhere, to see later that the newest entries were not cut off.

    Example: tollgate audit verify
    """
    with opened(config) as operator, operator.engine.connect() as connection, working("Proving"):
        count, digest, faults = verify_audit(connection)
    if as_json:
        show_json({"entries": count, "digest": digest, "faults": [[f.entry, f.reason] for f in faults]})
    else:
        for fault in faults:
            out.print(f"entry {fault.entry}: {fault.reason}")
        out.print(f"{count} entries, the last digest is {digest.hex()}")
    if faults:
        raise fail(f"{len(faults)} fault(s) in the audit trail")
