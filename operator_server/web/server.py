"""The HTTP(S) server: uvicorn as a process of its own, or inside a loop that is already running."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any, Literal

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""How long the head of a request may take to come."""
DEFAULT_LIMIT = 1_000
"""Connections and requests at a time; beyond it the answer is 503."""


class EmbeddedServer(uvicorn.Server):
    """A uvicorn server that leaves the process's signals alone; stop it by ``should_exit = True``."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ProtocolWithPatience(H11Protocol):
    """Closes a connection whose request has begun and whose head does not come: it would hold one of the places."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client is there; its first request is awaited."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Read on; the clock runs from the first byte of a head to its last."""
        super().data_received(data)
        waiting = self.cycle is None or self.cycle.response_complete
        if not waiting and self._late is not None:
            self._late.cancel()
            self._late = None
        elif waiting and self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        self._late = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Raises ``OSError`` that names the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror or error}") from None


def make_config(
    app: ASGIApp,
    certfile: str | None = None,
    keyfile: str | None = None,
    *,
    limit: int = DEFAULT_LIMIT,
    loop: Literal["none", "auto"] = "none",
) -> uvicorn.Config:
    """uvicorn's settings as this house wants them: no own logging, no access log, no server header.

    With ``certfile`` (a PEM chain) and ``keyfile`` it speaks HTTPS. ``loop`` matters only to ``Server.run``.
    """
    return uvicorn.Config(
        app,
        loop=loop,
        http=ProtocolWithPatience,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
        limit_concurrency=limit,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=5,
    )


async def serve_here(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve in the running loop until ``server.should_exit``; the listener is closed at the end."""
    await server.serve(sockets=[listener])


def serve(app: ASGIApp, host: str, port: int, certfile: str | None = None, keyfile: str | None = None) -> None:
    """Serve in this process until it gets SIGINT or SIGTERM. Raises ``OSError`` when the address is taken."""
    uvicorn.Server(make_config(app, certfile, keyfile, loop="auto")).run(sockets=[bind(host, port)])
