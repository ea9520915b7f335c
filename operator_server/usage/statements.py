"""The import's own SQL, prepared as the ledger's: rows by the thousand, of which only what differs is bound."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    any_,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Dialect

from charging.ledger.statements import Prepared
from operator_server.store.accounting import Charge
from operator_server.store.dealings import Agreement, QuoteRow
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
        record, state, agreement, quote = (table(each) for each in (UsageRecord, UsageState, Agreement, QuoteRow))
        known = select(record.c.id, record.c.digest).where(record.c.source == bindparam("by"))
        self._known = self._prepare(known.where(self._among(record.c.id, "ids")), "by", "ids")
        quotes = select(agreement.c.id, quote.c.document).join(quote, quote.c.id == agreement.c.quote_id)
        self._quotes = self._prepare(quotes.where(self._among(agreement.c.id, "ids")), "ids")
        among = self._among(state.c.agreement_id, "ids"), self._among(state.c.period, "periods")
        self._states = self._prepare(select(*state.c).where(*among), "ids", "periods")
        values: dict[str, Any] = {name: bindparam(name) for name in STATE[2:]}
        key = (state.c.agreement_id == bindparam("of")) & (state.c.period == bindparam("within"))
        self.change_state = self._prepare(update(state).where(key).values(values), *STATE[2:], "of", "within")

    def known(self, connection: Connection, source: str, ids: Collection[str]) -> Sequence[Any]:
        """Ids and digests of a source's records among these."""
        return self._known.rows(connection, source, self._names(ids))

    def quotes(self, connection: Connection, agreements: Collection[str]) -> Sequence[Any]:
        """Those of the agreements that there are, each with the document of its quote."""
        return self._quotes.rows(connection, self._names(agreements))

    def states(self, connection: Connection, agreements: Collection[str], periods: Collection[str]) -> Sequence[Any]:
        """What these agreements carry in these periods, in the order of :data:`STATE`; the state as JSON."""
        return self._states.rows(connection, self._names(agreements), self._names(periods))

    def _names(self, names: Collection[str]) -> str | list[str]:
        """Names as the one parameter that the statements take them in."""
        return json.dumps(sorted(names)) if self._sqlite else sorted(names)

    def _among(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        if self._sqlite:
            names = func.json_each(bindparam(name, type_=String)).table_valued("value")
            return column.in_(select(names.c.value))
        return column == any_(bindparam(name, type_=ARRAY(String)))

    def _prepare(self, statement: Any, *names: str) -> Prepared:
        return Prepared(statement, self._dialect, names)

    def _insert(self, model: Any, names: tuple[str, ...], constant: dict[str, Any]) -> Prepared:
        bound: dict[str, Any] = {name: bindparam(name) for name in names}
        return self._prepare(insert(table(model)).values(bound | constant), *names)


_prepared: dict[str, Statements] = {}


def statements(connection: Connection) -> Statements:
    """The statements for a connection's dialect."""
    dialect = connection.dialect
    found = _prepared.get(dialect.name)
    if found is None:
        found = _prepared[dialect.name] = Statements(dialect)
    return found
