"""The import's own SQL, prepared as the ledger's: rows by the thousand, of which only what differs is bound."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, String, any_, bindparam, func, insert, literal_column, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Dialect

from charging.ledger.statements import Prepared
from operator_server.store.accounting import Charge
from operator_server.store.rows import table
from operator_server.store.usage import UsageRecord, UsageState

CHARGE = (
    "id", "kind", "agreement_id", "account_id", "subscriber_id", "quantity", "included", "period", "effective_at",
    "recorded_at", "net", "currency", "tax_category", "tax_rate", "tariff_version", "transfer_id", "pays", "paid_tax",
)  # fmt: skip
"""The columns of a charge that the import binds, in their order."""

RECORD = (
    "source", "id", "digest", "subscriber_id", "tariff_id", "quantity", "at", "destination", "position", "charge_id",
    "imported_at",
)  # fmt: skip
STATE = ("agreement_id", "period", "tariff_version", "uses", "state")

_OF_COUNTERS = {"counter": "''", "epoch": "0", "counter_from": "0", "counter_to": "0"}


class Statements:
    """What the import writes, for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._sqlite = dialect.name == "sqlite"
        style = "qmark" if self._sqlite else "format"
        self._dialect = type(dialect)(paramstyle=style)  # type: ignore[call-arg]  # of DefaultDialect
        constant: dict[str, Any] = {name: literal_column(value) for name, value in _OF_COUNTERS.items()}
        self.add_charge = self._insert(Charge, CHARGE, constant)
        self.add_record = self._insert(UsageRecord, RECORD, {})
        self.add_state = self._insert(UsageState, STATE, {})
        record, ids = table(UsageRecord), bindparam("ids", type_=String if self._sqlite else ARRAY(String))
        among = (
            record.c.id.in_(select(func.json_each(ids).table_valued("value").c.value))
            if self._sqlite
            else record.c.id == any_(ids)
        )
        self._known = Prepared(
            select(record.c.id, record.c.digest).where(record.c.source == bindparam("by"), among),
            self._dialect,
            ("by", "ids"),
        )
        state = table(UsageState)
        values: dict[str, Any] = {name: bindparam(name) for name in STATE[2:]}
        key = (state.c.agreement_id == bindparam("of")) & (state.c.period == bindparam("within"))
        self.change_state = Prepared(
            update(state).where(key).values(values), self._dialect, (*STATE[2:], "of", "within")
        )

    def known(self, connection: Connection, source: str, ids: Collection[str]) -> Sequence[Any]:
        """Ids and digests of a source's records among these."""
        return self._known.rows(connection, source, json.dumps(ids) if self._sqlite else ids)

    def _insert(self, model: Any, names: tuple[str, ...], constant: dict[str, Any]) -> Prepared:
        bound: dict[str, Any] = {name: bindparam(name) for name in names}
        return Prepared(insert(table(model)).values(bound | constant), self._dialect, names)


_prepared: dict[str, Statements] = {}


def statements(connection: Connection) -> Statements:
    """The statements for a connection's dialect."""
    dialect = connection.dialect
    found = _prepared.get(dialect.name)
    if found is None:
        found = _prepared[dialect.name] = Statements(dialect)
    return found
