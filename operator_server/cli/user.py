"""``tollgate user``: the people who may log on."""

from __future__ import annotations

from typing import Annotated

import typer

from operator_server.audit import cli_actor
from operator_server.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    opened,
    out,
    says_errors,
    show_json,
    show_table,
    told,
)
from operator_server.people import persons
from operator_server.people.passwords import OneTimePassword, one_time_password
from operator_server.people.persons import PersonError
from operator_server.people.roles import ROLES, UnknownRole
from operator_server.store.store import transact

app = typer.Typer(no_args_is_help=True, help="People who may log on to API and console, and their roles.")

Name = Annotated[str, typer.Argument(help="User name.")]
Role = Annotated[str, typer.Option(help=f"One of {', '.join(ROLES)}.")]


@app.command("add")
@says_errors(PersonError, UnknownRole)
def add_(name: Name, role: Role, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Make a user and print a password for one logon, at which another has to be chosen.

    Example: tollgate user add erika --role billing
    """
    with opened(config) as operator:
        now, password = operator.clock.now(), one_time_password()
        transact(
            operator.engine, lambda c: persons.create_person(c, name, role, password, now, actor=cli_actor())
        )  # fmt: skip
    _tell(name, role, password, as_json)


def _tell(name: str, role: str, password: OneTimePassword, as_json: bool) -> None:
    if as_json:
        show_json({"user": name, "role": role, "password": password.text})
    else:
        out.print(f"{name} logs on once with {password.text} and chooses a password then; it is not shown again.")


@app.command("list")
@says_errors()
def list_(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List everybody who may log on.

    Example: tollgate user list
    """
    with opened(config) as operator, operator.engine.connect() as connection:
        now = operator.clock.now()
        rows = [
            {
                "user": row.name, "role": row.role, "status": row.status, "must_change_password": row.must_change,
                "created": row.created_at, "last_logon": row.logon_at,
                "tokens": persons.open_tokens(connection, row.id, now),
            }
            for row in persons.persons(connection)
        ]  # fmt: skip
    if as_json:
        show_json(rows)
        return
    show_table(
        "Users",
        ["User", "Role", "State", "Last logon", "Tokens"],
        [
            (r["user"], r["role"], r["status"], f"{r['last_logon']:%Y-%m-%d %H:%M}" if r["last_logon"] else "never",
             r["tokens"])
            for r in rows
        ],
        empty="Nobody may log on yet. `tollgate user add NAME --role administrator` makes the first.",
    )  # fmt: skip


@app.command()
@says_errors(PersonError)
def disable(
    name: Name,
    undo: Annotated[bool, typer.Option("--undo", help="Let the user in again.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """End a user's sessions and refuse its logons and tokens.

    Example: tollgate user disable erika
    """
    with opened(config) as operator:
        now, status = operator.clock.now(), "active" if undo else "disabled"
        transact(operator.engine, lambda c: persons.set_status(c, name, status, now, actor=cli_actor()))
    told({"user": name, "status": status}, as_json, f"{name} is {status}.")


@app.command()
@says_errors(PersonError)
def password(name: Name, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Give a user a new password for one logon; sessions of the user end.

    Example: tollgate user password erika
    """
    with opened(config) as operator:
        now, given = operator.clock.now(), one_time_password()
        transact(operator.engine, lambda c: persons.reset_password(c, name, given, now, actor=cli_actor()))
        with operator.engine.connect() as connection:
            row = persons.person_row(connection, name)
            assert row is not None
    _tell(name, row.role, given, as_json)


@app.command()
@says_errors(PersonError, UnknownRole)
def role(
    name: Name,
    new: Annotated[str, typer.Argument(metavar="ROLE", help=f"One of {', '.join(ROLES)}.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Give a user another role; sessions of the user end.

    Example: tollgate user role erika support
    """
    with opened(config) as operator:
        now = operator.clock.now()
        transact(operator.engine, lambda c: persons.set_role(c, name, new, now, actor=cli_actor()))
    told({"user": name, "role": new}, as_json, f"{name} has the role {new}.")
