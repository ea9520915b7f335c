"""``tollgate visited``: feature codes, partner networks, visitors, our own roamers, settlement."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from sqlalchemy import select

from operator_server.audit import audited, cli_actor
from operator_server.cli import settlement
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
from operator_server.cli.settlement import NetworkArgument
from operator_server.store.rows import table
from operator_server.store.store import transact
from operator_server.store.visited import Roamer, VisitorRow
from operator_server.visited import identity
from operator_server.visited.codes import held_features, load_features, read_features
from operator_server.visited.faults import VisitedError
from operator_server.visited.home import let_roam
from operator_server.visited.partners import active_partner, block_partner, partners, put_partner
from operator_server.visited.peer import remote_peer

app = typer.Typer(no_args_is_help=True, help="Foreign mobiles here, our mobiles elsewhere, and their settlement.")


@app.command()
@says_errors(VisitedError)
def codes(
    file: Annotated[Path | None, typer.Argument(help="TOML file to put in force; none: show what is.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Put feature codes in force, or show them. Mobiles learn of a change by the sequence number, which rises.

    Example: tollgate visited codes features.toml
    """
    with opened(config) as operator:
        if file is not None:
            features = read_features(file)
            held = changed(
                operator, "feature_codes.load", "feature_table/all",
                lambda c: load_features(c, features, operator.clock.now()),
                {"file": str(file), "features": len(features.feature)},
            )  # fmt: skip
        else:
            with operator.engine.connect() as connection:
                held = held_features(connection)
    if as_json:
        show_json({"sequence": held.sequence, **msgspec.to_builtins(held.features)})
        return
    show_table(
        f"Feature codes, sequence {held.sequence}, {held.features.download}",
        ["Feature", "On", "Off", "Menu", "Surcharge"],
        [
            (
                each.feature if each.supported else f"{each.feature} (not supported)", each.activate, each.deactivate,
                each.menu, _surcharge(held.features.surcharge.get(each.feature), each.ef),
            )
            for each in held.features.feature
        ],
        empty="There are no feature codes. `tollgate visited codes FILE` puts some in force.",
    )  # fmt: skip


def _surcharge(surcharge: Any, ef: int) -> str:
    return f"{surcharge.amount} {surcharge.currency} (number {ef})" if surcharge else ""


@app.command()
@says_errors(VisitedError)
def introduction(
    file: Annotated[Path | None, typer.Option("--out", help="File for the partner; none: show it.")] = None,
    url: Annotated[str, typer.Option(help="Where partners reach us; default: as the settings say.")] = "",
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Make a new key and certificate; every partner needs the file anew.")
    ] = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Write what a partner must know of us: network, address of the role roaming, certificate. It holds no secret.

    Read the fingerprint to each other by telephone.

    Example: tollgate visited introduction --url https://roaming.op.example:7790 --out op.json
    """
    with opened(config) as operator:
        told = identity.introduction(operator, url, renew=new_key)
        if new_key:
            now = operator.clock.now()
            after = {"fingerprint": identity.fingerprint_of(told.certificate)}
            transact(
                operator.engine,
                lambda c: audited(c, cli_actor(), "roaming_identity.renew", "roaming_identity/own", None, after, now),
            )
    written = msgspec.json.format(msgspec.json.encode(told)).decode() + "\n"
    if file is None:
        out.print(written, end="", markup=False, soft_wrap=True)
        return
    file.write_text(written, encoding="ascii")
    out.print(f"{file} introduces {told.network} at {told.url}.", soft_wrap=True)
    out.print(f"Fingerprint {identity.shown(identity.fingerprint_of(told.certificate))}", soft_wrap=True)


@app.command()
@says_errors(VisitedError)
def partner(
    network: NetworkArgument,
    file: Annotated[
        Path | None, typer.Option("--introduction", help="The partner's file; again where it changed.")
    ] = None,
    block: Annotated[bool, typer.Option("--block", help="End roaming with it.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Agree on roaming with another operator, take what changed, or end it.

    Example: tollgate visited partner north.example --introduction north.json
    """
    if block == (file is not None):
        raise CommandError("either --introduction FILE, which the partner gives, or --block is needed")
    with opened(config) as operator:
        now = operator.clock.now()
        if file is None:
            transact(operator.engine, lambda c: block_partner(c, network, now, actor=cli_actor()))
            text = f"Roaming with {network} has ended; what was settled stays."
            told({"network": network, "status": "blocked"}, as_json, text)
            return
        theirs = identity.read_introduction(file)
        if theirs.network != network:
            raise CommandError(f"{file}: introduces {theirs.network}, not {network}")
        own = operator.settings.operator.server_id
        transact(operator.engine, lambda c: put_partner(c, theirs, own, now, actor=cli_actor()))
    fingerprint = identity.shown(identity.fingerprint_of(theirs.certificate))
    told(
        {"network": network, "status": "active", "url": theirs.url, "fingerprint": fingerprint}, as_json,
        f"Roaming with {network} at {theirs.url} is agreed.", f"Fingerprint {fingerprint}",
    )  # fmt: skip


