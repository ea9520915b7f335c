"""``tollgate serve``: a process a role under one supervisor, none of which outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from conftest import Tollgate


def waited_for(condition: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_the_roles_run_as_processes_and_end_with_their_supervisor(tollgate: Tollgate, ending: signal.Signals) -> None:
    command = [sys.executable, "-m", "operator_server", "serve", "--config", str(tollgate.config)]
    log = tollgate.config / "serve.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=os.environ | {"TOLLGATE_WEB__PORT": "0"}, stdout=output, stderr=subprocess.STDOUT
        )
    roles: list[psutil.Process] = []
    try:
        assert waited_for(lambda: all(line in log.read_text() for line in ("link: ", "web: ", "worker: running")), 90)
        roles = psutil.Process(server.pid).children()
        assert {process.cmdline()[process.cmdline().index("--role") + 1] for process in roles} == {
            "link",
            "web",
            "worker",
        }
        server.send_signal(ending)
        server.wait(20)
        assert waited_for(lambda: not any(process.is_running() for process in roles))
    finally:
        server.kill()
        for process in roles:
            if process.is_running():
                process.kill()


def test_the_first_device_is_polled_without_a_restart(tollgate: Tollgate) -> None:
    command = [sys.executable, "-m", "operator_server", "serve", "--config", str(tollgate.config)]
    log = tollgate.config / "serve.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=os.environ | {"TOLLGATE_WEB__PORT": "0"}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        assert waited_for(lambda: all(line in log.read_text() for line in ("link: ", "web: ", "worker: running")), 90)
        assert "snmp: polling" not in log.read_text()
        tollgate("account", "create", "A-7", "--name", "Somebody")
        secret = tollgate.config / "community"
        secret.write_text("hidden-word\n")
        tollgate("device", "credential", "add", "old", "--secret-file", secret)
        tollgate("device", "add", "gw-1", "--host", "127.0.0.1", "--credential", "old", "--subscriber", "A-7")
        assert waited_for(lambda: "snmp: polling" in log.read_text(), 90)
        server.send_signal(signal.SIGTERM)
        server.wait(20)
    finally:
        server.kill()
