"""``tollgate offer`` and ``tollgate rejection``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from sqlalchemy import select

from offers.why import Why
from operator_server.audit import cli_actor
from operator_server.cli import offer_changes
from operator_server.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    opened,
    reading,
    says_errors,
    show_json,
    show_table,
    told,
)
from operator_server.negotiation.why import NothingOffered, explain_terminal
from operator_server.offering.live import LiveOffers, read_supply
from operator_server.offering.loading import BrokenCatalogue, load
from operator_server.offering.rejections import RejectionError, undo_rejection
from operator_server.store.dealings import Rejection
from operator_server.store.rows import matching, table
from operator_server.store.store import transact

app = typer.Typer(no_args_is_help=True, help="The offer catalogue, and who is offered what.")
offer_changes.add_to(app)
rejections = typer.Typer(no_args_is_help=True, help="Rejected offers.")


@app.command("list")
@says_errors(BrokenCatalogue)
def list_(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List the offers of the catalogue in the order of menus.

    Example: tollgate offer list
    """
    with opened(config) as operator:
        loaded = load(operator.settings)
        language = operator.settings.operator.language
        rows = [
            {
                "offer": offer.id,
                "version": offer.version,
                "product": offer.product,
                "kind": offer.kind,
                "title": offer.title(language),
                "modes": [mode.id for mode in offer.modes],
            }
            for offer in loaded.catalogue
        ]
    if as_json:
        show_json(rows)
        return
    show_table(
        "Offers",
        ["Offer", "Kind", "Product", "Title", "Charging modes"],
        [(r["offer"], r["kind"], r["product"], r["title"], ", ".join(r["modes"])) for r in rows],
        empty="The catalogue is empty. Offers are TOML files in the folder offers/ of the configuration.",
    )


@app.command()
@says_errors(BrokenCatalogue, NothingOffered)
def why(
    terminal: Annotated[str, typer.Argument(help="Terminal id.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Say for each offer why this terminal's user is shown it or not.

    Example: tollgate offer why T-1001
    """
    with opened(config) as operator:
        loaded, now = load(operator.settings), operator.clock.now()
        with operator.engine.connect() as connection:
            offers = LiveOffers(loaded, read_supply(connection, now), operator.clock)
            found = explain_terminal(connection, offers, terminal, now)
    if as_json:
        show_json([_told(each) for each in found.offers])
        return
    show_table(
        f"Offers to {found.subscriber} on {terminal} (code {found.code.hex()[:16]})",
        ["Offer", "Shown", "Because"],
        [
            (
                each.offer.id,
                "yes" if each.shown else "no",
                "; ".join(f"{objection.filter}: {objection.text}" for objection in each.objections)
                or "nothing stands against it",
            )
            for each in found.offers
        ],
        empty="The catalogue is empty.",
    )


def _told(each: Why) -> dict[str, Any]:
    return {
        "offer": each.offer.id, "product": each.offer.product, "release": each.release, "shown": each.shown,
        "reasons": [objection.text for objection in each.objections],
        "objections": [{"filter": objection.filter, "text": objection.text} for objection in each.objections],
    }  # fmt: skip


@rejections.command("list")
@says_errors()
def list_rejections(
    subscriber: Annotated[str, typer.Option(help="Only of this subscriber.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows.")] = 100,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List what users rejected, newest first.

    Example: tollgate rejection list --subscriber A-1001
    """
    with reading(config) as connection:
        rejection = table(Rejection)
        query = matching(
            select(rejection).order_by(rejection.c.id.desc()).limit(limit), (rejection.c.subscriber_id, subscriber)
        )
        rows: list[dict[str, Any]] = [dict(row._mapping) for row in connection.execute(query)]
    if as_json:
        show_json(rows)
        return
    show_table(
        "Rejections",
        ["Id", "Subscriber", "Offer", "Release", "Rejected", "Until", "Undone"],
        [
            (
                r["id"], r["subscriber_id"], r["offer_id"], r["release"], f"{r['rejected_at']:%Y-%m-%d %H:%M}",
                f"{r['until_at']:%Y-%m-%d}" if r["until_at"] else "for ever",
                f"{r['undone_at']:%Y-%m-%d}: {r['undo_reason']}" if r["undone_at"] else "",
            )
            for r in rows
        ],
        empty="Nobody has rejected an offer.",
    )  # fmt: skip


@rejections.command()
@says_errors(RejectionError)
def undo(
    rejection_id: Annotated[str, typer.Argument(help="Id from `tollgate rejection list`.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept.")],
    by: Annotated[str, typer.Option(help="Who does it.")] = "operator",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Let an offer be shown again to the user who rejected it.

    Example: tollgate rejection undo 0199... --reason "asked by telephone"
    """
    with opened(config) as operator:
        now = operator.clock.now()
        actor = cli_actor() if by == "operator" else f"{cli_actor()} ({by})"
        row = transact(operator.engine, lambda c: undo_rejection(c, rejection_id, reason, now, actor=actor))
    made = {"rejection": rejection_id, "offer": row.offer_id, "subscriber": row.subscriber_id, "undone": True}
    told(made, as_json, f"{row.offer_id} is shown to {row.subscriber_id} again.")
