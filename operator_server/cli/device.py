"""``tollgate device``: devices that speak SNMP, and what opens them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection, select

from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    changed,
    opened,
    out,
    reading,
    says_errors,
    show_json,
    show_table,
    told,
)
from operator_server.cli.serve import interrogate
from operator_server.cli.shown import show_facts, user_and_code, when
from operator_server.devices.invitations import NotInvited
from operator_server.devices.invitations import invite as invite_user
from operator_server.parties import PartyError
from operator_server.snmp.credentials import (
    Community,
    Credential,
    CredentialError,
    User,
    remove_credential,
    store_credential,
)
from operator_server.snmp.registry import (
    Change,
    NewDevice,
    add_device,
    change_device,
    parse_counter,
    pause_device,
    readings,
    require_device,
)
from operator_server.store.devices import Device, DeviceCredential
from operator_server.store.rows import table

app = typer.Typer(no_args_is_help=True, help="Devices that speak SNMP, polled as terminals.")
credentials = typer.Typer(no_args_is_help=True, help="What opens devices; kept sealed, never shown.")
app.add_typer(credentials, name="credential")

TerminalArgument = Annotated[str, typer.Argument(help="Terminal id.")]


@credentials.command("add")
@says_errors(CredentialError)
def add_credential(
    name: Annotated[str, typer.Argument(help="Name of the credential.")],
    user: Annotated[str, typer.Option(help="SNMPv3 user; without it the secret is a community of SNMPv2c.")] = "",
    auth: Annotated[str, typer.Option(help="sha224, sha256, sha384 or sha512.")] = "sha256",
    secret_file: Annotated[
        Path | None,
        typer.Option(help="File with the secret: the community, or the two passphrases, a line each."),
    ] = None,
    replace: Annotated[bool, typer.Option(help="Put it in the place of the one of that name.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Keep a community, or a user of SNMPv3 with authentication and privacy (AES-128).

    The secret is asked for, or read from a file or from standard input; it is never an argument, which others could
    see. SNMPv3: first the authentication passphrase, then the privacy one.

    Example: tollgate device credential add routers --user tollgate --secret-file passphrases.txt
    """
    if auth not in ("sha224", "sha256", "sha384", "sha512"):
        raise CommandError(f"--auth {auth}: one of sha224, sha256, sha384, sha512")
    names = ["Authentication passphrase", "Privacy passphrase"] if user else ["Community"]
    secrets = _secrets(names, secret_file)
    credential: Credential
    if user:
        credential = User(user, secrets[0], secrets[1], auth)  # type: ignore[arg-type]  # checked above
    else:
        credential = Community(secrets[0])
    with opened(config) as operator:
        now = operator.clock.now()
        changed(
            operator, "credential.put", f"credential/{name}",
            lambda c: store_credential(c, operator.vault, name, credential, now, replace=replace),
            {"user": user, "replaced": replace},
        )  # fmt: skip
    advice = [] if user else ["A community travels in clear text; prefer SNMPv3 where the device has it."]
    kept = {"credential": name, "version": credential.version}
    told(kept, as_json, f"Credential {name} is kept ({credential.version}).", *advice)


def _secrets(names: list[str], file: Path | None) -> list[str]:
    if file is None and sys.stdin.isatty():
        return [typer.prompt(name, hide_input=True) for name in names]
    source = str(file) if file else "standard input"
    lines = (file.read_text(encoding="utf-8") if file else sys.stdin.read(4096)).splitlines()
    if len(lines) < len(names) or not all(line.strip() for line in lines[: len(names)]):
        raise CommandError(f"{source}: {len(names)} line(s) are needed: {', '.join(names).lower()}")
    return lines[: len(names)]


