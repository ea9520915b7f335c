"""The hand-off to finance as files, each as CSV or JSON. Amounts are decimal text in major units."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from sqlalchemy import Engine

from charging.periods import Period
from charging.receivables.chart import code_of
from operator_server.receivables.books import take_in_invoices
from operator_server.receivables.finance import BUCKETS, Handover, JournalRow, handover, journal
from operator_server.receivables.recognition import recognise
from operator_server.settings import Settings
from operator_server.store.store import transact
from signalling.money import format_micros

Form = Literal["csv", "json"]
Record = Mapping[str, Any]

COLUMNS = {
    "journal": (
        "day", "recorded_at", "effective_at", "transfer", "kind", "reference", "code", "account", "owner", "currency",
        "debit", "credit",
    ),
    "balances": ("code", "account", "currency", "opening", "debit", "credit", "closing"),
    "taxes": ("country", "category", "rate", "currency", "base", "tax"),
    "deferred": (
        "charge", "account", "agreement", "currency", "service_from", "service_to", "net", "deferred", "code",
        "against",
    ),
    "ageing": ("account", "currency", *BUCKETS, "total"),
}  # fmt: skip
"""The files and their columns."""


def export_finance(
    engine: Engine, settings: Settings, span: Period, folder: Path, form: Form, now: datetime
) -> tuple[Handover, list[Path]]:
    """Write the files of a period to ``folder``, each whole or not at all; the figures and the files."""
    transact(engine, lambda connection: take_in_invoices(connection, settings, now))
    if settings.finance.post_deferred:
        recognise(engine, settings, span, now)
    folder.mkdir(parents=True, exist_ok=True)
    write = _write_csv if form == "csv" else _write_json
    with engine.connect() as connection:
        made = handover(connection, settings, span, now)
        tables: dict[str, Iterable[Record]] = {
            "journal": (_journal_record(row, settings) for row in journal(connection, settings, span, now)),
            "balances": _balances(made),
            "taxes": _taxes(made),
            "deferred": _deferred(made, settings),
            "ageing": _ageing(made),
        }
        files = [
            _file(folder / f"{span.name}-{name}.{form}", write, COLUMNS[name], rows) for name, rows in tables.items()
        ]
    return made, files


def _file(
    path: Path, write: Callable[[TextIO, tuple[str, ...], Iterable[Record]], None], columns: Any, rows: Iterable[Record]
) -> Path:
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        write(file, columns, rows)
    temporary.replace(path)
    return path


def _write_csv(file: TextIO, columns: tuple[str, ...], rows: Iterable[Record]) -> None:
    writer = csv.DictWriter(file, columns, extrasaction="raise")
    writer.writeheader()
    writer.writerows(rows)


def _write_json(file: TextIO, columns: tuple[str, ...], rows: Iterable[Record]) -> None:
    file.write("[")
    for number, row in enumerate(rows):
        file.write(f"{',' if number else ''}\n{json.dumps(row, ensure_ascii=False)}")
    file.write("\n]\n")


def _journal_record(row: JournalRow, settings: Settings) -> Record:
    return {
        "day": row.belongs_at.astimezone(settings.operator.zone).date().isoformat(),
        "recorded_at": row.recorded_at.isoformat(),
        "effective_at": row.effective_at.isoformat(),
        "transfer": row.transfer,
        "kind": row.kind,
        "reference": row.reference,
        "code": row.code,
        "account": row.account,
        "owner": row.owner,
        "currency": row.currency,
        "debit": format_micros(max(row.amount, 0), row.currency),
        "credit": format_micros(max(-row.amount, 0), row.currency),
    }


def _balances(made: Handover) -> Iterator[Record]:
    for row in made.balances:
        amounts = {name: getattr(row, name) for name in ("opening", "debit", "credit", "closing")}
        yield {"code": row.code, "account": row.account, "currency": row.currency} | _texts(amounts, row.currency)


def _taxes(made: Handover) -> Iterator[Record]:
    for row in made.taxes:
        yield {
            "country": row.country, "category": row.category, "rate": f"{row.rate_bp // 100}.{row.rate_bp % 100:02d}",
            "currency": row.currency, **_texts({"base": row.base, "tax": row.tax}, row.currency),
        }  # fmt: skip


def _deferred(made: Handover, settings: Settings) -> Iterator[Record]:
    codes = settings.finance.accounts
    for row in made.deferred:
        yield {
            "charge": row.charge, "account": row.account, "agreement": row.agreement, "currency": row.currency,
            "service_from": row.service_from.isoformat(), "service_to": row.service_to.isoformat(),
            **_texts({"net": row.net, "deferred": row.deferred}, row.currency),
            "code": code_of("deferred", codes), "against": code_of("revenue", codes),
        }  # fmt: skip


def _ageing(made: Handover) -> Iterator[Record]:
    for account, currency, ageing in made.ageing:
        amounts = {name: getattr(ageing, name) for name in (*BUCKETS, "total")}
        yield {"account": account, "currency": currency} | _texts(amounts, currency)


def _texts(amounts: Mapping[str, int], currency: str) -> dict[str, str]:
    return {name: format_micros(micros, currency) for name, micros in amounts.items()}
