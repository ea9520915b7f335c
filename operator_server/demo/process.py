"""The demo's server: a real process, started, killed and started again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

START_SECONDS = 60.0
_LOOK_SECONDS = 0.05


class ServerFailed(RuntimeError):
    """The server process did not start; the text says where its log lies."""


class ServerProcess:
    """``tollgate serve --single`` on the world's folder; it ends with this process."""

    def __init__(self, config: Path, environment: Mapping[str, str], port: int, log: Path, reactor: Any) -> None:
        program = [sys.executable, "-m", "operator_server", "serve", "--single"]
        self._command = [*program, "--child-of", str(os.getpid()), "--config", str(config)]
        self._environment = {**os.environ, **environment}
        self._port, self._log, self._reactor = port, log, reactor
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, None]:
        """Start it and wait until it accepts links. Raises :class:`ServerFailed`."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._process = process
        for _ in range(int(START_SECONDS / _LOOK_SECONDS)):
            if process.poll() is not None:
                raise ServerFailed(f"the server ended with {process.returncode}; its log is {self._log}")
            try:
                link = yield connectProtocol(
                    TCP4ClientEndpoint(self._reactor, "127.0.0.1", self._port, timeout=2), Protocol()
                )
            except ConnectError:
                yield deferLater(self._reactor, _LOOK_SECONDS)
                continue
            link.transport.loseConnection()
            return
        self.stop()
        raise ServerFailed(f"the server was not ready in {START_SECONDS:.0f} seconds; its log is {self._log}")

    def kill(self) -> None:
        """SIGKILL, without a word before."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.kills += 1

    def stop(self) -> None:
        """Ask it to end, and wait."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
