"""``tollgate demo``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from operator_server.cli.common import CONFIG, CommandError, ConfigOption, err, says_errors, show_json
from operator_server.offering.loading import BrokenCatalogue
from operator_server.settings import SettingsError
from terminal_sim.profiles import ProfileError


@says_errors(SettingsError, BrokenCatalogue, ProfileError)
def demo(
    terminals: Annotated[int, typer.Option("--terminals", min=1, max=2000, help="Terminals of the fleet.")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed, the same customers and wishes.")] = 7,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="New or empty folder for all that is made; default: a temporary one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object; progress goes to stderr.")] = False,
    kills: Annotated[
        int, typer.Option("--kills", min=0, max=1000, help="SIGKILL the server so often, at random, and go on.")
    ] = 0,
    simulated_device: Annotated[
        bool, typer.Option("--simulated-device", help="The SNMP device is our own agent even where there is snmpd.")
    ] = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Run the whole method once on real input: a fleet, two simulated months, bills, and a second opinion on them.

    Exit code 1 when an invoice differs from what the terminals' journals make of it, when something rejected was
    shown too early, when something acknowledged is lost, or when the ledger does not prove. The seed settles customers,
    terminals and wishes; as real processes race, most figures differ by a few in a hundred from run to run.

    Example: tollgate demo --terminals 50 --out demo
    """
    from operator_server.demo.driver import DemoFailed
    from operator_server.demo.process import ServerFailed
    from operator_server.demo.run import Options, run_demo

    folder = out_folder or Path(tempfile.mkdtemp(prefix="tollgate-demo-"))
    if folder.exists() and any(folder.iterdir()):
        raise CommandError(f"--out {folder}: is not empty; name another folder")
    console = err if as_json else Console(highlight=False)
    try:
        figures, verdict = run_demo(Options(config, folder, terminals, seed, kills, as_json, simulated_device), console)
    except (DemoFailed, ServerFailed) as error:
        raise CommandError(str(error)) from None
    if as_json:
        show_json({**figures, "invoice_folder": str(folder.resolve() / "invoices")})
        for text in verdict.texts():
            err.print(text, markup=False, soft_wrap=True)
    if not verdict.good:
        raise typer.Exit(1)
