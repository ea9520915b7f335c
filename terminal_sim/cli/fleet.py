"""``tollgate-terminal fleet``: many terminals with scripted users."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from signalling.clock import Clock
from terminal_sim.cli.common import (
    ClockOption,
    clock_named,
    console,
    fail,
    say,
    says_errors,
)
from terminal_sim.profiles import ProfileError, read_profiles
from terminal_sim.trust import Trust

app = typer.Typer(invoke_without_command=True, help="Scripted terminals, repeatable by seed.")


@app.callback()
@says_errors
def fleet(
    context: typer.Context,
    bundle: Annotated[Path, typer.Option("--bundle", help="What `tollgate terminal bundle` wrote.")] = Path(
        "terminal-bundle.json"
    ),
    count: Annotated[int, typer.Option("--count", min=1, max=100_000, help="Terminals.")] = 100,
    profiles: Annotated[Path, typer.Option("--profiles", help="Folder of TOML profiles.")] = Path("configs/terminals"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed, the same fleet.")] = 7,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Sessions of each terminal.")] = 1,
    use_days: Annotated[float, typer.Option("--use-days", min=0, help="Days of use before each session.")] = 1.0,
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="Sessions at a time.")] = 50,
    state: Annotated[Path, typer.Option("--state", help="Folder of the fleet's states.")] = Path("fleet-state"),
    honest: Annotated[bool, typer.Option("--honest", help="Nobody misbehaves.")] = False,
    clock: ClockOption = "system",
) -> None:
    """Let scripted users log on, choose, negotiate, receive and use. Their keys must be enrolled: `fleet keys`.

    Example: tollgate-terminal fleet --count 1000 --profiles configs/terminals --seed 7 --bundle terminal-bundle.json
    """
    if context.invoked_subcommand is not None:
        return
    trust, kinds, time = Trust.read(bundle), read_profiles(profiles), clock_named(clock)
    from twisted.internet import reactor

    from terminal_sim.fleet import make_fleet, total
    from terminal_sim.simulated import Counts

    members = make_fleet(count, kinds, seed, trust, time, reactor, folder=state, keep=True, honest=honest)
    errors = _run_rounds(members, rounds, parallel, time, use_days)
    sums: Counts = total(members)
    _show_counts(sums, len({member.state.configuration().code() for member in members}))
    for text in errors[:20]:
        say(text)
    if errors:
        fail(f"{len(errors)} sessions did not end well")


def _run_rounds(members: list[Any], rounds: int, parallel: int, time: Clock, use_days: float) -> list[str]:
    """All sessions, a round after the other; what went wrong."""
    from twisted.internet import reactor

    from terminal_sim.fleet import run_sessions

    loop: Any = reactor
    errors: list[str] = []

    def play(bar: Progress, round_: int, task: Any) -> Any:
        def done(terminal: Any, error: Exception | None) -> None:
            bar.advance(task)
            if error is not None:
                errors.append(f"{terminal.terminal}: {error}")

        for member in members:
            member.live(time.micros(), use_days)
        return run_sessions(members, parallel, done=done)

    with Progress(console=console) as bar:
        task = bar.add_task("Sessions", total=len(members) * rounds)

        def next_round(_: Any, round_: int) -> Any:
            return play(bar, round_, task)

        def start() -> None:
            playing = play(bar, 1, task)
            for round_ in range(2, rounds + 1):
                playing.addCallback(next_round, round_)
            playing.addErrback(lambda failure: errors.append(failure.getTraceback()))
            playing.addBoth(lambda _: loop.stop())

        loop.callWhenRunning(start)
        loop.run()
    return errors


@app.command("keys")
@says_errors
def fleet_keys(
    count: Annotated[int, typer.Option("--count", min=1, max=100_000, help="Terminals.")],
    out: Annotated[Path, typer.Option("--out", help="CSV file: terminal,public_key,subscriber.")] = Path(
        "terminals.csv"
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="The fleet's seed.")] = 7,
    subscriber: Annotated[
        str, typer.Option("--subscriber", help="Who uses them; {n} is the terminal's number.")
    ] = "A-{n:05d}",
) -> None:
    """Write the public keys of a fleet, for `tollgate terminal import`.

    Example: tollgate-terminal fleet keys --count 1000 --seed 7 --out terminals.csv
    """
    from terminal_sim.fleet import enrolment

    try:
        names = [subscriber.format(n=number) for number in range(1, count + 1)]
    except (ValueError, KeyError, IndexError, AttributeError) as error:
        raise ProfileError(f"--subscriber {subscriber!r}: {error!r}; write {{n}} for the number") from None
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("terminal", "public_key", "subscriber"))
        for (terminal, key), name in zip(enrolment(count, seed), names, strict=True):
            writer.writerow((terminal, key, name))
    say(f"{out}: {count} terminals of seed {seed}; enrol them with `tollgate terminal import {out}`")


def _show_counts(sums: Any, codes: int) -> None:
    table = Table("What", "How often", title="The fleet")
    table.add_row("distinct configuration codes", str(codes))
    for name, value in vars(sums).items():
        if isinstance(value, int):
            table.add_row(name.replace("_", " "), str(value))
        else:
            for key, times in sorted(value.items()):
                table.add_row(f"{name.replace('_', ' ')}: {key}", str(times))
    console.print(table, markup=False, highlight=False)
