"""``tollgate serve``: a process a role under one supervisor, none of which outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
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


@pytest.fixture
def server(tollgate: Tollgate) -> Iterator[subprocess.Popen[bytes]]:
    """``tollgate serve``, up; its log is :func:`told`."""
    command = [sys.executable, "-m", "operator_server", "serve", "--config", str(tollgate.config)]
    with log_of(tollgate).open("wb") as output:
        server = subprocess.Popen(
            command, env=os.environ | {"TOLLGATE_WEB__PORT": "0"}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        assert waited_for(lambda: all(line in told(tollgate) for line in ("link: ", "web: ", "worker: running")), 90)
        yield server
    finally:
        server.kill()
        server.wait()


def log_of(tollgate: Tollgate) -> Path:
    return tollgate.config / "serve.log"


def told(tollgate: Tollgate) -> str:
    return log_of(tollgate).read_text()


def roles_of(server: subprocess.Popen[bytes]) -> dict[str, psutil.Process]:
    processes = psutil.Process(server.pid).children()
    return {process.cmdline()[process.cmdline().index("--role") + 1]: process for process in processes}


def ended(processes: Iterable[psutil.Process]) -> bool:
    return waited_for(lambda: not any(process.is_running() for process in processes))


def test_roles_end_with_a_supervisor_that_is_killed(server: subprocess.Popen[bytes]) -> None:
    roles = roles_of(server)
    assert roles.keys() == {"link", "web", "worker"}
    server.kill()
    server.wait(20)
    assert ended(roles.values())


def test_the_first_device_is_polled_without_a_restart_and_all_end_when_asked(
    server: subprocess.Popen[bytes], tollgate: Tollgate
) -> None:
    assert "snmp: polling" not in told(tollgate)
    tollgate("account", "create", "A-7", "--name", "Somebody")
    secret = tollgate.config / "community"
    secret.write_text("hidden-word\n")
    tollgate("device", "credential", "add", "old", "--secret-file", secret)
    tollgate("device", "add", "gw-1", "--host", "127.0.0.1", "--credential", "old", "--subscriber", "A-7")
    assert waited_for(lambda: "snmp: polling" in told(tollgate), 90)
    roles = roles_of(server)
    assert roles.keys() == {"link", "web", "worker", "snmp"}
    server.send_signal(signal.SIGTERM)
    server.wait(20)
    assert ended(roles.values())