@credentials.command("list")
@says_errors()
def list_credentials(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List credentials by name and version; what they hold is not shown.

    Example: tollgate device credential list
    """
    credential, device = table(DeviceCredential), table(Device)
    with reading(config) as connection:
        used = connection.execute(select(device.c.credential)).scalars().all()
        rows = [
            {"name": row.name, "version": row.version, "devices": used.count(row.name), "created_at": row.created_at}
            for row in connection.execute(select(credential).order_by(credential.c.name))
        ]
    if as_json:
        show_json(rows)
        return
    show_table(
        "Credentials",
        ["Name", "Version", "Devices", "Made"],
        [(r["name"], r["version"], r["devices"], f"{r['created_at']:%Y-%m-%d %H:%M}") for r in rows],
        empty="There is no credential. `tollgate device credential add` makes one.",
    )


@credentials.command("remove")
@says_errors(CredentialError)
def remove(
    name: Annotated[str, typer.Argument(help="Name.")], as_json: JsonOption = False, config: ConfigOption = CONFIG
) -> None:
    """Forget a credential that no device uses.

    Example: tollgate device credential remove routers
    """
    with opened(config) as operator:
        changed(operator, "credential.remove", f"credential/{name}", lambda c: remove_credential(c, name), {})
    told({"credential": name, "removed": True}, as_json, f"Credential {name} is forgotten.")


@app.command()
@says_errors(PartyError)
def add(
    terminal: Annotated[str, typer.Argument(help="Id of the terminal that the device is to be.")],
    host: Annotated[str, typer.Option("--host", help="Address or name.")],
    credential: Annotated[str, typer.Option("--credential", help="Name of the credential that opens it.")],
    subscriber: Annotated[str, typer.Option("--subscriber", help="Who uses it; needed for a new terminal.")] = "",
    port: Annotated[int, typer.Option(help="UDP port of its agent.")] = 161,
    counter: Annotated[
        list[str] | None,
        typer.Option("--counter", help="counter=object/octets, such as mib=ifHCInOctets.2/1048576; repeat for more."),
    ] = None,
    contact: Annotated[str, typer.Option(help="Mail address that gets links to the offers.")] = "",
    language: Annotated[str, typer.Option(help="Language of the user, two letters; empty: the operator's.")] = "",
    poll_seconds: Annotated[int, typer.Option(help="Seconds between polls of the counters; 0: the setting's.")] = 0,
    label: Annotated[str, typer.Option(help="A name for people.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Make a device known; a running server polls it at once.

    Example: tollgate device add gw-17 --host 192.0.2.17 --credential routers --subscriber A-1001
    """
    with opened(config) as operator:
        settings = operator.settings
        new = NewDevice(
            terminal,
            host,
            credential,
            subscriber,
            port,
            [parse_counter(each) for each in counter or ()],
            contact,
            language or settings.operator.language,
            poll_seconds or settings.snmp.poll_seconds,
            label,
        )
        now = operator.clock.now()
        changed(operator, "device.add", f"device/{terminal}", lambda c: add_device(c, new, now), {})
    text = f"{terminal} is a device at {host}:{port}. `tollgate serve` polls it; see `tollgate device show`."
    told({"terminal": terminal, "host": host, "port": port}, as_json, text)


@app.command()
@says_errors(PartyError)
def change(
    terminal: TerminalArgument,
    host: Annotated[str | None, typer.Option("--host", help="Address or name.")] = None,
    port: Annotated[int | None, typer.Option(help="UDP port of its agent.")] = None,
    credential: Annotated[str | None, typer.Option(help="Name of the credential that opens it.")] = None,
    subscriber: Annotated[str | None, typer.Option(help="Who uses it from now on.")] = None,
    counter: Annotated[
        list[str] | None,
        typer.Option("--counter", help="counter=object/octets, in place of all there are; repeat for more."),
    ] = None,
    no_counters: Annotated[bool, typer.Option("--no-counters", help="Read no counters any more.")] = False,
    contact: Annotated[str | None, typer.Option(help="Mail address that gets links; empty: the account's.")] = None,
    language: Annotated[str | None, typer.Option(help="Language of the user, two letters.")] = None,
    poll_seconds: Annotated[int | None, typer.Option(help="Seconds between polls of the counters.")] = None,
    same_device: Annotated[
        bool, typer.Option("--same-device", help="It is the same device at its new address: its counters go on.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Change a device's address, port, credential, counters or user; a running server interrogates it at once.

    At another address counting begins anew with the next reading, unless --same-device says that it goes on.

    Example: tollgate device change gw-17 --host 192.0.2.18 --same-device
    """
    if counter and no_counters:
        raise CommandError("--counter and --no-counters: one of them")
    counters = [] if no_counters else [parse_counter(each) for each in counter] if counter else None
    wanted = Change(host, port, credential, subscriber, counters, contact, language, poll_seconds, same_device)
    with opened(config) as operator:
        now = operator.clock.now()
        changed(operator, "device.change", f"device/{terminal}", lambda c: change_device(c, terminal, wanted, now), {})
    text = f"{terminal} is changed. See `tollgate device show {terminal}`."
    told({"terminal": terminal, "changed": True}, as_json, text)


@app.command()
@says_errors(PartyError, NotInvited)
def invite(terminal: TerminalArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Send the device's user a link to the offers again, whatever was sent before.

    Example: tollgate device invite gw-17
    """
    with opened(config) as operator:
        now = operator.clock.now()

        def send(connection: Connection) -> str:
            require_device(connection, terminal)
            return invite_user(connection, operator, terminal, now)

        message = changed(operator, "device.invite", f"device/{terminal}", send, {})
    text = f"Message {message} waits for the role worker to send it."
    told({"terminal": terminal, "message": message}, as_json, text)


@app.command("list")
@says_errors()
def list_(
    failing: Annotated[bool, typer.Option("--failing", help="Only those whose last poll failed.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows.")] = 50,
    after: Annotated[str, typer.Option(help="Start after this terminal id.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List devices with address, state and what to mend.

    Example: tollgate device list --failing
    """
    device = table(Device)
    query = select(device).where(device.c.terminal_id > after).order_by(device.c.terminal_id).limit(limit)
    if failing:
        query = query.where(device.c.state == "failing")
    with reading(config) as connection:
        rows = [_plain(row) for row in connection.execute(query)]
    if as_json:
        show_json(rows)
        return
    show_table(
        "Devices",
        ["Terminal", "Address", "Credential", "State", "Polled", "To mend"],
        [
            (r["terminal"], r["address"], r["credential"], r["state"], when(r["last_polled_at"]), r["last_error"])
            for r in rows
        ],
        empty="No device fails." if failing else "There is no device. `tollgate device add` makes one known.",
    )


def _plain(row: Any) -> dict[str, Any]:
    return {
        "terminal": row.terminal_id,
        "address": f"{row.host}:{row.port}",
        "credential": row.credential,
        "state": row.state,
        "contact": row.contact,
        "counters": row.counters,
        "poll_seconds": row.poll_seconds,
        "next_poll_at": row.next_poll_at,
        "last_polled_at": row.last_polled_at,
        "interrogated_at": row.interrogated_at,
        "failures": row.failures,
        "last_error": row.last_error,
        "last_error_at": row.last_error_at,
        "notes": row.notes,
    }


@app.command()
@says_errors(PartyError)
def show(
    terminal: TerminalArgument,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Show a device: state, what to mend, what was left out, and where its counters stand.

    Example: tollgate device show gw-17
    """
    with reading(config) as connection:
        shown = _plain(require_device(connection, terminal)) | user_and_code(connection, terminal)
        shown["readings"] = [
            {
                "counter": row.counter,
                "oid": row.oid,
                "value": int(row.last_raw),
                "at": row.last_at,
                "octets": int(row.accumulated_octets),
                "resets": row.epoch,
                "gaps": row.gaps,
            }
            for row in readings(connection, terminal)
        ]
    if as_json:
        show_json(shown)
        return
    show_facts(shown, ["counters", "readings", "notes"])
    for note in shown["notes"]:
        out.print(f"note: {note}")
    show_table(
        "Counters",
        ["Counter", "Object", "Value", "Read", "Octets counted", "Resets", "Gaps"],
        [
            (r["counter"], r["oid"], r["value"], when(r["at"]), r["octets"], r["resets"], r["gaps"])
            for r in shown["readings"]
        ],
        empty="No counter was read.",
    )


app.command(
    "poll",
    help="""Interrogate devices now, by the server that runs, and show what came of it.

    Example: tollgate device poll gw-17
    """,
)(interrogate)


@app.command()
@says_errors(PartyError)
def pause(terminal: TerminalArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Stop polling a device; it stays known.

    Example: tollgate device pause gw-17
    """
    _pause(config, terminal, True)
    text = f"{terminal} is not polled any more. `tollgate device resume {terminal}` goes on."
    told({"terminal": terminal, "paused": True}, as_json, text)


@app.command()
@says_errors(PartyError)
def resume(terminal: TerminalArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Poll a device again.

    Example: tollgate device resume gw-17
    """
    _pause(config, terminal, False)
    told({"terminal": terminal, "paused": False}, as_json, f"{terminal} is polled again.")


def _pause(config: Path, terminal: str, paused: bool) -> None:
    with opened(config) as operator:
        now = operator.clock.now()
        changed(
            operator, f"device.{'pause' if paused else 'resume'}", f"device/{terminal}",
            lambda c: pause_device(c, terminal, now, paused=paused), {},
        )  # fmt: skip
