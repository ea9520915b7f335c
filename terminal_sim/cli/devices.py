"""``tollgate-terminal call|smsc|node|snmp-agent``: a phone that rings, and what stands around terminals in a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from signalling.clock import SystemClock
from terminal_sim.cli.common import (
    ClockOption,
    StateOption,
    clock_named,
    configuration_of,
    say,
    says_errors,
)
from terminal_sim.profiles import ProfileError
from terminal_sim.trust import Trust

app = typer.Typer()


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
        say(f"{caller} calls: the phone's own ring; no tone is bound to this call")
        return
    path = out or state / "ring.wav"
    path.write_bytes(render(tone))
    say(f"{caller} calls: {tone.title} rings; the sound is in {path}")
    if not quiet and (trouble := play(path)):
        say(trouble)


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
    say(f"SMPP on 127.0.0.1:{ports[0]}, phones on 127.0.0.1:{ports[1]}")
    loop.run()


@app.command()
@says_errors
def node(
    name: Annotated[str, typer.Argument(help="The node's name, such as north.")],
    home: Annotated[str, typer.Option("--home", help="Home register as host:port; see nodes.port.")] = "localhost:7795",
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="What `tollgate terminal bundle` wrote; default: without TLS.")
    ] = None,
    radio_port: Annotated[int, typer.Option(min=0, max=65535, help="Port for phones; 0: any free one.")] = 7796,
    secret_file: Annotated[Path | None, typer.Option(help="The secret of the operator's nodes; default: none.")] = None,
) -> None:
    """Play a node that serves phones: it pages them, carries messages, USSD and calls, and says what it does.

    Example: tollgate-terminal node north --home localhost:7795 --bundle bundle.json --radio-port 7796
    """
    from twisted.internet import reactor

    from terminal_sim.node import Node

    ca_pem = Trust.read(bundle).ca_pem if bundle else ""
    secret = secret_file.read_text(encoding="utf-8").strip() if secret_file else ""
    host, _, port = home.rpartition(":")
    if not host or not port.isdigit():
        raise ProfileError(f"--home {home!r}: write host:port")
    loop: Any = reactor
    played = Node(name, loop, secret, say)
    played.home.attach(home, ca_pem)
    say(f"{name}: phones on 127.0.0.1:{played.listen(radio_port)}")
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
    device = Device(configuration_of(profile), interfaces)
    if clock != "system":
        told = clock_named(clock)
        device = Device(device.configuration, interfaces, clock=lambda: told.micros() / 1e6)
    try:
        asyncio.run(serve(device, access, host, port, lambda bound: say(f"answering SNMP on {host}:{bound}")))
    except KeyboardInterrupt:
        say("stopped")
