"""``tollgate-terminal trust``: another bundle for a terminal that is there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from terminal_sim import state as states
from terminal_sim.cli.common import ClockOption, StateOption, clock_named, say, says_errors
from terminal_sim.trust import FormerKey, Trust, TrustError

app = typer.Typer()


@app.command()
@says_errors
def trust(
    state: StateOption,
    bundle: Annotated[Path, typer.Option("--bundle", help="What `tollgate terminal bundle` wrote.")],
    stolen: Annotated[
        bool, typer.Option("--stolen", help="Take nothing any more that was signed with the key in place so far.")
    ] = False,
    clock: ClockOption = "system",
) -> None:
    """Trust another bundle of the same operator; the terminal keeps its key, its agreements and what is installed.

    Needed where the operator lost its signing key, its TLS authority or the repository's root; the terminal must not
    run meanwhile. Other changes of keys a terminal follows by itself.

    Example: tollgate-terminal trust --state my-terminal --bundle terminal-bundle.json
    """
    new, kept = Trust.read(bundle), states.load(state)
    try:
        old = kept.trust
        if new.server != old.server:
            raise TrustError(f"{bundle}: is of {new.server}, this terminal belongs to {old.server}")
        former = [each for each in old.former_keys if each.public_key != new.server_public_key]
        if new.server_public_key != old.server_public_key and not stolen:
            former.append(FormerKey(old.server_public_key, clock_named(clock).micros()))
        if new.tuf_root != old.tuf_root:
            # What was seen of another repository says nothing of this one.
            shutil.rmtree(kept.fetch_folder / "metadata", ignore_errors=True)
        kept.trusts(msgspec.structs.replace(new, former_keys=[] if stolen else former))
    finally:
        kept.close()
    say(f"{kept.identity.terminal} trusts {bundle} from now on.")
