"""``tollgate-terminal``: make a terminal, play its user, run a fleet."""

from __future__ import annotations

import csv
import re
import sys
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from signalling.clock import Clock, SharedClock, SystemClock, from_micros
from signalling.configuration import Configuration, ConfigurationError
from terminal_sim import state as states
from terminal_sim.card import CardFileError
from terminal_sim.host import read_host
from terminal_sim.journal import JournalError
from terminal_sim.profiles import ProfileError, read_profile, read_profiles
from terminal_sim.roaming import RoamingError
from terminal_sim.trust import Identity, Trust, TrustError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A terminal, its user, or a whole fleet of them.")
fleet_app = typer.Typer(invoke_without_command=True, help="Scripted terminals, repeatable by seed.")
app.add_typer(fleet_app, name="fleet")

StateOption = Annotated[Path, typer.Option("--state", help="Folder of the terminal.")]
ClockOption = Annotated[str, typer.Option("--clock", help="'system', or 'file:PATH' for a simulated clock.")]

console = Console()
_TERMINAL_ID = re.compile(r"[A-Za-z0-9._:@-]{1,64}")


def says_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Errors that are for the user are told in one line and end with status 1."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except (
            TrustError,
            JournalError,
            ProfileError,
            ConfigurationError,
            CardFileError,
            FileExistsError,
            RoamingError,
        ) as error:
            _fail(str(error))
        except OSError as error:
            _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))

    return run


def _fail(text: str) -> None:
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def _clock(text: str) -> Clock:
    if text == "system":
        return SystemClock()
    if not text.startswith("file:"):
        raise TrustError(f"--clock {text}: 'system' or 'file:PATH'")
    return SharedClock(Path(text.removeprefix("file:")))


def _configuration(profile: Path | None) -> Configuration:
    """From a profile in TOML, from a configuration in JSON as ``profile`` writes it, or of this machine."""
    if profile is None:
        return read_host()
    if profile.suffix == ".toml":
        kind = read_profile(profile)
        configuration = Configuration(kind.hardware, kind.firmware, kind.base_software)
    else:
        try:
            configuration = msgspec.json.decode(profile.read_bytes(), type=Configuration)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ProfileError(f"{profile}: not a configuration: {error}") from None
    configuration.code()
    return configuration


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
    states.create(state, identity, trust, _configuration(profile), _clock(clock).micros()).close()
    _say(f"{name} is in {state}. Enrol it with:")
    _say(f"  tollgate terminal enroll {name} --public-key {identity.public_key.hex()} --subscriber SUBSCRIBER")


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
    number: Annotated[str, typer.Option("--number", help="With --radio: the card's telephone number.")] = "",
) -> None:
    """Play the terminal's user in a text menu; commands may also come from a pipe.

    With --applet a phone is drawn, whose card speaks to the operator: over this terminal's link, or by short messages.

    Example: tollgate-terminal run --state my-terminal
    """
    if applet:
        from terminal_sim.phone import run_phone

        run_phone(state, _clock(clock), console, trace=trace, radio=radio, number=number)
        return
    from twisted.internet import reactor

    from terminal_sim.console import TerminalConsole
    from terminal_sim.keeper import LinkKeeper

    kept = states.load(state)
    time = _clock(clock)
    loop: Any = reactor
    keeper = LinkKeeper(kept, time, loop, tuple(language or ["en"]))
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
        down = keeper.stop()
        if down is None:
            loop.stop()
        else:
            down.addBoth(lambda _: loop.stop())

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
    _say(f"{kept.identity.terminal} of {kept.trust.server} at {kept.trust.host}:{kept.trust.port}")
    _say(f"public key {kept.identity.public_key.hex()}")
    _say(f"configuration code {kept.configuration().code().hex()}")
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
        _say(f"{'read' if message.read else 'new '} {message.noticed.about}: {message.noticed.text}")
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
        _fail("say --from-host: there is nothing else to read a configuration from")
    configuration = read_host()
    data = msgspec.json.format(msgspec.json.encode(configuration), indent=2)
    if out is None:
        sys.stdout.write(data.decode() + "\n")
    else:
        out.write_bytes(data + b"\n")
        software = len(configuration.base_software)
        _say(f"{out}: {software} packages, configuration code {configuration.code().hex()}")


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

    enter(state, network, bundle, _clock(clock), iter(sys.stdin), _say, yes=accept)


@fleet_app.callback()
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
    trust, kinds, time = Trust.read(bundle), read_profiles(profiles), _clock(clock)
    from twisted.internet import reactor

    from terminal_sim.fleet import Counts, make_fleet, run_sessions, total

    loop: Any = reactor
    members = make_fleet(count, kinds, seed, trust, time, loop, folder=state, keep=True, honest=honest)
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
        task = bar.add_task("Sessions", total=count * rounds)

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
    sums: Counts = total(members)
    _show_counts(sums, len({member.state.configuration().code() for member in members}))
    for text in errors[:20]:
        _say(text)
    if errors:
        _fail(f"{len(errors)} sessions did not end well")


