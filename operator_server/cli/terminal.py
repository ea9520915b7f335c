"""``tollgate terminal``: enrol, import, list, revoke terminals and replace their keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection, select

from operator_server import parties
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    changed,
    opened,
    out,
    says_errors,
    show_json,
    show_table,
)
from operator_server.cli.files import Row, import_rows
from operator_server.parties import PartyError
from operator_server.store.parties import Binding, Terminal, TerminalKey, TerminalSession
from operator_server.store.rows import table

app = typer.Typer(no_args_is_help=True, help="Terminals and their keys.")


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
    config: ConfigOption = CONFIG,
) -> None:
    """Make a terminal known by its key.

    Example: tollgate terminal enroll T-1001 --public-key 3b6a... --subscriber A-1001
    """
    with opened(config) as operator:
        now, key = operator.clock.now(), _key(public_key, terminal)
        changed(
            operator, "terminal.enrol", f"terminal/{terminal}",
            lambda c: parties.enroll_terminal(c, terminal, key, subscriber, now, label=label),
            subscriber=subscriber, label=label,
        )  # fmt: skip
        out.print(f"{terminal} is enrolled for {subscriber}.")


@app.command()
@says_errors()
def bundle(
    out_file: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("terminal-bundle.json"),
    config: ConfigOption = CONFIG,
) -> None:
    """Write the enrolment bundle: what a terminal must trust (server key, TLS authority, repository root, addresses).

    Example: tollgate terminal bundle --out bundle.json
    """
    with opened(config) as operator:
        out_file.write_bytes(operator.bundle())
        out.print(f"{out_file} holds what terminals of {operator.settings.operator.server_id} trust; it is not secret.")


@app.command("import")
@says_errors()
def import_(
    file: Annotated[Path, typer.Argument(help="CSV: terminal,public_key,subscriber[,label].")],
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
            parties.enroll_terminal(connection, row["terminal"], key, row["subscriber"], now, label=label)
            return True

        import_rows(operator.engine, file, ("terminal", "public_key", "subscriber"), take, "enrolled")


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
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows.")] = 50,
    after: Annotated[str, typer.Option(help="Start after this terminal id.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List terminals with subscriber, state and last interrogation."""
    with opened(config) as operator, operator.engine.connect() as connection:
        terminal, binding, session = table(Terminal), table(Binding), table(TerminalSession)
        rows = connection.execute(
            select(
                terminal.c.id, terminal.c.status, binding.c.subscriber_id, session.c.code,
                session.c.interrogated_at, session.c.unanswered,
            )
            .outerjoin(binding, (binding.c.terminal_id == terminal.c.id) & binding.c.valid_to.is_(None))
            .outerjoin(session, session.c.terminal_id == terminal.c.id)
            .where(terminal.c.id > after)
            .order_by(terminal.c.id)
            .limit(limit)
        ).all()  # fmt: skip
        if as_json:
            show_json([dict(row._mapping) for row in rows])
            return
        show_table(
            "Terminals",
            ["Terminal", "State", "Subscriber", "Configuration code", "Interrogated", "Unanswered"],
            [
                (
                    row.id, row.status, row.subscriber_id, row.code.hex()[:16] if row.code else "",
                    f"{row.interrogated_at:%Y-%m-%d %H:%M}" if row.interrogated_at else "never", row.unanswered or 0,
                )
                for row in rows
            ],
            empty="No terminal is enrolled. `tollgate terminal enroll` adds one.",
        )  # fmt: skip


@app.command()
@says_errors(PartyError)
def revoke(
    terminal: Annotated[str, typer.Argument(help="Terminal id.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept.")] = "",
    config: ConfigOption = CONFIG,
) -> None:
    """Refuse a terminal's logons from now on; a link that stands is closed within seconds."""
    with opened(config) as operator:
        now = operator.clock.now()
        changed(
            operator, "terminal.revoke", f"terminal/{terminal}",
            lambda c: parties.revoke_terminal(c, terminal, now, reason=reason), reason=reason,
        )  # fmt: skip
        out.print(f"{terminal} is revoked.")


@app.command("replace-key")
@says_errors(PartyError)
def replace_key(
    terminal: Annotated[str, typer.Argument(help="Terminal id.")],
    public_key: Annotated[str, typer.Option("--public-key", help="New Ed25519 public key, 64 hexadecimal digits.")],
    config: ConfigOption = CONFIG,
) -> None:
    """Give a terminal a new key; the old one no longer works."""
    with opened(config) as operator:
        now, key = operator.clock.now(), _key(public_key, terminal)
        changed(
            operator, "terminal.replace_key", f"terminal/{terminal}",
            lambda c: parties.replace_key(c, terminal, key, now),
        )  # fmt: skip
        out.print(f"{terminal} has a new key.")


@app.command()
@says_errors(PartyError)
def bind(
    terminal: Annotated[str, typer.Argument(help="Terminal id.")],
    subscriber: Annotated[str, typer.Argument(help="Who uses it from now on.")],
    config: ConfigOption = CONFIG,
) -> None:
    """Hand a terminal to another subscriber: a new handset, or one that was sold."""
    with opened(config) as operator:
        now = operator.clock.now()
        changed(
            operator, "terminal.bind", f"terminal/{terminal}",
            lambda c: parties.bind_terminal(c, terminal, subscriber, now), subscriber=subscriber,
        )  # fmt: skip
        out.print(f"{terminal} belongs to {subscriber} now.")
