"""Commands whose modules are imported when they are asked for: a call pays for one of them, not for all."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

COMMANDS = {
    "terminal": "terminal:app",
    "device": "device:app",
    "card": "card:app",
    "tone": "tone:app",
    "account": "account:app",
    "charge": "charge:app",
    "agreement": "agreement:app",
    "offer": "offer:app",
    "rejection": "offer:rejections",
    "release": "release:app",
    "bill": "bill:app",
    "invoice": "invoice:app",
    "credit-note": "credit_note:app",
    "payment": "payment:app",
    "mandate": "claims:mandates",
    "dispute": "claims:disputes",
    "write-off": "claims:write_offs",
    "reminder": "reminder:app",
    "finance": "finance:app",
    "ledger": "ledger:app",
    "tariff": "tariff:app",
    "usage": "usage:app",
    "visited": "visited:app",
    "user": "user:app",
    "token": "token:app",
    "audit": "audit:app",
    "event": "event:app",
    "db": "db:app",
    "key": "key:app",
    "check": "check:check",
    "publish": "release:publish",
    "serve": "serve:serve",
    "interrogate": "serve:interrogate",
    "doctor": "doctor:doctor",
    "top": "top:top",
    "demo": "demo:demo",
}
"""Word after ``tollgate`` to the module of :mod:`operator_server.cli` and the name in it: a group or a function."""


class LazyCommands(TyperGroup):
    """The group of :data:`COMMANDS`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in their order, without importing anything."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, imported now; ``None`` where there is none of that name."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            self.commands[cmd_name] = _imported(cmd_name)
        return self.commands.get(cmd_name)


def _imported(name: str) -> Any:
    module, attribute = COMMANDS[name].split(":")
    found = getattr(import_module(f"operator_server.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        command: Any = get_group(found)
    else:
        single = typer.Typer(add_completion=False)
        single.command()(found)
        command = get_command(single)
    command.name = name
    return command
