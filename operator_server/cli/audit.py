"""``tollgate audit``: who changed what."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from operator_server.audit import entries, verify_audit
from operator_server.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    fail,
    opened,
    out,
    says_errors,
    show_json,
    show_table,
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
    with opened(config) as operator, operator.engine.connect() as connection:
        rows = list(entries(connection, actor=actor, reference=about, most=limit))
    if as_json:
        show_json([dict(row._mapping) for row in rows])
        return
    show_table(
        "Audit trail",
        ["Entry", "When (UTC)", "Who", "What", "About", "Before", "After"],
        [
            (row.id, f"{row.at:%Y-%m-%d %H:%M:%S}", row.actor, row.action, row.reference, _short(row.before),
             _short(row.after))
            for row in rows
        ],
        empty="Nothing was changed yet.",
    )  # fmt: skip


def _short(value: object) -> str:
    return "" if not value else json.dumps(value, ensure_ascii=False)


@app.command()
@says_errors()
def verify(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Check that no entry was changed or removed; exit 1 where one was.

    Keep the last digest that it prints elsewhere, to see later that the newest entries were not cut off.

    Example: tollgate audit verify
    """
    with opened(config) as operator, operator.engine.connect() as connection:
        count, digest, faults = verify_audit(connection)
    if as_json:
        show_json({"entries": count, "digest": digest, "faults": [[f.entry, f.reason] for f in faults]})
    else:
        for fault in faults:
            out.print(f"entry {fault.entry}: {fault.reason}")
        out.print(f"{count} entries, the last digest is {digest.hex()}")
    if faults:
        raise fail(f"{len(faults)} fault(s) in the audit trail")
