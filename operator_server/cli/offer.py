"""``tollgate offer`` and ``tollgate rejection``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from sqlalchemy import Connection, select

from offers.memory import OfferMemory
from offers.rejections import hidden_products
from offers.selection import explain
from operator_server.audit import cli_actor
from operator_server.cli import offer_changes
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    opened,
    out,
    says_errors,
    show_json,
    show_table,
)
from operator_server.delivery.publishing import valid_releases
from operator_server.devices.visitors import takes_packages
from operator_server.negotiation.book import last_code, rejections_of
from operator_server.offering.live import read_configuration
from operator_server.offering.loading import BrokenCatalogue, load
from operator_server.offering.rejections import RejectionError, undo_rejection
from operator_server.parties import exists
from operator_server.store.dealings import Rejection
from operator_server.store.parties import Binding, Subscriber, Terminal
from operator_server.store.rows import table
from operator_server.store.store import transact

app = typer.Typer(no_args_is_help=True, help="The offer catalogue, and who is offered what.")
offer_changes.add_to(app)
rejections = typer.Typer(no_args_is_help=True, help="Rejected offers.")


@app.command("list")
@says_errors(BrokenCatalogue)
def list_(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List the offers of the catalogue in the order of menus."""
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
@says_errors(BrokenCatalogue)
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
            if not exists(connection, Terminal, terminal):
                raise CommandError(f"terminal {terminal}: is not enrolled; see `tollgate terminal list`")
            code = last_code(connection, terminal)
            if code is None:
                raise CommandError(f"terminal {terminal}: has not answered an interrogation yet")
            subscriber, groups = _user(connection, terminal)
            memory = OfferMemory(loaded.catalogue, valid_releases(connection, now))
            hidden = hidden_products(rejections_of(connection, subscriber), memory.current, now)
            explained = explain(
                memory, read_configuration(connection, code), hidden_products=hidden, groups=groups, now=now,
                takes_packages=takes_packages(connection, terminal),
            )  # fmt: skip
    if as_json:
        show_json([{"offer": e.offer.id, "shown": e.shown, "reasons": list(e.reasons)} for e in explained])
        return
    show_table(
        f"Offers to {subscriber} on {terminal} (code {code.hex()[:16]})",
        ["Offer", "Shown", "Because"],
        [
            (e.offer.id, "yes" if e.shown else "no", "; ".join(e.reasons) or "nothing stands against it")
            for e in explained
        ],
        empty="The catalogue is empty.",
    )


def _user(connection: Connection, terminal: str) -> tuple[str, list[str]]:
    binding, subscriber = table(Binding), table(Subscriber)
    row = connection.execute(
        select(subscriber.c.id, subscriber.c.groups)
        .join(binding, binding.c.subscriber_id == subscriber.c.id)
        .where(binding.c.terminal_id == terminal, binding.c.valid_to.is_(None))
    ).first()
    if row is None:
        raise CommandError(f"terminal {terminal}: is bound to no subscriber")
    return row.id, row.groups


@rejections.command("list")
@says_errors()
def list_rejections(
    subscriber: Annotated[str, typer.Option(help="Only of this subscriber.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List what users rejected, newest first."""
    with opened(config) as operator, operator.engine.connect() as connection:
        rejection = table(Rejection)
        query = select(rejection).order_by(rejection.c.id.desc()).limit(limit)
        if subscriber:
            query = query.where(rejection.c.subscriber_id == subscriber)
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
    config: ConfigOption = CONFIG,
) -> None:
    """Let an offer be shown again to the user who rejected it.

    Example: tollgate rejection undo 0199... --reason "asked by telephone"
    """
    with opened(config) as operator:
        now = operator.clock.now()
        actor = cli_actor() if by == "operator" else f"{cli_actor()} ({by})"
        row = transact(operator.engine, lambda c: undo_rejection(c, rejection_id, reason, now, actor=actor))
        out.print(f"{row.offer_id} is shown to {row.subscriber_id} again.")
