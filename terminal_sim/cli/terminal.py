"""``tollgate-terminal init|run|status|profile|roam``: one terminal and its user."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from signalling.clock import Clock, from_micros
from terminal_sim import state as states
from terminal_sim.cli.common import (
    ClockOption,
    StateOption,
    clock_named,
    configuration_of,
    console,
    fail,
    say,
    says_errors,
)
from terminal_sim.host import read_host
from terminal_sim.trust import Identity, Trust, TrustError

_TERMINAL_ID = re.compile(r"[A-Za-z0-9._:@-]{1,64}")

app = typer.Typer()


@app.command()
@says_errors
def init(
    state: StateOption,
    bundle: Annotated[Path, typer.Option("--bundle", help="What `tollgate terminal bundle` wrote.")],
    terminal: Annotated[str, typer.Option("--terminal", help="Terminal id; default: the bundle's.")] = "",
    profile: Annotated[
        Path | None, typer.Option("--profile", help="TOML profile or JSON configuration; default: this machine.")
    ] = None,
    clock: ClockOption = "system",
) -> None:
    """Make a terminal with a key of its own, and print the public key for its enrolment.

    Example: tollgate-terminal init --state my-terminal --bundle terminal-bundle.json --terminal T-1001
    """
    trust = Trust.read(bundle)
    name = terminal or trust.terminal
    if not _TERMINAL_ID.fullmatch(name):
        raise TrustError(f"--terminal {name!r}: a terminal id is 1 to 64 of A-Z a-z 0-9 . _ : @ -")
    identity = Identity.new(name)
    states.create(state, identity, trust, configuration_of(profile), clock_named(clock).micros()).close()
    say(f"{name} is in {state}. Enrol it with:")
    say(f"  tollgate terminal enroll {name} --public-key {identity.public_key.hex()} --subscriber SUBSCRIBER")


@app.command()
@says_errors
def run(
    state: StateOption,
    language: Annotated[list[str] | None, typer.Option("--language", help="Preferred language; repeat.")] = None,
    clock: ClockOption = "system",
    applet: Annotated[
        bool, typer.Option("--applet", help="Play the user of a phone with the SIM card in STATE/card.json.")
    ] = False,
    trace: Annotated[
        bool, typer.Option("--trace", help="With --applet: print and explain each command to the card and its answer.")
    ] = False,
    radio: Annotated[
        str, typer.Option("--radio", help="With --applet: host:port of `tollgate-terminal smsc`; default: the link.")
    ] = "",
    node: Annotated[
        str, typer.Option("--node", help="With --applet: host:port of `tollgate-terminal node`: messages, USSD, calls.")
    ] = "",
    number: Annotated[str, typer.Option("--number", help="With --radio or --node: the card's number.")] = "",
    lacks: Annotated[
        list[str] | None, typer.Option("--lacks", help="With --applet: what the phone cannot do; repeat.")
    ] = None,
) -> None:
    """Play the terminal's user in a text menu; commands may also come from a pipe.

    With --applet a phone is drawn, whose card speaks to the operator: over this terminal's link, by short messages of a
    centre, or through a node that serves phones.

    Example: tollgate-terminal run --state my-terminal
    """
    if applet:
        from terminal_sim.phone import PhoneOptions, run_phone

        options = PhoneOptions(trace=trace, radio=radio, node=node, number=number, lacks=lacks or ())
        run_phone(state, clock_named(clock), console, options)
    else:
        _run_menu(state, clock_named(clock), tuple(language or ["en"]))


def _run_menu(state: Path, time: Clock, languages: tuple[str, ...]) -> None:
    from twisted.internet import reactor

    from terminal_sim.console import TerminalConsole
    from terminal_sim.keeper import LinkKeeper

    kept = states.load(state)
    loop: Any = reactor
    keeper = LinkKeeper(kept, time, loop, languages)
    menu = TerminalConsole(kept, time, loop, keeper, console)
    keeper.on_event, keeper.on_trouble = menu.happened, menu.trouble
    failure: list[BaseException] = []

    def play() -> None:
        try:
            _wait_for_first_attempt(keeper)
            menu.run()
        except BaseException as error:  # noqa: BLE001 - a thread's failure is raised again by the main thread
            failure.append(error)
        finally:
            loop.callFromThread(leave)

    def leave() -> None:
        keeper.stop().addBoth(lambda _: loop.stop())

    loop.callWhenRunning(keeper.start)
    # The thread may stand in a read of the keyboard for ever, so it must not hold up the end of the program.
    loop.callWhenRunning(threading.Thread(target=play, daemon=True).start)
    loop.run()
    kept.close()
    if failure:
        raise failure[0]


def _wait_for_first_attempt(keeper: Any) -> None:
    """So that a script's first command finds the menu there."""
    pause = threading.Event()
    for _ in range(300):
        if keeper.attempts:
            break
        pause.wait(0.05)


