"""The HTTP(S) server: uvicorn as a process of its own, or inside a loop that is already running."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

DEFAULT_LIMIT = 1_000
"""Connections and requests at a time; beyond it the answer is 503."""


class EmbeddedServer(uvicorn.Server):
    """A uvicorn server that leaves the process's signals alone; stop it by ``should_exit = True``."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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
