"""``tollgate terminal``: enrol, import, list, revoke terminals and replace their keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection, select

from operator_server import parties
from operator_server.audit import cli_actor
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    changed,
    opened,
    says_errors,
    show_json,
    show_table,
    told,
)
from operator_server.cli.files import Row, import_rows
from operator_server.cli.shown import when
from operator_server.parties import PartyError
from operator_server.store.parties import Terminal, TerminalKey
from operator_server.store.rows import table
from operator_server.trail import told_change

app = typer.Typer(no_args_is_help=True, help="Terminals and their keys.")

_COLUMNS = ("terminal", "public_key", "subscriber")
"""Columns that an import needs."""


def _key(text: str, where: str) -> bytes:
    try:
        return bytes.fromhex(text.strip())
    except ValueError:
        raise CommandError(f"{where}: public key {text[:20]!r}... is not hexadecimal") from None


@app.command()
@says_errors(PartyError)
def enroll(
    terminal: Annotated[str, typer.Argument(help="Terminal id.")],
    public_key: Annotated[str, typer.Option("--public-key", help="Ed25519 public key, 64 hexadecimal digits.")],
    subscriber: Annotated[
        str, typer.Option("--subscriber", help="Who uses it (an account's id is its first subscriber).")
    ],
    label: Annotated[str, typer.Option(help="A name for people.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Make a terminal known by its key.

    Example: tollgate terminal enroll T-1001 --public-key 3b6a... --subscriber A-1001
    """
    with opened(config) as operator:
        now, key = operator.clock.now(), _key(public_key, terminal)
        changed(
            operator, "terminal.enrol", f"terminal/{terminal}",
            lambda c: parties.enroll_terminal(c, terminal, key, subscriber, now, label=label), {},
        )  # fmt: skip
    made = {"terminal": terminal, "subscriber": subscriber}
    told(made, as_json, f"{terminal} is enrolled for {subscriber}.")


