"""One supervisor, a process a role: what ends unbidden is started again."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path


def supervise(config: Path, roles: Sequence[str]) -> None:
    """Run each role as a process of its own until SIGINT or SIGTERM."""
    # Both imports install the default reactor, which the other ways to run must be free to choose.
    from twisted.internet import reactor
    from twisted.runner.procmon import ProcessMonitor

    monitor = ProcessMonitor()
    for role in roles:
        command = [sys.executable, "-m", "operator_server", "serve", "--config", str(config), "--role", role]
        command += ["--child-of", str(os.getpid())]
        monitor.addProcess(role, command, env=None)
    monitor.startService()
    reactor.addSystemEventTrigger("before", "shutdown", monitor.stopService)  # type: ignore[attr-defined]  # the reactor is a module to mypy
    reactor.run()  # type: ignore[attr-defined]  # the reactor is a module to mypy
