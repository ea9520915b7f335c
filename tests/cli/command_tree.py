"""All commands of ``tollgate``, as typer has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from operator_server.cli.main import app


def commands() -> dict[str, Any]:
    """Path, such as ``account top-up``, to the command."""
    return dict(_walk(typer.main.get_command(app), ()))


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "list_commands"):
        for name in sorted(command.list_commands(None)):
            yield from _walk(command.get_command(None, name), (*path, name))
    elif not command.hidden:
        yield " ".join(path), command


def options(command: Any) -> set[str]:
    """The options of a command, as they are written."""
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
