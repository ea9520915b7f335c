"""Long work in the background, kept in a table, so that every web process sees it and another can go on with it.

Whoever works on a job holds a lease on it and lengthens that, with the progress, about once a second. When the lease is
over, the process is gone: another takes the job over and does its work again, which for bill runs goes on where they
stopped. A job takes a slot of its kind while it runs, so that few are made at once, whichever process is asked.

How much is done is kept in memory and written by a thread of its own: work reports progress within its transactions,
and would wait for itself if it wrote.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from operator_server.context import Operator
from operator_server.store.rows import add, table
from operator_server.store.store import transact
from operator_server.store.web import WebJob
from operator_server.web.problems import Problem
from signalling.clock import to_micros
from signalling.ids import new_id

BEAT_SECONDS = 1.0
LEASE = timedelta(seconds=45)
"""Longer than anybody waits for the database."""
PATIENCE_SECONDS = 120.0
"""How long somebody who is handed an archive may take none of it."""
KEPT = timedelta(days=30)
MOST_TRIES = 3

_log = logging.getLogger(__name__)
_JOB = table(WebJob)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was just now. ``state``: running, done, failed or stopped; ``reason``: what it came to, or why."""

    id: str
    kind: str
    what: str
    about: str
    by: str
    state: str
    done: int
    of: int
    reason: str
    started_at: datetime
    ended_at: datetime | None


def job_of(row: Sequence[Any]) -> Job:
    """The job in a row of :data:`COLUMNS`."""
    return Job(*row)


COLUMNS = [_JOB.c[each.name] for each in fields(Job)]
"""What a :class:`Job` is made of, in its order."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of work. ``work`` does it and says what it came to; ``None``: the one who asked does it, and nobody else
    can go on. ``told``: errors that are the reason of a failure in their own words. ``slots``: how many run at once;
    kinds with the same ``lane`` share them."""

    lane: str
    work: Callable[[Operator, Mapping[str, Any], Task], str] | None = None
    told: tuple[type[Exception], ...] = ()
    slots: int = 1


class Task:
    """A job in work, in the process that works on it."""

    def __init__(
        self, job: str, what: str, of: int = 0, *, taken_by_client: bool = False, wake: threading.Event | None = None
    ) -> None:
        self.id = job
        self.what = what
        self.done = 0
        self.of = of
        self.state = "running"
        self.reason = ""
        self.result: bytes | None = None
        self.lost = False
        self._moved = time.monotonic()
        self._taken_by_client = taken_by_client
        self._wake = wake

    def progress(self, done: int, of: int) -> None:
        """So much is done."""
        self.done, self.of, self._moved = done, of, time.monotonic()

    def leave(self, state: str, reason: str = "") -> None:
        """It has ended; the first end counts. It is written soon, on another thread."""
        if self.state == "running":
            self.state, self.reason = state, reason
            if self._wake is not None:
                self._wake.set()

    def look(self) -> None:
        """Leave what a client takes no more of."""
        if self._taken_by_client and time.monotonic() - self._moved > PATIENCE_SECONDS:
            self.leave("stopped", "nobody took it")


