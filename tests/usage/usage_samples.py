"""An operator with accounts, tariffs and an importer, in a database in memory or in a file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from counting_samples import SETTINGS, SIGNING, add_customer, memory_engine
from sqlalchemy import Engine, select

from charging.tariffs import Tariff, TariffBook, TariffVersion
from charging.tariffs.build import build_version
from charging.tariffs.document import VersionTable
from operator_server.store.accounting import Charge
from operator_server.store.dealings import TariffVersionRow
from operator_server.store.engine import writing
from operator_server.store.rows import add, table
from operator_server.store.usage import UsageRecord
from operator_server.usage.intake import Importer, Outcome
from operator_server.usage.reading import Line
from signalling.clock import SettableClock

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
COLUMNS = "source,id,subscriber,tariff,quantity,at,destination"


def version(tariff: str, **keys: Any) -> TariffVersion:
    raw = {
        "effective_from": "2026-01-01", "currency": "EUR", "tax_category": "S", "unit": "second",
        "zone": "Europe/Berlin", "rounding": {"mode": "half_up", "place": "record", "to": 100},
        "price": {
            "model": "per_unit", "amount": "0.006", "unit_size": 60, "increments": {"first": 30, "next": 6},
        },
    } | keys  # fmt: skip
    built = build_version(tariff, raw, VersionTable.model_validate(raw))
    assert isinstance(built, TariffVersion), built
    return built


DATA = {
    "unit": "MiB",
    "included": 100,
    "rounding": {"mode": "half_up", "place": "line", "to": "minor"},
    "price": {
        "model": "graduated",
        "unit_size": 3,
        "tiers": [{"from": 0, "to": 1000, "amount": "0.01"}, {"from": 1000, "amount": "0.004"}],
    },
}
CALLS = Tariff("calls", {"en": "Calls", "de": "Anrufe"}, (version("calls"),))
GIGABYTES = Tariff("data", {"en": "Data"}, (version("data", **DATA),))


class Shop:
    """The operator's side: two accounts in euro, one in yen."""

    def __init__(self, engine: Engine | None = None, *tariffs: Tariff) -> None:
        self.engine = engine or memory_engine()
        self.book = TariffBook(tariffs or (CALLS, GIGABYTES))
        self.clock = SettableClock(NOW)
        self.importer = Importer(self.book, SETTINGS, SIGNING, self.clock)
        with writing(self.engine).begin() as connection:
            for account, currency in (("acc-1", "EUR"), ("acc-2", "EUR"), ("acc-3", "JPY")):
                add_customer(connection, account, currency=currency)
            for tariff in self.book:
                for each in tariff.versions:
                    add(
                        connection,
                        TariffVersionRow(
                            id=each.version_id, tariff_id=each.tariff_id, content=each.content,
                            effective_from=each.effective_from, first_loaded_at=NOW,
                        ),
                    )  # fmt: skip

    def take(self, *records: dict[str, Any]) -> Outcome:
        """Take records as one batch."""
        with writing(self.engine).begin() as connection:
            return self.importer.take(connection, [Line(number, each) for number, each in enumerate(records, 2)])

    def charges(self) -> list[Charge]:
        """The charges in the order of their records."""
        charge, record = table(Charge), table(UsageRecord)
        statement = select(charge).join(record, record.c.charge_id == charge.c.id).order_by(record.c.position)
        with self.engine.connect() as connection:
            return [Charge(**row._mapping) for row in connection.execute(statement)]

    def nets(self) -> dict[str, int]:
        """What each record cost, by its id."""
        charge, record = table(Charge), table(UsageRecord)
        statement = select(record.c.id, charge.c.net).join(charge, record.c.charge_id == charge.c.id)
        with self.engine.connect() as connection:
            return {row.id: row.net for row in connection.execute(statement)}


def call(id: str = "1", quantity: Any = 32, **keys: Any) -> dict[str, Any]:
    """A call in October."""
    return {
        "source": "switch", "id": id, "subscriber": "acc-1", "tariff": "calls", "quantity": quantity,
        "at": "2026-11-02T09:30:00+01:00",
    } | keys  # fmt: skip


def csv_file(path: Path, *records: dict[str, Any]) -> Path:
    names = COLUMNS.split(",")
    lines = [COLUMNS, *(",".join(str(each.get(name, "")) for name in names) for each in records)]
    path.write_text("\n".join(lines) + "\n")
    return path


def json_file(path: Path, *records: Any) -> Path:
    path.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in records) + "\n")
    return path
