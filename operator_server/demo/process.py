"""The demo's server: real processes, started, killed and started again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
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


class ServerProcess:
    """``tollgate serve`` on the world's folder, as processes that end with this one."""

    def __init__(
        self, config: Path, environment: Mapping[str, str], ports: Sequence[int], log: Path, reactor: Any
    ) -> None:
        program = [sys.executable, "-m", "operator_server", "serve", "--single"]
        common = ["--child-of", str(os.getpid()), "--config", str(config)]
        self._commands = [[*program, *common, *(f"--role={role}" for role in roles)] for roles in ROLES]
        self._environment = {**os.environ, **environment}
        self._ports, self._log, self._reactor = ports, log, reactor
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ready = False
        self._waiting: list[Deferred[None]] = []
        self.kills = 0

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, None]:
        """Start it and wait until it accepts connections. Raises :class:`ServerFailed`."""
        with self._log.open("ab") as log:
            self._processes = [
                subprocess.Popen(command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                for command in self._commands
            ]
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
                if process.poll() is not None:
                    raise ServerFailed(f"the server ended with {process.returncode}; its log is {self._log}")
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
            process.wait()
        self.kills += 1

    def stop(self) -> None:
        """Ask it to end, and wait."""
        processes, self._processes = self._processes, []
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
