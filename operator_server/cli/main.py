"""``tollgate``: the operator's command."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from operator_server.cli.lazy import LazyCommands

app = typer.Typer(cls=LazyCommands, no_args_is_help=True, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tollgate {version('tollgate')}")
        raise typer.Exit


@app.callback()
def tollgate(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Interrogate terminals, offer what fits, agree on the charging mode, deliver, count and bill."""


def main() -> None:
    """Run the command line."""
    app()