@fleet_app.command("keys")
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
    _say(f"{out}: {count} terminals of seed {seed}; enrol them with `tollgate terminal import {out}`")


@app.command()
@says_errors
def call(
    state: StateOption,
    caller: Annotated[str, typer.Option("--from", help="Who calls.")],
    called: Annotated[str, typer.Option("--to", help="The own number that is called, where there are several.")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="WAV file for what rings; default: STATE/ring.wav.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Write the file only.")] = False,
) -> None:
    """Let the phone with the card in STATE/card.json ring, with the tone that its user bound to the call.

    Example: tollgate-terminal call --state phone --from +491709999999
    """
    from signalling.tones.player import play
    from signalling.tones.sound import render
    from terminal_sim.card import Card, load_card
    from terminal_sim.handset import Handset

    # The phone that rings is off the air: nothing is sent, and the card's file stays as it is.
    handset = Handset(Card(load_card(state / "card.json")).transmit, lambda tpdu: False)
    tone = handset.incoming_call(caller, called)
    if tone is None:
        _say(f"{caller} calls: the phone's own ring; no tone is bound to this call")
        return
    path = out or state / "ring.wav"
    path.write_bytes(render(tone))
    _say(f"{caller} calls: {tone.title} rings; the sound is in {path}")
    if not quiet and (trouble := play(path)):
        _say(trouble)


@app.command()
@says_errors
def smsc(
    port: Annotated[int, typer.Option(min=0, max=65535, help="SMPP port; 0: any free one.")] = 2775,
    radio_port: Annotated[int, typer.Option(min=0, max=65535, help="Port for phones; 0: any free one.")] = 2776,
    password_file: Annotated[
        Path | None, typer.Option(help="The password of the operator's server; default: none.")
    ] = None,
) -> None:
    """Play a short message centre: SMPP 3.4 for the operator's server, a line protocol for simulated phones.

    Example: tollgate-terminal smsc --port 2775 --radio-port 2776
    """
    from twisted.internet import reactor

    from terminal_sim.smsc import Centre

    password = password_file.read_text(encoding="utf-8").strip() if password_file else ""
    loop: Any = reactor
    centre = Centre(loop, SystemClock(), password)
    ports = centre.listen(port, radio_port)
    _say(f"SMPP on 127.0.0.1:{ports[0]}, phones on 127.0.0.1:{ports[1]}")
    loop.run()


@app.command("snmp-agent")
@says_errors
def snmp_agent(
    profile: Annotated[
        Path | None, typer.Option("--profile", help="TOML profile or JSON configuration; default: this machine.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to answer on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="UDP port; 0: any free one.")] = 1161,
    interface: Annotated[
        list[str] | None,
        typer.Option(
            "--interface", help="name:Mbit/s:octets in a second:octets out a second; repeat. Default: eth0 at rest."
        ),
    ] = None,
    user: Annotated[str, typer.Option(help="User of SNMPv3 (SHA-256, AES-128) in place of a community.")] = "",
    secret_file: Annotated[
        Path | None,
        typer.Option(help="The community, or the two passphrases, a line each; default: the community simulator."),
    ] = None,
    clock: ClockOption = "system",
) -> None:
    """Play a device that speaks SNMP alone: an agent with an inventory and counters that run.

    Example: tollgate-terminal snmp-agent --profile gateway.toml --port 1161 --interface eth0:100:125000:40000
    """
    import asyncio

    from terminal_sim.snmp_agent import Access, Device, Interface, parse_interface, serve

    if user and secret_file is None:
        raise ProfileError("--user: its two passphrases come from --secret-file, a line each")
    secrets = secret_file.read_text(encoding="utf-8").splitlines() if secret_file else ["simulator"]
    if len(secrets) < (2 if user else 1) or any(len(secret) < 8 for secret in secrets[:2] if user):
        raise ProfileError(f"{secret_file}: two passphrases of at least 8 characters, or one community, a line each")
    access = Access(user=user, auth_key=secrets[0], priv_key=secrets[1]) if user else Access(secrets[0])
    try:
        interfaces = [parse_interface(each) for each in interface or ()] or [Interface()]
    except ValueError as error:
        raise ProfileError(str(error)) from None
    device = Device(_configuration(profile), interfaces)
    if clock != "system":
        told = _clock(clock)
        device = Device(device.configuration, interfaces, clock=lambda: told.micros() / 1e6)
    try:
        asyncio.run(serve(device, access, host, port, lambda bound: _say(f"answering SNMP on {host}:{bound}")))
    except KeyboardInterrupt:
        _say("stopped")


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


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    """The console script."""
    app()
