"""What is done for receivables each day without anybody asking: reminders, deferred revenue, tax of write-offs."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from sqlalchemy import Connection, Engine, delete, select

from charging.periods import period, period_of
from operator_server.outlets import Outlet
from operator_server.receivables.bad_debt_tax import correct_due
from operator_server.receivables.recognition import recognise
from operator_server.receivables.reminders import run_reminders, send_reminders
from operator_server.settings import Settings
from operator_server.store.receivables import DailyWork
from operator_server.store.rows import add, table
from operator_server.store.store import transact

BOOKS, REMINDERS = "books", "reminders"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
AGAIN = timedelta(minutes=15)
"""Between two tries to send the letters that wait."""

_work = table(DailyWork)


def _reminders_due(settings: Settings, now: datetime) -> bool:
    """Whether the settings ask for reminders at this time of this day, as the operator's clock on the wall shows it."""
    wanted, local = settings.receivables.reminders_at, now.astimezone(settings.operator.zone)
    if not wanted or DAYS[local.weekday()] not in settings.receivables.reminder_days:
        return False
    return local.time() >= time.fromisoformat(wanted)


class DailyDesk:
    """Does what is due, each kind once a day, and remembers that in the database."""

    def __init__(self, engine: Engine, settings: Settings, outlet: Outlet | None = None) -> None:
        self._engine = engine
        self._settings = settings
        self._outlet = outlet
        self._sent_at: datetime | None = None

    def work(self, now: datetime) -> list[str]:
        """Do what is due at an instant; what was done, for the log. It may be called often and stopped at any point."""
        today, done = now.astimezone(self._settings.operator.zone).date(), list[str]()
        if not self._is_done(BOOKS, today):
            done += self._books(now)
            self._note(BOOKS, today)
        if _reminders_due(self._settings, now):
            done += self._remind(today, now)
        return done

    def _books(self, now: datetime) -> list[str]:
        done, zone = [], self._settings.operator.zone
        if count := correct_due(self._engine, self._settings, now):
            done.append(f"the tax of {count} write-offs is corrected")
        if self._settings.finance.post_deferred:
            this = period(period_of(now, zone), zone)
            before = period(period_of(this.start - timedelta(microseconds=1), zone), zone)
            for each in recognise(self._engine, self._settings, before, now):
                done.append(f"deferred revenue of {each.period} is posted, {each.moved} agreements moved")
        return done

    def _remind(self, today: date, now: datetime) -> list[str]:
        if not self._is_done(REMINDERS, today):
            made = run_reminders(self._engine, self._settings, now, self._outlet)
            self._note(REMINDERS, today)
            self._sent_at = now
            return [f"{len(made.letters)} reminders are made, {made.sent} sent"] if made.letters or made.sent else []
        if self._sent_at is not None and now - self._sent_at < AGAIN:
            return []
        self._sent_at = now
        sent, _ = send_reminders(self._engine, self._settings, now, self._outlet)
        return [f"{sent} reminders that waited are sent"] if sent else []

    def _is_done(self, name: str, today: date) -> bool:
        with self._engine.connect() as connection:
            done_on = connection.execute(select(_work.c.done_on).where(_work.c.name == name)).scalar()
        return done_on is not None and done_on >= today

    def _note(self, name: str, today: date) -> None:
        def note(connection: Connection) -> None:
            connection.execute(delete(_work).where(_work.c.name == name))
            add(connection, DailyWork(name=name, done_on=today))

        transact(self._engine, note)