@app.command()
@says_errors(VisitedError)
def check(network: NetworkArgument, as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Call a partner: does it answer with its certificate, and does it know ours? Exit 1 where not.

    Example: tollgate visited check north.example
    """
    with opened(config) as operator:
        with operator.engine.connect() as connection:
            row = active_partner(connection, network)
        told = remote_peer(operator, row).hello()
    if told.network != network:
        raise CommandError(f"{network}: {told.network} answers there")
    if as_json:
        show_json(msgspec.to_builtins(told))
        return
    out.print(f"{told.network} answers at {row.url} and knows us as {told.peer}.", soft_wrap=True)


@app.command("partners")
@says_errors()
def partners_(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List the operators with whom roaming is agreed.

    Example: tollgate visited partners
    """
    with reading(config) as connection:
        rows = partners(connection)
    shown = [
        {
            "network": row.network, "name": row.name, "status": row.status if row.certificate else "to be introduced",
            "url": row.url, "fingerprint": row.fingerprint,
        }
        for row in rows
    ]  # fmt: skip
    if as_json:
        show_json(shown)
        return
    show_table(
        "Partners",
        ["Network", "Name", "Status", "Address", "Fingerprint"],
        [(s["network"], s["name"], s["status"], s["url"], f"{s['fingerprint'][:16]}...") for s in shown],
        empty="There is no partner. `tollgate visited partner` agrees with one.",
    )  # fmt: skip


@app.command()
@says_errors(VisitedError)
def mobile(
    terminal: Annotated[str, typer.Argument(help="Terminal of ours that is to roam.")],
    file: Annotated[Path, typer.Option("--out", help="File for the simulated mobile.")],
    without_option: Annotated[
        bool, typer.Option("--without-option", help="It lacks the option of features that are unlocked.")
    ] = False,
    no_display: Annotated[bool, typer.Option("--no-display", help="It has no display.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Let a terminal roam, and write what its mobile holds: our codes, and digests of the keys of features.

    Example: tollgate visited mobile T-1001 --out my-terminal/mobile.json
    """
    with opened(config) as operator:
        now = operator.clock.now()
        digests = changed(
            operator, "terminal.roam", f"terminal/{terminal}", lambda c: let_roam(c, operator, terminal, now)
        )
        with operator.engine.connect() as connection:
            held = held_features(connection)
        if without_option:
            digests = {}
        memory = {
            "terminal": terminal,
            "home": operator.settings.operator.server_id,
            "home_key": operator.keys.public_key(),
            "original": [msgspec.structs.replace(each, ef=0) for each in held.features.feature if each.supported],
            "sequence": held.sequence,
            "key_digests": digests,
            "display": not no_display,
        }
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as written:
        written.write(msgspec.json.encode(memory))
    text = f"{terminal} may roam; its mobile is {file}. Put it beside the terminal's state as mobile.json."
    told({"terminal": terminal, "file": str(file)}, as_json, text)


@app.command("list")
@says_errors()
def list_(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows.")] = 50,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List the mobiles that are registered here: whose, what they support, what is on.

    Example: tollgate visited list
    """
    rows = table(VisitorRow)
    with reading(config) as connection:
        found = connection.execute(select(rows).order_by(rows.c.registered_at.desc()).limit(limit)).all()
    shown = [
        {
            "network": row.network, "terminal": row.terminal, "registered_at": row.registered_at,
            "supports": row.features, "active": row.active, "paid": sorted(row.paid),
            "waiting": row.waiting.get("feature", ""),
        }
        for row in found
    ]  # fmt: skip
    if as_json:
        show_json(shown)
        return
    show_table(
        "Visitors",
        ["Network", "Terminal", "Registered", "On", "Paid for", "Asked"],
        [
            (s["network"], s["terminal"], f"{s['registered_at']:%Y-%m-%d %H:%M}", ", ".join(s["active"]),
             ", ".join(s["paid"]), s["waiting"])
            for s in shown
        ],
        empty="No mobile is registered here.",
    )  # fmt: skip


@app.command()
@says_errors()
def roamers(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List our own terminals that may roam, and in which network each registered last.

    Example: tollgate visited roamers
    """
    rows = table(Roamer)
    with reading(config) as connection:
        found = connection.execute(
            select(rows.c.terminal_id, rows.c.network, rows.c.registered_at).order_by(rows.c.terminal_id)
        ).all()
    shown = [{"terminal": row.terminal_id, "network": row.network, "registered_at": row.registered_at} for row in found]
    if as_json:
        show_json(shown)
        return
    show_table(
        "Roamers",
        ["Terminal", "Network", "Registered"],
        [
            (s["terminal"], s["network"], f"{s['registered_at']:%Y-%m-%d %H:%M}" if s["registered_at"] else "")
            for s in shown
        ],
        empty="No terminal may roam. `tollgate visited mobile` lets one.",
    )


for _name, _command in (
    ("settle", settlement.settle),
    ("report", settlement.report),
    ("reconcile", settlement.reconcile),
    ("disputes", settlement.disputes),
):
    app.command(_name)(_command)
