"""``tollgate tone deliveries|send-again|locate|reports|form``: tones on their way, and how they come to a card."""

from __future__ import annotations

from typing import Annotated

import typer

from operator_server.cards.registry import require_card
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
from operator_server.nodes.locations import all_locations, update_location
from operator_server.parties import PartyError
from operator_server.store.store import transact
from operator_server.tones.reports import reports_of
from operator_server.tones.shop import deliveries_of, send_again, set_wish, wish_of


@says_errors()
def deliveries(
    terminal: Annotated[str, typer.Option(help="Of this card alone.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most rows.")] = 50,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Show what became of tones that were sent: the message, and whether the card kept it.

    Example: tollgate tone deliveries --terminal SIM-1
    """
    with reading(config) as connection:
        rows = [
            {
                "agreement": row.agreement_id,
                "terminal": row.terminal_id,
                "tone": row.tone_id,
                "form": row.form,
                "message": row.packet,
                "state": row.state,
                "reason": row.reason or row.packet_reason,
                "sent_at": row.sent_at,
            }
            for row in deliveries_of(connection, terminal, limit)
        ]
    if as_json:
        show_json(rows)
        return
    show_table(
        "Tones on their way",
        ["Card", "Tone", "Form", "Message", "State", "Reason", "Sent"],
        [
            (
                r["terminal"],
                r["tone"],
                r["form"],
                r["message"],
                r["state"],
                r["reason"],
                f"{r['sent_at']:%Y-%m-%d %H:%M:%S}",
            )
            for r in rows
        ],
        empty="No tone was sent.",
    )


@says_errors(PartyError)
def again(
    terminal: Annotated[str, typer.Argument(help="Terminal id of the card.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Send a card once more what it was sent and has not answered; nothing is charged twice.

    Example: tollgate tone send-again SIM-1
    """
    with opened(config) as operator:
        now = operator.clock.now()
        transact(operator.engine, lambda c: require_card(c, terminal))
        count = changed(
            operator, "tone.send_again", f"card/{terminal}",
            lambda c: send_again(c, operator.vault, operator.settings.nodes, terminal, now, all_=True), {"again": True},
        )  # fmt: skip
    told({"terminal": terminal, "tones": count}, as_json, f"{count} tone(s) on their way to {terminal} again.")


@says_errors()
def locate(
    number: Annotated[str, typer.Argument(help="Telephone number; empty: show all.")] = "",
    node: Annotated[str, typer.Option("--node", help="The node that serves it now.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Show where phones are, or register one at the node that serves it now.

    Example: tollgate tone locate +491701234567 --node north
    """
    with opened(config) as operator:
        if number and node:
            now = operator.clock.now()
            before = changed(
                operator, "phone.locate", f"phone/{number}", lambda c: update_location(c, number, node, now), {}
            )
            text = f"{number} is served by {node}{f', no longer by {before}' if before else ''}."
            told({"number": number, "node": node, "before": before}, as_json, text)
            return
        with operator.engine.connect() as connection:
            found = [row for row in all_locations(connection) if number in ("", row.msisdn)]
    if as_json:
        show_json([{"number": r.msisdn, "node": r.node, "busy": r.busy, "updated_at": r.updated_at} for r in found])
        return
    show_table(
        "Where phones are",
        ["Number", "Node", "Busy", "Since"],
        [(r.msisdn, r.node, "yes" if r.busy else "", f"{r.updated_at:%Y-%m-%d %H:%M:%S}") for r in found],
        empty="No phone is registered. `tollgate tone locate NUMBER --node NODE` registers one.",
    )


@says_errors()
def reports(
    terminal: Annotated[str, typer.Option(help="Of messages to this card alone.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most rows.")] = 50,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Show what serving nodes and short message centres report of each message to a card, the newest first.

    Example: tollgate tone reports --terminal SIM-1
    """
    with reading(config) as connection:
        rows = [
            {
                "at": row.at,
                "terminal": row.terminal_id,
                "what": row.kind,
                "node": row.node,
                "way": row.way,
                "outcome": row.outcome,
                "steps": row.steps.split(",") if row.steps else [],
                "channel": row.channel,
                "reason": row.reason,
            }
            for row in reports_of(connection, terminal, limit)
        ]
    if as_json:
        show_json(rows)
        return
    show_table(
        "Delivery reports",
        ["At", "Card", "What", "Node", "Report", "How"],
        [
            (
                f"{r['at']:%m-%d %H:%M:%S}", r["terminal"], r["what"], r["node"],
                ": ".join(each for each in (r["outcome"], r["reason"]) if each),
                " ".join([r["way"], *([f"over {r['channel']}"] if r["channel"] else []), *r["steps"]]),
            )
            for r in rows
        ],
        empty="Nothing was reported yet.",
    )  # fmt: skip


@says_errors(PartyError)
def form(
    terminal: Annotated[str, typer.Argument(help="Terminal id of the card.")],
    wanted: Annotated[
        str, typer.Option("--form", help="smart (binary), rtttl (text), audio (played in a call), usual.")
    ] = "",
    way: Annotated[
        str, typer.Option("--way", help="Through serving nodes: sms, ussd, or usual, as the card speaks itself.")
    ] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Say in which form and by which way tones come to a card from now on, or show it; its user can say it as well.

    Example: tollgate tone form SIM-1 --form rtttl --way ussd
    """
    for given, known in ((wanted, ("smart", "rtttl", "audio", "usual")), (way, ("sms", "ussd", "usual"))):
        if given and given not in known:
            raise CommandError(f"{given!r}: say {', '.join(known[:-1])} or {known[-1]}")
    with opened(config) as operator:
        nodes = operator.settings.nodes
        if (wanted == "audio" or way in ("sms", "ussd")) and not nodes.port:
            raise CommandError("no node can attach: set nodes.port, and run `tollgate serve`; see docs/tones.md")
        transact(operator.engine, lambda c: require_card(c, terminal))
        if wanted or way:
            chosen = {"form": _chosen(wanted), "way": _chosen(way)}
            changed(operator, "card.tones", f"card/{terminal}", lambda c: set_wish(c, terminal, **chosen))
        with operator.engine.connect() as connection:
            wish = wish_of(connection, terminal)
    shown = {"terminal": terminal, "form": wish.form or f"usual ({nodes.tone_form})", "way": wish.way or "usual"}
    told(shown, as_json, f"Tones come to {terminal} as {shown['form']}, by way: {shown['way']}.")


def _chosen(given: str) -> str | None:
    return None if not given else "" if given == "usual" else given
