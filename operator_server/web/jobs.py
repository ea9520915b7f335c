"""Long work in the background: one piece at a time, watched by its progress."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from operator_server.web.problems import Problem
from signalling.clock import to_micros
from signalling.ids import new_id

MOST_KEPT = 100

_log = logging.getLogger(__name__)


@dataclass
class Job:
    """A piece of work. ``state``: running, done or failed; ``reason``: what it came to, or why it failed."""

    id: str
    what: str
    state: str = "running"
    done: int = 0
    of: int = 0
    reason: str = ""


class Jobs:
    """The jobs of this process. What they do is in the database; a job that ends with the process is begun again."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, what: str, work: Callable[[Job], str], now: datetime, *, told: tuple[type[Exception], ...]) -> Job:
        """Begin ``work`` on a thread of its own; errors of the kinds ``told`` are its reason.

        Raises :class:`Problem` 409 while another runs.
        """
        with self._lock:
            busy = next((job for job in self._jobs.values() if job.state == "running"), None)
            if busy is not None:
                raise Problem(409, f"{busy.what} is running ({busy.id}); wait until it has ended")
            job = Job(new_id(to_micros(now)), what)
            self._jobs[job.id] = job
            while len(self._jobs) > MOST_KEPT:
                self._jobs.popitem(last=False)
        threading.Thread(target=self._run, args=(job, work, told), name="job", daemon=True).start()
        return job

    def find(self, job: str) -> Job | None:
        """The job of this id."""
        return self._jobs.get(job)

    def running(self) -> Job | None:
        """The job that runs now."""
        with self._lock:
            return next((job for job in self._jobs.values() if job.state == "running"), None)

    def _run(self, job: Job, work: Callable[[Job], str], told: tuple[type[Exception], ...]) -> None:
        try:
            job.reason = work(job)
            job.state = "done"
        except told as error:
            job.reason, job.state = str(error), "failed"
        except Exception:  # noqa: BLE001 - whatever it is, whoever watches the job must see that it ended
            _log.exception("%s failed", job.what)
            job.reason, job.state = "it is in the server's log", "failed"
