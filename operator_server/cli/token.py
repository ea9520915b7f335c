"""``tollgate token``: tokens by which scripts use the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from operator_server.audit import cli_actor
from operator_server.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    err,
    opened,
    out,
    says_errors,
    show_json,
    show_table,
    told,
)
from operator_server.people import tokens
from operator_server.people.persons import PersonError
from operator_server.people.roles import UnknownRole
from operator_server.store.store import transact

app = typer.Typer(no_args_is_help=True, help="Tokens of scripts: shown once, scoped, revocable, expiring.")


@app.command()
@says_errors(PersonError, UnknownRole)
def create(
    person: Annotated[str, typer.Argument(metavar="USER", help="Whose rights it has at most.")],
    label: Annotated[str, typer.Option(help="What it is for.")],
    scope: Annotated[list[str], typer.Option(help="read, or a permission such as invoices.read; repeat for more.")],
    days: Annotated[int, typer.Option(min=1, max=3660, help="Days that it holds.")] = 90,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Make a token and print it, once; nothing else goes to standard output.

    Example: tollgate token create erika --label "nightly export" --scope invoices.read --days 30
    """
    with opened(config) as operator:
        now = operator.clock.now()
        made = transact(
            operator.engine,
            lambda c: tokens.create_token(c, person, label, scope, timedelta(days=days), now, actor=cli_actor()),
        )
    if as_json:
        show_json({"id": made.id, "token": made.secret, "scopes": made.scopes, "expires": made.expires_at})
        return
    out.print(made.secret)
    err.print(f"It is not shown again; it may {', '.join(made.scopes)} until {made.expires_at:%Y-%m-%d %H:%M} UTC.")


@app.command("list")
@says_errors()
def list_(
    user: Annotated[str, typer.Option(help="Only of this user.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List tokens, newest first; never the tokens themselves.

    Example: tollgate token list --user erika
    """
    with opened(config) as operator, operator.engine.connect() as connection:
        now, rows = operator.clock.now(), tokens.tokens(connection, user)
    if as_json:
        show_json([dict(row._mapping) for row in rows])
        return
    show_table(
        "Tokens",
        ["Id", "User", "For", "Scopes", "State", "Last used"],
        [
            (
                row.id, row.person, row.label, ", ".join(row.scopes),
                "revoked" if row.revoked_at else "over" if row.expires_at <= now
                else f"until {row.expires_at:%Y-%m-%d}",
                f"{row.used_at:%Y-%m-%d %H:%M}" if row.used_at else "never",
            )
            for row in rows
        ],
        empty="There is no token. `tollgate token create` makes one.",
    )  # fmt: skip


@app.command()
@says_errors(PersonError)
def revoke(
    token: Annotated[str, typer.Argument(help="Id from `tollgate token list`.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """End a token; it is refused within a second.

    Example: tollgate token revoke 0199f3c2-7a10-7c41-a3b5-5d2f3c1e9a77
    """
    with opened(config) as operator:
        now = operator.clock.now()
        transact(operator.engine, lambda c: tokens.revoke_token(c, token, now, actor=cli_actor()))
    told({"token": token, "revoked": True}, as_json, f"{token} is revoked.")
