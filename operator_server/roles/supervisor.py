"""One supervisor, a process a role: what ends unbidden is started again."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def supervise(config: Path, roles: Sequence[str]) -> None:
    """Run each role as a process of its own until SIGINT or SIGTERM."""
    # Both imports install the default reactor, which the other ways to run must be free to choose.
    from twisted.internet import reactor as installed
    from twisted.runner.procmon import ProcessMonitor

    reactor: Any = installed
    monitor = ProcessMonitor()
    for role in roles:
        command = [sys.executable, "-m", "operator_server", "serve", "--config", str(config), "--role", role]
        command += ["--child-of", str(os.getpid())]
        monitor.addProcess(role, command, env=dict(os.environ))
    monitor.startService()
    reactor.addSystemEventTrigger("before", "shutdown", monitor.stopService)
    reactor.run()