@app.command()
@says_errors()
def bundle(
    out_file: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("terminal-bundle.json"),
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Write the enrolment bundle: what a terminal must trust (server key, TLS authority, repository root, addresses).

    Example: tollgate terminal bundle --out bundle.json
    """
    with opened(config) as operator:
        out_file.write_bytes(operator.bundle())
        server = operator.settings.operator.server_id
    text = f"{out_file} holds what terminals of {server} trust; it is not secret."
    told({"file": str(out_file), "server": server}, as_json, text)


@app.command("import")
@says_errors()
def import_(
    file: Annotated[Path, typer.Argument(help="CSV: terminal,public_key,subscriber[,label].")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Enrol terminals in bulk. A bad line is told with its number and the rest is enrolled; repeat after mending.

    Example: tollgate terminal import terminals.csv
    """
    with opened(config) as operator:
        now = operator.clock.now()

        def take(connection: Connection, row: Row) -> bool:
            key = _key(row["public_key"], row["terminal"])
            if _is_enrolled(connection, row["terminal"], key):
                return False
            label = row.get("label", "")
            told_change(
                connection, cli_actor(), "terminal.enrol", f"terminal/{row['terminal']}",
                lambda c: parties.enroll_terminal(c, row["terminal"], key, row["subscriber"], now, label=label),
                now, {"file": file.name},
            )  # fmt: skip
            return True

        import_rows(operator.engine, file, _COLUMNS, take, "enrolled", as_json, ("label",))


def _is_enrolled(connection: Connection, terminal: str, key: bytes) -> bool:
    keys = table(TerminalKey)
    return (
        connection.execute(
            select(keys.c.id).where(keys.c.terminal_id == terminal, keys.c.public_key == key, keys.c.valid_to.is_(None))
        ).first()
        is not None
    )


@app.command("list")
@says_errors()
def list_(
    begins: Annotated[str, typer.Option(help="Only those whose id begins so.")] = "",
    user: Annotated[str, typer.Option(help="Only those of this subscriber or account.")] = "",
    model: Annotated[str, typer.Option(help="Only those with this in the model that they named.")] = "",
    code: Annotated[str, typer.Option(help="Only those whose configuration code begins so.")] = "",
    state: Annotated[str, typer.Option(help="Only online, silent, gaps, failed, never or revoked ones.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows.")] = 50,
    after: Annotated[str, typer.Option(help="Start after this terminal id.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List terminals with subscriber, state and last interrogation.

    Example: tollgate terminal list --user A-1001 --state silent
    """
    # The console's code, which brings the web server along, only where it is used.
    from operator_server.web.console import terminals_data

    if state not in terminals_data.STATES:
        raise CommandError(f"--state {state}: one of {', '.join(name for name in terminals_data.STATES if name)}")
    if code.strip("0123456789abcdef") or len(code) > 64:
        raise CommandError(f"--code {code}: the begin of a code in hexadecimal digits, such as 3fa1")
    terminal = table(Terminal)
    with opened(config) as operator, operator.engine.connect() as connection:
        found = terminals_data.search(
            connection, terminals_data.Search(begins, user, model, code, state), operator.clock.now()
        )
        rows = connection.execute(found.where(terminal.c.id > after).order_by(terminal.c.id).limit(limit)).all()
    if as_json:
        names = ("id", "label", "status", "subscriber_id", "code", "interrogated_at", "unanswered")
        show_json([{name: getattr(row, name) for name in names} for row in rows])
        return
    show_table(
        "Terminals",
        ["Terminal", "State", "Subscriber", "Configuration code", "Interrogated", "Unanswered"],
        [
            (
                row.id, row.status, row.subscriber_id, row.code.hex()[:16] if row.code else "",
                when(row.interrogated_at), row.unanswered or 0,
            )
            for row in rows
        ],
        empty="No terminal matches. `tollgate terminal enroll` adds one.",
    )  # fmt: skip


@app.command()
@says_errors()
def show(
    terminal: Annotated[str, typer.Argument(help="Terminal id.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Show a terminal: user, configuration, what it was asked, agreements, counters and messages, the newest first.

    `tollgate offer why` tells why each offer is shown on it or not.

    Example: tollgate terminal show T-1001
    """
    from operator_server.cli.terminal_shown import show_terminal, terminal_facts

    with opened(config) as operator, operator.engine.connect() as connection:
        facts = terminal_facts(connection, terminal, operator.clock.now())
    if as_json:
        show_json(facts)
        return
    show_terminal(facts)


@app.command()
@says_errors(PartyError)
def revoke(
    terminal: Annotated[str, typer.Argument(help="Terminal id.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Refuse a terminal's logons from now on; a link that stands is closed within seconds.

    Example: tollgate terminal revoke T-1001 --reason stolen
    """
    with opened(config) as operator:
        now = operator.clock.now()
        changed(
            operator, "terminal.revoke", f"terminal/{terminal}",
            lambda c: parties.revoke_terminal(c, terminal, now, reason=reason),
        )  # fmt: skip
    told({"terminal": terminal, "revoked": True}, as_json, f"{terminal} is revoked.")


@app.command("replace-key")
@says_errors(PartyError)
def replace_key(
    terminal: Annotated[str, typer.Argument(help="Terminal id.")],
    public_key: Annotated[str, typer.Option("--public-key", help="New Ed25519 public key, 64 hexadecimal digits.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Give a terminal a new key; the old one no longer works.

    Example: tollgate terminal replace-key T-1001 --public-key 3b6a...
    """
    with opened(config) as operator:
        now, key = operator.clock.now(), _key(public_key, terminal)
        changed(
            operator, "terminal.replace_key", f"terminal/{terminal}",
            lambda c: parties.replace_key(c, terminal, key, now), {},
        )  # fmt: skip
    told({"terminal": terminal, "public_key": key.hex()}, as_json, f"{terminal} has a new key.")


@app.command()
@says_errors(PartyError)
def bind(
    terminal: Annotated[str, typer.Argument(help="Terminal id.")],
    subscriber: Annotated[str, typer.Argument(help="Who uses it from now on.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Hand a terminal to another subscriber: a new handset, or one that was sold.

    Example: tollgate terminal bind T-1001 A-1001-child
    """
    with opened(config) as operator:
        now = operator.clock.now()
        changed(
            operator, "terminal.bind", f"terminal/{terminal}",
            lambda c: parties.bind_terminal(c, terminal, subscriber, now), {},
        )  # fmt: skip
    told({"terminal": terminal, "subscriber": subscriber}, as_json, f"{terminal} belongs to {subscriber} now.")