@app.command()
@says_errors
def status(state: StateOption) -> None:
    """Show what the terminal knows without connecting: agreements, installed items, counters, messages."""
    kept = states.load(state)
    say(f"{kept.identity.terminal} of {kept.trust.server} at {kept.trust.host}:{kept.trust.port}")
    say(f"public key {kept.identity.public_key.hex()}")
    say(f"configuration code {kept.configuration().code().hex()}")
    agreements = Table("Agreement", "Item", "Mode", "Step", "Charge", title="Agreements")
    for agreement in kept.agreements.values():
        terms = agreement.confirmed
        item = f"{terms.title} {terms.release}"
        agreements.add_row(agreement.id, item, terms.terms.label, agreement.step, agreement.charge or agreement.reason)
    counted = Table("Installation", "Counter", "Epoch", "Value", "Granted", "Until", "Unacknowledged", title="Counters")
    for counter in kept.counters.values():
        granted = counter.usage
        counted.add_row(
            counter.installation,
            counter.name,
            str(counter.epoch),
            str(counter.value),
            str(granted.ceiling) if granted else "",
            f"{from_micros(granted.valid_until):%Y-%m-%d}" if granted else "",
            str(len(counter.waiting)),
        )
    for table in (agreements, counted):
        if table.row_count:
            console.print(table, markup=False)
    for message in kept.notices.values():
        say(f"{'read' if message.read else 'new '} {message.noticed.about}: {message.noticed.text}")
    kept.close()


@app.command()
@says_errors
def profile(
    from_host: Annotated[bool, typer.Option("--from-host", help="Read this machine.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="JSON file to write; default: the screen.")] = None,
) -> None:
    """Write the configuration of this machine: hardware, firmware, packages of dpkg and Python. Nothing personal.

    Example: tollgate-terminal profile --from-host --out host.json
    """
    if not from_host:
        fail("say --from-host: there is nothing else to read a configuration from")
    configuration = read_host()
    data = msgspec.json.format(msgspec.json.encode(configuration), indent=2)
    if out is None:
        sys.stdout.write(data.decode() + "\n")
    else:
        out.write_bytes(data + b"\n")
        software = len(configuration.base_software)
        say(f"{out}: {software} packages, configuration code {configuration.code().hex()}")


@app.command()
@says_errors
def roam(
    state: StateOption,
    network: Annotated[str, typer.Option("--network", help="Address of the base station: https://HOST:PORT.")],
    bundle: Annotated[Path, typer.Option("--bundle", help="Bundle of the network around: its certificates.")],
    accept: Annotated[bool, typer.Option("--accept", help="Accept what costs something without asking.")] = False,
    clock: ClockOption = "system",
) -> None:
    """Enter another operator's network, and dial there in the codes of home; commands come from the keyboard or a pipe.

    *66# dials a code, 6-5 a place of the menu (6-5 off switches off); codes, new, page, quit.

    Example: tollgate-terminal roam --state my-terminal --network https://localhost:7781 --bundle north-bundle.json
    """
    from terminal_sim.roaming_air import roam as enter

    enter(state, network, bundle, clock_named(clock), iter(sys.stdin), say, yes=accept)
