"""Reminders by the worker: at the operator's time and days, once, whatever is stopped and repeated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

from receivable_samples import Books
from sqlalchemy import select, update

from operator_server.outlets import NotSent
from operator_server.receivables.daily import DailyDesk
from operator_server.receivables.disputes import place_hold, release_hold
from operator_server.receivables.reminders import find_reminders, run_reminders
from operator_server.store.engine import writing
from operator_server.store.parties import Account
from operator_server.store.receivables import ReceivableItem
from operator_server.store.rows import table

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LEVELS = [{"days": 3}, {"days": 14, "fee": "2.50"}]
MONDAY = datetime(2026, 11, 23, 7, tzinfo=UTC)
"""Eight in the morning in Berlin, a week after the invoice was due."""


class Box:
    """An outlet that keeps what is sent, or is away."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.away = False

    def send(self, name: str, message: EmailMessage) -> None:
        if self.away:
            raise NotSent("the mail server is away")
        self.sent.append(str(message["To"]))


def books_with(**receivables: object) -> Books:
    books = Books(**({"reminders": LEVELS, "reminders_at": "09:00"} | receivables))
    with writing(books.engine).begin() as connection:
        connection.execute(update(table(Account)).values(email="a@example.com"))
    books.invoice("10.00")
    return books


def levels(books: Books) -> dict[str, int]:
    rows = books.read(
        lambda c: c.execute(select(table(ReceivableItem)).where(table(ReceivableItem).c.kind == "invoice"))
    )
    return {row.number: row.level for row in rows}


def test_the_worker_reminds_from_the_hour_on_once_a_day_and_level_by_level() -> None:
    books, box = books_with(), Box()
    desk = DailyDesk(books.engine, books.settings, box)
    assert desk.work(MONDAY) == []
    assert desk.work(MONDAY + HOUR) == ["1 reminders are made, 1 sent"]
    assert desk.work(MONDAY + 2 * HOUR) == []
    assert DailyDesk(books.engine, books.settings, box).work(MONDAY + 3 * HOUR) == []
    assert desk.work(MONDAY + DAY + HOUR) == []
    assert desk.work(MONDAY + 14 * DAY + HOUR) == ["1 reminders are made, 1 sent"]
    assert (list(levels(books).values()), len(box.sent)) == ([2], 2)
    assert [row.fee for row in books.read(find_reminders)] == [2_500_000, 0]
    books.prove()


def test_it_rests_on_other_days_and_where_no_time_is_set() -> None:
    books, box = books_with(), Box()
    desk = DailyDesk(books.engine, books.settings, box)
    saturday = MONDAY - 2 * DAY + 5 * HOUR
    assert desk.work(saturday) == []
    quiet = books_with(reminders_at="")
    DailyDesk(quiet.engine, quiet.settings, box).work(MONDAY + 5 * HOUR)
    assert box.sent == []
    weekend = books_with(reminder_days=["sat"])
    assert DailyDesk(weekend.engine, weekend.settings, box).work(saturday) == ["1 reminders are made, 1 sent"]


def test_what_is_disputed_is_left_alone_until_it_is_released() -> None:
    books, box = books_with(), Box()
    [number] = books.open()
    books.do(place_hold, number, reason="never used")
    desk = DailyDesk(books.engine, books.settings, box)
    assert desk.work(MONDAY + HOUR) == []
    books.do(release_hold, number)
    assert desk.work(MONDAY + DAY + HOUR) == ["1 reminders are made, 1 sent"]


def test_a_letter_that_waits_is_tried_again_and_no_other_is_made() -> None:
    books, box = books_with(), Box()
    desk = DailyDesk(books.engine, books.settings, box)
    box.away = True
    assert desk.work(MONDAY + HOUR) == ["1 reminders are made, 0 sent"]
    assert desk.work(MONDAY + HOUR + timedelta(minutes=1)) == []
    box.away = False
    assert desk.work(MONDAY + HOUR + timedelta(minutes=20)) == ["1 reminders that waited are sent"]
    assert len(box.sent) == len(books.read(find_reminders)) == 1


def test_levels_without_days_between_them_still_take_a_day_each() -> None:
    books, box = books_with(reminders=[{"days": 0}, {"days": 0}]), Box()
    for hours in (1, 2):
        run_reminders(books.engine, books.settings, MONDAY + hours * HOUR, box)
    assert list(levels(books).values()) == [1]
    run_reminders(books.engine, books.settings, MONDAY + DAY, box)
    assert list(levels(books).values()) == [2]
