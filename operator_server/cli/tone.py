"""``tollgate tone``: tones that are sold to cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from operator_server.cards.registry import require_card
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    changed,
    opened,
    out,
    says_errors,
    show_json,
    show_table,
    told,
)
from operator_server.nodes.locations import all_locations, update_location
from operator_server.parties import PartyError
from operator_server.store.store import transact
from operator_server.tones import registry
from operator_server.tones.reports import reports_of
from operator_server.tones.shop import SAMPLE_NOTES, deliveries_of, send_again, set_wish, wish_of
from signalling.money import MoneyError, checked_currency, decimal_micros
from signalling.tones import ToneError
from signalling.tones.messages import pack, tone_messages
from signalling.tones.player import play
from signalling.tones.sound import render

app = typer.Typer(no_args_is_help=True, help="Tones that users of cards buy: import, hear, offer, deliver.")

ToneArgument = Annotated[str, typer.Argument(help="Id of the tone; it is the product that offers name.")]


@app.command("import")
@says_errors(ToneError)
def import_(
    files: Annotated[list[Path], typer.Argument(help="Text files with a tone in RTTTL a line; # begins a comment.")],
    kind: Annotated[list[str] | None, typer.Option("--kind", help="What they are found under; repeat.")] = None,
    tone: Annotated[str, typer.Option("--id", help="Id of the tone, where there is one alone.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Keep tones, or other tunes for known ids; all or none of them.

    Example: tollgate tone import classics.rtttl --kind classical
    """
    lines = [(path, number, line) for path in files for number, line in _lines(path)]
    if tone and len(lines) != 1:
        raise CommandError(f"--id {tone}: the files hold {len(lines)} tones; an id is for one")
    with opened(config) as operator:
        now = operator.clock.now()

        def keep(connection: Any) -> list[str]:
            kept = []
            for path, number, line in lines:
                try:
                    kept.append(registry.import_tone(connection, line, now, product=tone, kinds=kind or ()))
                except ToneError as error:
                    raise ToneError(f"{path}, line {number}: {error}") from None
            return kept

        kept = changed(operator, "tone.import", lambda kept: f"tone/{kept[0] if len(kept) == 1 else 'some'}", keep)
    texts = [f"{each} is kept. `tollgate tone sample {each}` plays its beginning." for each in kept]
    told({"tones": kept}, as_json, *texts)


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: not UTF-8 text: {error}") from None
    stripped = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    return [(number, line) for number, line in stripped if line and not line.startswith("#")]


