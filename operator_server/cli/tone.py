"""``tollgate tone``: tones that are sold to cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from operator_server.cli import tone_delivery
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
from operator_server.tones import registry
from operator_server.tones.shop import SAMPLE_NOTES
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
    with reading(config) as connection:
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
    with reading(config) as connection:
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
    with reading(config) as connection:
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


for _name, _command in (
    ("deliveries", tone_delivery.deliveries),
    ("send-again", tone_delivery.again),
    ("locate", tone_delivery.locate),
    ("reports", tone_delivery.reports),
    ("form", tone_delivery.form),
):
    app.command(_name)(_command)
