"""One supervisor, a process a role: what ends unbidden is started again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

log = Logger()

LOOK_SECONDS = 5.0


def supervise(config: Path, roles: Sequence[str], later: Callable[[], Sequence[str]] | None = None) -> None:
    """Run each role as a process of its own until SIGINT or SIGTERM.

    ``later`` is asked every few seconds, in a thread, which roles have become necessary meanwhile.
    """
    # Both imports install the default reactor, which the other ways to run must be free to choose.
    from twisted.internet import reactor as installed
    from twisted.internet.task import LoopingCall
    from twisted.internet.threads import deferToThread
    from twisted.runner.procmon import ProcessMonitor

    reactor: Any = installed
    monitor = ProcessMonitor()
    running: set[str] = set()

    def begin(role: str) -> None:
        running.add(role)
        command = [sys.executable, "-m", "operator_server", "serve", "--config", str(config), "--role", role]
        command += ["--child-of", str(os.getpid())]
        monitor.addProcess(role, command, env=dict(os.environ))

    def look(later: Callable[[], Sequence[str]]) -> Deferred[Any]:
        return deferToThread(later).addCallbacks(add, lambda failure: log.failure("new roles are not known", failure))

    def add(wanted: Sequence[str]) -> None:
        for role in wanted:
            if role not in running:
                log.info("the role {role} has become necessary", role=role)
                begin(role)

    for role in roles:
        begin(role)
    monitor.startService()
    if later is not None:
        LoopingCall(look, later).start(LOOK_SECONDS, now=False)
    reactor.addSystemEventTrigger("before", "shutdown", monitor.stopService)
    reactor.run()
