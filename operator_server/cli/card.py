"""``tollgate card``: SIM cards with the applet."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection, select

from operator_server.cards.channel import packets_of
from operator_server.cards.registry import NewCard, add_card, keys_of, new_master_key, require_card
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    changed,
    opened,
    reading,
    says_errors,
    show_json,
    show_table,
    told,
)
from operator_server.cli.serve import interrogate
from operator_server.cli.shown import show_facts, user_and_code, when
from operator_server.delivery.vault import KeyVault
from operator_server.parties import PartyError
from operator_server.store.cards import Card, CardMaster
from operator_server.store.rows import table
from signalling.card.keys import Personalisation
from signalling.card.tlv import CardError

app = typer.Typer(no_args_is_help=True, help="SIM cards with the applet, as terminals.")


@app.command()
@says_errors(PartyError, CardError)
def add(
    terminal: Annotated[str, typer.Argument(help="Id of the terminal that the card is to be.")],
    iccid: Annotated[str, typer.Option("--iccid", help="The card's number, 18 to 20 digits with its check digit.")],
    msisdn: Annotated[str, typer.Option("--msisdn", help="Its telephone number, such as +491701234567.")],
    subscriber: Annotated[str, typer.Option("--subscriber", help="Who uses it.")],
    imsi: Annotated[str, typer.Option(help="International mobile subscriber identity.")] = "",
    language: Annotated[str, typer.Option(help="Language of the user, two letters; empty: the operator's.")] = "",
    label: Annotated[str, typer.Option(help="A name for people.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Make a card known; its keys are derived from the newest master key and kept sealed.

    Example: tollgate card add SIM-1 --iccid 8949000000000000018 --msisdn +491701234567 --subscriber A-1001
    """
    with opened(config) as operator:
        new = NewCard(terminal, iccid, msisdn, subscriber, imsi, language or operator.settings.operator.language, label)
        now = operator.clock.now()
        changed(operator, "card.add", f"card/{terminal}", lambda c: add_card(c, operator.vault, new, now), {})
    text = f"{terminal} is the card {iccid}. `tollgate card keys {terminal} --out FILE` writes a simulated one."
    told({"terminal": terminal, "iccid": iccid, "subscriber": subscriber}, as_json, text)


@app.command("list")
@says_errors()
def list_(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows.")] = 50,
    after: Annotated[str, typer.Option(help="Start after this terminal id.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List cards with number, route and when each was heard last.

    Example: tollgate card list --limit 100
    """
    card = table(Card)
    query = select(card).where(card.c.terminal_id > after).order_by(card.c.terminal_id).limit(limit)
    with reading(config) as connection:
        rows = [_plain(row) for row in connection.execute(query)]
    if as_json:
        show_json(rows)
        return
    show_table(
        "Cards",
        ["Terminal", "ICCID", "Number", "Route", "Heard"],
        [(r["terminal"], r["iccid"], r["msisdn"], r["route"], when(r["heard_at"])) for r in rows],
        empty="There is no card. `tollgate card add` makes one known.",
    )


def _plain(row: Any) -> dict[str, Any]:
    return {
        "terminal": row.terminal_id,
        "iccid": row.iccid,
        "imsi": row.imsi,
        "msisdn": row.msisdn,
        "language": row.language,
        "key_set": row.key_number,
        "sent": row.sent,
        "heard": row.heard,
        "heard_at": row.heard_at,
        "route": row.route,
        "carrier": row.carrier,
        "offers_shown": [offer for offer, _ in row.menu],
    }


@app.command()
@says_errors(PartyError)
def show(
    terminal: Annotated[str, typer.Argument(help="Terminal id.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Show a card: counters, the menu as shown last, its configuration code, and the newest packets to it.

    Example: tollgate card show SIM-1
    """
    with reading(config) as connection:
        shown = _plain(require_card(connection, terminal)) | user_and_code(connection, terminal)
        shown["packets"] = [
            {
                "counter": row.counter,
                "kind": row.kind,
                "state": row.state,
                "route": row.route,
                "queued_at": row.created_at,
                "reason": row.reason,
            }
            for row in packets_of(connection, terminal)
        ]
    if as_json:
        show_json(shown)
        return
    show_facts(shown, ["packets"])
    show_table(
        "Packets",
        ["Counter", "What", "State", "Route", "Queued", "Reason"],
        [
            (p["counter"], p["kind"], p["state"], p["route"], when(p["queued_at"]), p["reason"])
            for p in shown["packets"]
        ],
        empty="No packet was sent to it.",
    )


app.command(
    "ask",
    help="""Interrogate cards now, by the server that runs, and show what came of it.

    Example: tollgate card ask SIM-1
    """,
)(interrogate)


@app.command()
@says_errors(PartyError)
def keys(
    terminal: Annotated[str, typer.Argument(help="Terminal id of the card.")],
    to: Annotated[
        Path | None, typer.Option("--out", help="File to write the simulated card to, with its keys.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Show which key set a card has, or write a simulated card with its keys into a file that nobody else may read.

    A file that is written for a card in use takes its place: the counters go on from where they are.

    Example: tollgate card keys SIM-1 --out my-phone/card.json
    """
    with opened(config) as operator:
        with operator.engine.connect() as connection:
            row = require_card(connection, terminal)
        if to is None:
            text = f"{terminal} has key set {row.key_number}, kept sealed. --out FILE writes a card with it."
            told({"terminal": terminal, "key_set": row.key_number}, as_json, text)
            return
        secret = keys_of(operator.vault, row).encode()
        number = operator.settings.sms.number
        made = Personalisation(
            row.iccid, row.imsi, secret, number, sent=row.heard, heard=row.sent, language=row.language
        )
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise CommandError(f"{to}: exists; a card is not written over another, remove it first") from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(made.encode())
        changed(operator, "card.keys_written", f"card/{terminal}", lambda c: None, {"file": str(to)})
    text = f"{to}: card {row.iccid}. `tollgate-terminal run --applet --state {to.parent}` puts it into a phone."
    told({"terminal": terminal, "iccid": row.iccid, "file": str(to)}, as_json, text)


@app.command("new-master")
@says_errors(PartyError)
def new_master(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Make a further master key, from which the keys of cards are derived that are added from now on.

    Cards in the field keep theirs; there are fifteen at most, since a card names its key set in four bits.

    Example: tollgate card new-master
    """
    with opened(config) as operator:
        now = operator.clock.now()
        number = changed(operator, "card.new_master", "card_master/all", lambda c: _made(c, operator.vault, now), {})
    told({"master_key": number}, as_json, f"Master key {number} is kept sealed.")


def _made(connection: Connection, vault: KeyVault, now: datetime) -> int:
    new_master_key(connection, vault, now)
    return int(max(connection.execute(select(table(CardMaster).c.number)).scalars()))
