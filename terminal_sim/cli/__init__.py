"""``tollgate-terminal``: make a terminal, play its user, run a fleet."""

from __future__ import annotations

import typer

from terminal_sim.cli import devices, fleet, terminal, trust

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A terminal, its user, or a whole fleet of them.")
app.add_typer(terminal.app)
app.add_typer(trust.app)
app.add_typer(devices.app)
app.add_typer(fleet.app, name="fleet")


def main() -> None:
    """The console script."""
    app()
