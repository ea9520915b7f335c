"""An operator whose customers have balances: acc-1 and acc-2 in euro, acc-1 with the subscribers acc-1 and kid."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from counting_samples import SETTINGS, SIGNING, memory_engine
from sqlalchemy import Engine, select
from usage_samples import NOW, Shop

from charging.ledger.book import ON_CROSSING, available, balances, open_account
from charging.ledger.tables import PREPAID
from charging.ledger.verify import Finding, verify
from operator_server.balances.expiry import expire_balances
from operator_server.balances.money import top_up
from operator_server.balances.proof import verify_balances
from operator_server.balances.thresholds import money_crossed
from operator_server.balances.usage import UsageDesk, Use
from operator_server.billing.proof import verify_billing
from operator_server.store.engine import writing
from operator_server.store.parties import Event, Subscriber
from operator_server.store.rows import add, table

EURO = 1_000_000
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MONTH = timedelta(days=30)

__all__ = ["DAY", "EURO", "HOUR", "MONTH", "NOW", "Purse", "Use", "use"]


def use(quantity: int = 60, **keys: Any) -> Use:
    """A call of the tariff ``calls``, 30/6 at 0.006 a minute, paid from prepaid money."""
    named = {"subscriber": "acc-1", "unit": "second", "tariff": "calls", "at": NOW, "pays": "prepaid"} | keys
    return Use(quantity=quantity, **named)


class Purse:
    """The functions of balances, each in a transaction of its own, at a time that tests set."""

    def __init__(self, engine: Engine | None = None) -> None:
        self.shop = Shop(engine or memory_engine().execution_options(**{ON_CROSSING: money_crossed}))
        self.engine = self.shop.engine
        self.desk = UsageDesk(lambda: self.shop.book, SETTINGS, SIGNING)
        self.now = NOW
        self.altered = False
        with self.writing() as connection:
            add(connection, Subscriber(id="kid", account_id="acc-1", created_at=NOW))
            for account in ("acc-1", "acc-2"):
                open_account(connection, account, "EUR", 0)

    @contextmanager
    def writing(self) -> Any:
        with writing(self.engine).begin() as connection:
            yield connection

    def do(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call a function of balances with a connection first and the time last."""
        with self.writing() as connection:
            return function(connection, *arguments, now=self.now, **named)

    def top_up(self, amount: int, id: str = "t-1", account: str = "acc-1", valid_until: datetime | None = None) -> Any:
        return self.do(top_up, account, amount, id=id, valid_until=valid_until)

    def expire(self) -> dict[str, int]:
        return expire_balances(self.engine, self.now)

    def prepaid(self, account: str = "acc-1") -> int:
        """What is paid ahead."""
        with self.engine.connect() as connection:
            return sum(-row.balance for row in balances(connection, account) if row.kind == PREPAID)

    def available(self, account: str = "acc-1") -> int:
        with self.engine.connect() as connection:
            left = available(connection, account, "EUR")
        assert left is not None
        return left

    def events(self, kind: str) -> list[Any]:
        event = table(Event)
        with self.engine.connect() as connection:
            return list(connection.execute(select(event).where(event.c.kind == kind).order_by(event.c.id)))

    def rows(self, model: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(select(table(model))))

    def findings(self) -> list[Finding]:
        with self.engine.connect() as connection:
            return [*verify(connection), *verify_billing(connection), *verify_balances(connection)]

    def alter(self, sql: str) -> None:
        """Change the database behind everybody's back."""
        self.altered = True
        with self.writing() as connection:
            assert connection.exec_driver_sql(sql).rowcount, f"nothing to alter by {sql}"
