"""The demo's server: real processes, started, killed and started again."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

START_SECONDS = 60.0
_LOOK_SECONDS = 0.05


class ServerFailed(RuntimeError):
    """The server process did not start; the text says where its log lies."""


ROLES = (("link", "worker"), ("web",), ("snmp",), ("sms", "roaming"))
"""Which roles share a process. Downloads and dialogues hold each other up where they share an interpreter."""

_IMPORTED = [
    "operator_server.cli.serve",
    *(f"operator_server.roles.{role}" for roles in ROLES for role in roles),
    "operator_server.web.server",
]
"""None of them installs a reactor, starts a thread or opens anything."""
_STARTER = multiprocessing.get_context("forkserver")


def import_server() -> None:
    """Have a process import the server, from which the server's are forked; meanwhile there is other work."""
    _STARTER.set_forkserver_preload(_IMPORTED)
    forkserver.ensure_running()


class ServerProcess:
    """``tollgate serve`` on the world's folder, as processes that end with this one.

    They are forked from the process of :func:`import_server`: a server that is killed dozens of times would else spend
    most of its time on imports.
    """

    def __init__(
        self, config: Path, environment: Mapping[str, str], ports: Sequence[int], log: Path, reactor: Any
    ) -> None:
        self._config, self._environment = config, dict(environment)
        self._ports, self._log, self._reactor = ports, log, reactor
        self._processes: list[multiprocessing.process.BaseProcess] = []
        self._ready = False
        self._waiting: list[Deferred[None]] = []
        self.kills = 0

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, None]:
        """Start it and wait until it accepts connections. Raises :class:`ServerFailed`."""
        self._processes = [
            _STARTER.Process(target=_serve, args=(roles, self._config, self._environment, self._log)) for roles in ROLES
        ]
        for process in self._processes:
            process.start()
        end = self._reactor.seconds() + START_SECONDS
        try:
            for port in self._ports:
                yield self._reach(port, end)
            self._ready = True
        finally:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    def tried(self) -> Deferred[None]:
        """Fires when it accepts connections, or a start has failed."""
        waiting: Deferred[None] = Deferred()
        if self._ready:
            waiting.callback(None)
        else:
            self._waiting.append(waiting)
        return waiting

    @inlineCallbacks
    def _reach(self, port: int, end: float) -> Generator[Deferred[Any], Any, None]:
        endpoint: Any = TCP4ClientEndpoint(self._reactor, "127.0.0.1", port, timeout=2)
        while True:
            for process in self._processes:
                if process.exitcode is not None:
                    raise ServerFailed(f"the server ended with {process.exitcode}; its log is {self._log}")
            try:
                link = yield endpoint.connect(Factory.forProtocol(Protocol))
            except ConnectError:
                if self._reactor.seconds() > end:
                    self.stop()
                    raise ServerFailed(
                        f"the server was not ready in {START_SECONDS:.0f} seconds; its log is {self._log}"
                    ) from None
                yield deferLater(self._reactor, _LOOK_SECONDS)
                continue
            link.transport.loseConnection()
            return

    def kill(self) -> None:
        """SIGKILL, without a word before."""
        self._ready = False
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        self.kills += 1

    def stop(self) -> None:
        """Ask it to end, and wait."""
        processes, self._processes = self._processes, []
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(20)
            if process.exitcode is None:
                process.kill()
                process.join()


def _serve(roles: Sequence[str], config: Path, environment: Mapping[str, str], log: Path) -> None:
    """The command ``tollgate serve`` in a forked process."""
    with log.open("ab") as told, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(told.fileno(), 1)
        os.dup2(told.fileno(), 2)
    os.environ.update(environment)
    threading.Thread(target=_end_with_demo, daemon=True).start()
    sys.argv = ["tollgate", "serve", "--single", "--config", str(config), *(f"--role={role}" for role in roles)]
    runpy.run_module("operator_server", run_name="__main__")


def _end_with_demo() -> None:
    demo = multiprocessing.parent_process()
    assert demo is not None
    demo.join()
    os.kill(os.getpid(), signal.SIGTERM)
