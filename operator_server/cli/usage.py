"""``tollgate usage``: usage records that other systems counted, taken in bulk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TaskID
from sqlalchemy import select

from charging.bulk import BulkError, rate_file
from charging.tariffs import TariffError
from operator_server.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    changed,
    fail,
    opened,
    out,
    progress_bar,
    says_errors,
    show_json,
    show_table,
)
from operator_server.offering.loading import BrokenCatalogue, keep_versions, load
from operator_server.settings import load_settings
from operator_server.store.accounting import Charge
from operator_server.store.rows import matching, table
from operator_server.store.store import transact
from operator_server.store.usage import UsageRecord
from operator_server.usage.intake import BATCH, Importer, Report
from operator_server.usage.reading import UnreadableFile
from signalling.money import format_micros

app = typer.Typer(no_args_is_help=True, help="Usage that other systems counted: imported, rated and charged.")


@app.command("import")
@says_errors(BrokenCatalogue, UnreadableFile)
def import_(
    files: Annotated[
        list[Path], typer.Argument(help="CSV, JSON lines, CloudEvents or Parquet; .gz, .bz2, .xz, .zst too.")
    ],
    source: Annotated[str, typer.Option(help="Who counted, for records that do not say.")] = "",
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="Records in a transaction.")] = BATCH,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Take usage records, rate and charge them; each once, however often it comes.

    What is refused stands in FILE.rejects.csv (or .jsonl) with line and reason; mend it and import that file. An import
    that was killed is started again and goes on. Exit code 1 when something was refused.

    Example: tollgate usage import calls-2026-10-05.csv.gz --source switch-1
    """
    reports: list[Report] = []
    with opened(config) as operator, progress_bar() as progress:
        loaded, now = load(operator.settings), operator.clock.now()
        transact(operator.engine, lambda connection: keep_versions(connection, loaded, now))
        importer = Importer(
            loaded.tariffs, operator.settings, operator.keys.signing, operator.clock, default_source=source
        )
        for file in files:
            task = progress.add_task(file.name, total=1.0)

            def read(done: float, task: TaskID = task) -> None:
                progress.update(task, completed=done)

            changed(
                operator, "usage.import", f"usage/{file.name}", lambda c: None, {"source": source, "batch": batch}
            )  # fmt: skip
            reports.append(importer.import_file(operator.engine, file, batch=batch, progress=read))
        importer.close()
    if as_json:
        show_json(
            [
                {"file": r.file, "taken": r.taken, "known": r.known, "late": r.late, "refused": r.refused,
                 "rejects": r.rejects}
                for r in reports
            ]
        )  # fmt: skip
    else:
        for report in reports:
            late = f" ({report.late} of them late: they are billed in the open period)" if report.late else ""
            out.print(
                f"{report.file}: {report.taken} taken{late}, {report.known} known already, {report.refused} refused"
                + (f"; see {report.rejects}" if report.rejects else "")
            )
    refused = sum(report.refused for report in reports)
    if refused:
        raise fail(f"{refused} record(s) refused")


@app.command()
@says_errors(BrokenCatalogue, BulkError, TariffError)
def rate(
    file: Annotated[Path, typer.Argument(help="Parquet: account, quantity, at, destination; one month, in order.")],
    tariff: Annotated[str, typer.Option(help="Tariff id; the version that holds now rates all.")],
    costs: Annotated[Path | None, typer.Option(help="Parquet file to write with the cost of each use.")] = None,
    totals: Annotated[Path | None, typer.Option(help="Parquet file to write with the sums by account.")] = None,
    memory: Annotated[str, typer.Option(help="Most memory for the rating process's tables.")] = "1GB",
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Rate a large file by columns, in a process of its own. Nothing is charged or stored.

    Costs are in micros. Exit code 1 when the tariff has no price for some of the uses.

    Example: tollgate usage rate october.parquet --tariff voice --totals sums.parquet
    """
    settings = load_settings(config)
    version = load(settings).tariffs.at(tariff, settings.make_clock().now())
    done = rate_file(version, file, costs=costs, totals=totals, memory=memory)
    cost = format_micros(done.cost, version.currency)
    if as_json:
        show_json(
            {"uses": done.uses, "cost": cost, "currency": version.currency, "unrated": done.unrated,
             "tariff_version": version.version_id}
        )  # fmt: skip
    else:
        out.print(f"{file}: {done.uses} uses cost {cost} {version.currency} net by {version.version_id}")
    if done.unrated:
        raise fail(f"{done.unrated} use(s) without a price")


@app.command("list")
@says_errors()
def list_(
    account: Annotated[str, typer.Option("--account", help="Only of this account.")] = "",
    period: Annotated[str, typer.Option("--period", help="Only of this month of use, such as 2026-10.")] = "",
    source: Annotated[str, typer.Option("--source", help="Only of this source.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Most rows, the latest use first.")] = 50,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List usage records with what each cost; `tollgate tariff explain` says why.

    Example: tollgate usage list --account A-1001 --period 2026-10
    """
    record, charge = table(UsageRecord), table(Charge)
    statement = (
        select(
            record.c.source, record.c.id, charge.c.account_id, record.c.subscriber_id, record.c.tariff_id,
            record.c.quantity, record.c.destination, record.c.at, charge.c.period, charge.c.net, charge.c.currency,
            charge.c.id.label("charge"), charge.c.invoice_id,
        )
        .join(charge, charge.c.id == record.c.charge_id)
        .order_by(record.c.at.desc(), record.c.source, record.c.id)
        .limit(limit)
    )  # fmt: skip
    statement = matching(
        statement, (charge.c.account_id, account), (charge.c.period, period), (record.c.source, source)
    )
    with opened(config) as operator, operator.engine.connect() as connection:
        rows = connection.execute(statement).all()
    if as_json:
        show_json(
            [
                {"source": r.source, "id": r.id, "account": r.account_id, "subscriber": r.subscriber_id,
                 "tariff": r.tariff_id, "quantity": r.quantity, "destination": r.destination, "at": r.at,
                 "period": r.period, "net": format_micros(r.net, r.currency), "currency": r.currency,
                 "charge": r.charge, "billed": r.invoice_id is not None}
                for r in rows
            ]
        )  # fmt: skip
        return
    show_table(
        "Usage records",
        ["Source", "Id", "Subscriber", "Tariff", "Quantity", "Used (UTC)", "Net", "Billed"],
        [
            (
                r.source, r.id, r.subscriber_id, r.tariff_id, r.quantity, f"{r.at:%Y-%m-%d %H:%M:%S}",
                f"{format_micros(r.net, r.currency)} {r.currency}", "yes" if r.invoice_id else "no",
            )
            for r in rows
        ],
        empty="No usage record matches. `tollgate usage import` takes some.",
    )  # fmt: skip