class Jobs:
    """The jobs of an operator as one process sees them, and works on some."""

    def __init__(self, operator: Operator, kinds: Mapping[str, Kind]) -> None:
        self._operator = operator
        self._kinds = kinds
        self._holder = new_id(to_micros(operator.clock.now()))
        self._mine: dict[str, Task] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._beating: threading.Thread | None = None
        self._closing = False

    def start(
        self,
        kind: str,
        what: str,
        about: str,
        given: Mapping[str, Any],
        by: str,
        *,
        name: str = "",
        of: int = 0,
        also: Callable[[Connection, str], object] = lambda connection, job: None,
    ) -> Job:
        """Begin a job. ``also`` is done in the transaction that makes it, with the job's id.

        Raises :class:`Problem` 409 while others have all slots of the kind.
        """
        task = self._start(kind, what, about, given, by, name, of, also)
        found = self.find(task.id)
        assert found is not None
        return found

    def hold(self, kind: str, what: str, about: str, by: str, *, name: str, of: int) -> Task:
        """Begin a job whose work the caller does, with the task in hand. Raises :class:`Problem` 409."""
        return self._start(kind, what, about, {}, by, name, of)

    def _start(
        self,
        kind: str,
        what: str,
        about: str,
        given: Mapping[str, Any],
        by: str,
        name: str,
        of: int,
        also: Callable[[Connection, str], object] = lambda connection, job: None,
    ) -> Task:
        self.resume()
        now, taken = self._operator.clock.now(), self._kinds[kind]
        task = Task(new_id(to_micros(now)), what, of, taken_by_client=taken.work is None, wake=self._wake)

        def begin(connection: Connection) -> None:
            slots = [f"{taken.lane} {number}" for number in range(taken.slots)]
            held = connection.execute(select(_JOB).where(_JOB.c.state == "running", _JOB.c.slot.in_(slots))).all()
            free = [slot for slot in slots if slot not in {row.slot for row in held}]
            if not free:
                raise Problem(409, f"{held[0].what} is running ({held[0].id}); wait until it has ended")
            connection.execute(delete(_JOB).where(_JOB.c.ended_at < now - KEPT))
            add(
                connection,
                WebJob(
                    id=task.id, kind=kind, slot=free[0], what=what, about=about, name=name, by=by, given=dict(given),
                    state="running", of=of, holder=self._holder, started_at=now, lease_until=now + LEASE,
                ),
            )  # fmt: skip
            also(connection, task.id)

        try:
            transact(self._operator.engine, begin)
        except IntegrityError:
            raise Problem(409, f"another {what} was begun at the same time; look how far it is") from None
        self._take(task, kind, given)
        return task

    def end(self, task: Task) -> None:
        """Write that a job has ended which was left; where that cannot be now, it is tried again soon."""
        with contextlib.suppress(OperationalError):
            self._told(task)

    def find(self, job: str) -> Job | None:
        """The job of this id."""
        return self._one(_JOB.c.id == job)

    def named(self, kind: str, name: str) -> Job | None:
        """The newest job that a page gave this name."""
        return self._one(_JOB.c.name == name, _JOB.c.kind == kind)

    def running(self, about: str, *kinds: str) -> Job | None:
        """A job of these kinds about something, that runs now."""
        return self._one(_JOB.c.about == about, _JOB.c.kind.in_(kinds), _JOB.c.state == "running")

    def newest(self, *kinds: str, most: int = 10) -> list[Job]:
        """The newest jobs of these kinds."""
        return self._found(most, _JOB.c.kind.in_(kinds))

    def given(self, job: str, kind: str) -> tuple[dict[str, Any], bytes | None] | None:
        """What a job of this kind was made of, and its result where there is one yet."""
        with self._operator.engine.connect() as connection:
            row = connection.execute(
                select(_JOB.c.given, _JOB.c.result).where(_JOB.c.id == job, _JOB.c.kind == kind)
            ).first()
        return None if row is None else (row.given, row.result)

    def resume(self) -> list[str]:
        """Take over the jobs whose processes are gone, and go on with them; their ids."""
        now = self._operator.clock.now()
        over = select(_JOB).where(_JOB.c.state == "running", _JOB.c.lease_until < now)
        with self._operator.engine.connect() as connection:
            left = connection.execute(over).all()
        return [row.id for row in left if row.id not in self._mine and self._take_over(row, now)]

    def release(self) -> None:
        """This process ends: others may take over at once what it works on."""
        with self._lock:
            self._closing = True
            mine = list(self._mine)
        now = self._operator.clock.now()
        if mine:
            with contextlib.suppress(OperationalError):
                self._write(*mine, lease_until=now - LEASE)

    def _one(self, *where: Any) -> Job | None:
        return next(iter(self._found(1, *where)), None)

    def _found(self, most: int, *where: Any) -> list[Job]:
        query = select(*COLUMNS).where(*where).order_by(_JOB.c.id.desc()).limit(most)
        with self._operator.engine.connect() as connection:
            found = [job_of(row) for row in connection.execute(query)]
        return [self._as_it_is(job) for job in found]

    def _as_it_is(self, job: Job) -> Job:
        """With what this process has done of it since that was written."""
        task = self._mine.get(job.id)
        return replace(job, done=task.done, of=task.of) if task is not None and job.state == "running" else job

    def _take_over(self, row: Row[Any], now: datetime) -> bool:
        kind = self._kinds.get(row.kind)
        mine = update(_JOB).where(
            _JOB.c.id == row.id, _JOB.c.state == "running", _JOB.c.holder == row.holder, _JOB.c.lease_until < now
        )
        if kind is None or kind.work is None or row.tries >= MOST_TRIES:
            why = "the server that did it is gone; begin it again"
            if row.tries >= MOST_TRIES:
                why = f"the server ended {row.tries} times while it ran; see its log, then begin it again"
            ended = {"state": "failed" if row.tries >= MOST_TRIES else "stopped", "reason": why, "ended_at": now}
            transact(self._operator.engine, lambda connection: connection.execute(mine.values(**ended)))
            return False
        taken = {"holder": self._holder, "lease_until": now + LEASE, "tries": row.tries + 1}
        if not transact(self._operator.engine, lambda connection: connection.execute(mine.values(**taken)).rowcount):
            return False
        _log.warning("%s was left by a server that is gone; it goes on here", row.what)
        self._take(Task(row.id, row.what, row.of, wake=self._wake), row.kind, row.given)
        return True

    def _take(self, task: Task, kind: str, given: Mapping[str, Any]) -> None:
        with self._lock:
            self._mine[task.id] = task
            if self._beating is None:
                self._beating = threading.Thread(target=self._beat, name="jobs", daemon=True)
                self._beating.start()
        if self._kinds[kind].work is not None:
            threading.Thread(target=self._run, args=(task, kind, given), name="job", daemon=True).start()

    def _run(self, task: Task, kind: str, given: Mapping[str, Any]) -> None:
        work, told = self._kinds[kind].work, self._kinds[kind].told
        assert work is not None
        try:
            task.leave("done", work(self._operator, given, task))
        except told as error:
            task.leave("failed", str(error))
        except Exception:  # noqa: BLE001 - whatever it is, whoever watches the job must see that it ended
            _log.exception("%s failed", task.what)
            task.leave("failed", "it is in the server's log")
        self.end(task)

    def _beat(self) -> None:
        """Write how far the jobs of this process are, until there are none."""
        while True:
            self._wake.wait(BEAT_SECONDS)
            self._wake.clear()
            with self._lock:
                tasks = list(self._mine.values())
                if not tasks or self._closing:
                    self._beating = None
                    return
            for task in tasks:
                try:
                    self._told(task)
                except OperationalError:
                    _log.warning("how far %s is could not be written; it goes on", task.what)

    def _told(self, task: Task) -> None:
        task.look()
        now, state = self._operator.clock.now(), task.state
        of = {"done": task.done, "of": task.of}
        if state == "running":
            there = self._write(task.id, lease_until=now + LEASE, **of)
        else:
            result = {} if task.result is None else {"result": task.result}
            there = self._write(task.id, state=state, reason=task.reason, ended_at=now, **of, **result)
        if not there:
            task.lost = True
        if state != "running" or task.lost:
            with self._lock:
                self._mine.pop(task.id, None)

    def _write(self, *jobs: str, **values: Any) -> bool:
        mine = update(_JOB).where(_JOB.c.id.in_(jobs), _JOB.c.holder == self._holder, _JOB.c.state == "running")
        return bool(
            transact(self._operator.engine, lambda connection: connection.execute(mine.values(**values)).rowcount)
        )
