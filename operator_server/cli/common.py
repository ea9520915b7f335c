"""What all commands share: the configuration folder, output for people and programs, errors as one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from operator_server.audit import cli_actor
from operator_server.context import Operator, open_operator
from operator_server.delivery.signing import SigningKeyError
from operator_server.delivery.vault import VaultError
from operator_server.keys import UnusableKey
from operator_server.settings import SettingsError
from operator_server.store.store import transact
from operator_server.trail import told_change

# No markup: names and reasons that people wrote may hold square brackets.
out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="TOLLGATE_CONFIG", help="Configuration folder with operator.toml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
CONFIG = Path("configs")

_given: ContextVar[dict[str, Any]] = ContextVar("given", default={})  # noqa: B039 - never written to

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class CommandError(Exception):
    """A command that cannot do what it was asked; the text says why and what to do."""


def fail(text: str, code: int = 1) -> typer.Exit:
    """Say on standard error what is wrong; raise what this returns."""
    err.print(Text("tollgate:", style="bold red"), text)
    return typer.Exit(code)


def says_errors(*kinds: type[Exception]) -> Callable[[F], F]:
    """A command whose exceptions of these kinds are told in one line, exit code 1.

    Faults of the settings, keys and files that any command may meet are told so anyway.
    """

    told: tuple[type[Exception], ...] = (
        CommandError,
        SettingsError,
        UnusableKey,
        SigningKeyError,
        VaultError,
        OSError,
        *kinds,
    )

    def decorate(command: F) -> F:
        @wraps(command)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            _given.set(kwargs)
            try:
                return command(*args, **kwargs)
            except told as error:
                raise fail(str(error)) from None
            except UnicodeEncodeError as error:
                raise fail(f"{error.object[:60]!r} is not UTF-8; look at the locale of this shell") from None
            except DatabaseError as error:
                if type(error) not in (OperationalError, DatabaseError):
                    raise
                raise fail(f"the database cannot be used: {_database_said(error)}; see `tollgate doctor`") from None

        return wrapper  # type: ignore[return-value]  # wraps() keeps the signature

    return decorate


def _database_said(error: SQLAlchemyError) -> str:
    """What the database's own error says, in one line."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


@contextmanager
def opened(config: Path) -> Iterator[Operator]:
    """The operator of a configuration folder; settings faults are told and end the command."""
    operator = open_operator(config)
    try:
        yield operator
    finally:
        engine = operator.__dict__.get("engine")
        if engine is not None:
            engine.dispose()


@contextmanager
def reading(config: Path) -> Iterator[Connection]:
    """A connection to look at what the operator of a configuration folder has stored."""
    with opened(config) as operator, operator.engine.connect() as connection:
        yield connection


def changed(
    operator: Operator,
    action: str,
    about: str | Callable[[T], str],
    operation: Callable[[Connection], T],
    told: Mapping[str, Any] | Callable[[T], Mapping[str, Any]] | None = None,
    **more: Any,
) -> T:
    """Run a change and write into the audit trail, in its transaction, who did it by command, before and after.

    ``about``: kind and id, such as ``account/A-1``, or what makes them of the result. ``told`` and ``more``: beside
    what changed, or what makes it of the result; default: the command's arguments. A change that writes an entry itself
    gets no second one.
    """
    given: Mapping[str, Any] | Callable[[T], Mapping[str, Any]]
    if callable(told):
        given = told
    else:
        given = arguments() if told is None and not more else {**(told or {}), **more}
    now = operator.clock.now()
    return transact(operator.engine, lambda c: told_change(c, cli_actor(), action, about, operation, now, given))


def arguments() -> dict[str, Any]:
    """What the command that runs was given, as the trail keeps it: no secret, nothing that is not of the change."""
    return {
        key: value if isinstance(value, str | int | list) else str(value)
        for key, value in _given.get().items()
        if key not in _NOT_TOLD and value not in (None, "", False, [])
    }


_NOT_TOLD = frozenset({"config", "as_json", "yes", "iban", "secret_file", "token_file", "wait"})
"""Arguments that are not of the change, or that are not to be kept for ever."""


def progress_bar() -> Progress:
    """A bar on standard error that goes when it is done; nothing where that is no terminal."""
    return Progress(console=err, transient=True, disable=not err.is_terminal)


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show that something is under way whose end nobody can tell, and for how long."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        progress.add_task(text, total=None)
        yield


def show_json(value: Any) -> None:
    """Print ``value`` as JSON; instants and bytes as text."""
    typer.echo(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def told(value: Any, as_json: bool, *texts: str) -> None:
    """Tell what a command did: ``value`` as JSON, or sentences."""
    if as_json:
        show_json(value)
        return
    for text in texts:
        out.print(text)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """Print a table, or what to do where there is nothing to show."""
    if not rows:
        out.print(empty)
        return
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(("" if cell is None else str(cell)) for cell in row))
    out.print(table)


def show_rows(
    title: str, rows: Sequence[Mapping[str, Any]], as_json: bool, *, names: Sequence[str] = (), empty: str
) -> None:
    """Print rows as JSON, or as a table with these of their keys, by default all, as headings."""
    if as_json:
        show_json(rows)
        return
    keys = names or (list(rows[0]) if rows else [])
    show_table(title, [key.capitalize() for key in keys], [[row[key] for key in keys] for row in rows], empty=empty)