@app.command("list")
@says_errors()
def list_(
    letter: Annotated[str, typer.Option(help="Those whose title begins so.")] = "",
    kind: Annotated[str, typer.Option(help="Those of a kind.")] = "",
    new: Annotated[bool, typer.Option("--new", help="The newest first.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List tones by title, by kind or by age.

    Example: tollgate tone list --kind classical
    """
    with opened(config) as operator, operator.engine.connect() as connection:
        rows = registry.all_tones(connection)
    if letter:
        rows = registry.narrowed(rows, "letter", letter.upper())
    if kind:
        rows = registry.narrowed(rows, "kind", kind.lower())
    if new:
        rows = registry.narrowed(rows, "new", "")
    if as_json:
        show_json(
            [
                {"id": row.id, "title": row.title, "kinds": row.kinds, "added_at": row.added_at, "rtttl": row.rtttl}
                for row in rows
            ]
        )
        return
    show_table(
        "Tones",
        ["Id", "Title", "Kinds", "Notes", "Added"],
        [
            (row.id, row.title, ", ".join(row.kinds), len(registry.tune_of(row).notes), f"{row.added_at:%Y-%m-%d}")
            for row in rows
        ],
        empty="There is no such tone. `tollgate tone import` keeps some.",
    )


@app.command()
@says_errors(registry.ToneUnknown)
def sample(
    tone: ToneArgument,
    to: Annotated[Path | None, typer.Option("--out", help="WAV file; default: ID.wav.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="The whole tone.")] = False,
    sine: Annotated[bool, typer.Option("--sine", help="Sine waves in place of square ones.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Write the file only.")] = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Write a tone's beginning as WAV and play it, where this machine can.

    Example: tollgate tone sample tone-bach --out bach.wav
    """
    with opened(config) as operator, operator.engine.connect() as connection:
        tune = registry.tune_of(registry.require_tone(connection, tone))
    path = to or Path(f"{tone}.wav")
    path.write_bytes(render(tune if whole else tune.sample(SAMPLE_NOTES), "sine" if sine else "square"))
    out.print(f"{path}: {tune.title}")
    if not quiet and (trouble := play(path)):
        out.print(trouble)


@app.command()
@says_errors(registry.ToneUnknown)
def export(
    tone: ToneArgument,
    form: Annotated[str, typer.Option(help="rtttl, smart (binary, as hex), or sms (messages to port 5505).")] = "rtttl",
    config: ConfigOption = CONFIG,
) -> None:
    """Print a tone in one of its forms.

    Example: tollgate tone export tone-bach --form sms
    """
    with opened(config) as operator, operator.engine.connect() as connection:
        row = registry.require_tone(connection, tone)
    tune = registry.tune_of(row)
    if form == "rtttl":
        out.print(row.rtttl)
    elif form == "smart":
        out.print(pack(tune).hex().upper())
    elif form == "sms":
        for part in tone_messages(tune, 1):
            out.print(part.encode().hex().upper())
    else:
        raise CommandError(f"--form {form}: say rtttl, smart or sms")


@app.command()
@says_errors(registry.ToneUnknown, MoneyError, ValueError)
def offers(
    tones: Annotated[list[str] | None, typer.Argument(help="Ids of tones; default: all.")] = None,
    amount: Annotated[str, typer.Option(help="Price without tax; 0 for free.")] = "0.99",
    currency: Annotated[str, typer.Option(help="Currency.")] = "EUR",
    tax_category: Annotated[str, typer.Option(help="Tax category.")] = "S",
    to: Annotated[Path | None, typer.Option("--out", help="TOML file to write; default: the screen.")] = None,
    config: ConfigOption = CONFIG,
) -> None:
    """Write offers for tones, to be put into the folder of offers and edited there.

    Example: tollgate tone offers --amount 0.99 --out configs/offers/my-tones.toml
    """
    price = decimal_micros(amount)
    checked_currency(currency)
    with opened(config) as operator, operator.engine.connect() as connection:
        rows = [registry.require_tone(connection, each) for each in tones or ()] or registry.all_tones(connection)
        language = operator.settings.operator.language
    text = "\n".join(_offer(row, language, amount if price else "", currency, tax_category) for row in rows)
    if to is None:
        out.print(text)
        return
    if to.exists():
        raise CommandError(f"{to}: exists; offers are not written over others, remove it first")
    to.write_text(text, encoding="utf-8")
    out.print(f"{to}: {len(rows)} offers. `tollgate check` reads them.")


def _offer(row: Any, language: str, amount: str, currency: str, tax: str) -> str:
    quoted = json.dumps
    return "\n".join(
        [
            "[[offer]]",
            f"id = {quoted(row.id)}",
            f"product = {quoted(row.id)}",
            'kind = "tone"',
            "target = { minima = { card_slots = 1 } }",
            f"text.{language} = {{ title = {quoted(row.title, ensure_ascii=False)} }}",
            "",
            "[[offer.mode]]",
            f'id = "{"once" if amount else "free"}"',
            f'kind = "{"one_off" if amount else "free"}"',
            f"label = {{ {language} = {quoted('Once' if amount else 'Free')} }}",
            *([f"amount = {quoted(amount)}"] if amount else []),
            f"currency = {quoted(currency)}",
            f"tax_category = {quoted(tax)}",
            "",
        ]
    )


@app.command()
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
    with opened(config) as operator, operator.engine.connect() as connection:
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


@app.command("send-again")
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


@app.command()
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


@app.command()
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
    with opened(config) as operator, operator.engine.connect() as connection:
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


@app.command()
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
