"""A small operator with a repository, servers for it on the loopback, and terminals that fetch."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from operator_server.delivery.repository import PublishedTarget, Repository, RepositorySettings
from operator_server.web.app import create_app
from operator_server.web.server import EmbeddedServer, bind, make_config, serve_here
from signalling.clock import SettableClock
from terminal_sim.repository_client import RepositoryClient
from terminal_sim.repository_fetcher import Fault, Fetcher, TransferSettings

START = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)
QUICK = TransferSettings(connect_timeout=2, read_timeout=2)


@dataclass
class Answered:
    """What a server answered: path, the range that was asked for, status, bytes of body handed to the network."""

    path: str
    range: str | None
    status: int = 0
    sent: int = 0


@dataclass
class Recorder:
    """An ASGI application around another that writes down what is answered."""

    app: ASGIApp
    answered: list[Answered] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope.get("headers", [])}
        entry = Answered(scope.get("path", ""), headers.get("range"))
        self.answered.append(entry)

        async def recorded(message: Message) -> None:
            entry.status = message.get("status", entry.status)
            entry.sent += len(message.get("body", b""))
            await send(message)

        await self.app(scope, receive, recorded)

    def of_targets(self) -> list[Answered]:
        return [entry for entry in self.answered if "/targets/" in entry.path]


@contextmanager
def running(app: ASGIApp, certfile: str | None = None, keyfile: str | None = None) -> Iterator[int]:
    """Serve ``app`` on the loopback from a thread; gives the port."""
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = EmbeddedServer(make_config(app, certfile, keyfile))
    thread = threading.Thread(target=lambda: asyncio.run(serve_here(server, listener)))
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(10)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def static_server(folder: Path) -> Iterator[str]:
    """Any plain web server: Python's own, which knows no ranges. Gives the base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@dataclass
class House:
    """A repository with its server, and the clock that everybody lives by."""

    folder: Path
    clock: SettableClock
    repository: Repository
    recorder: Recorder
    base_url: str = ""

    @property
    def served(self) -> Path:
        return self.folder / "repository"

    def publish(self, path: str, content: bytes) -> PublishedTarget:
        file = self.folder / "to-publish"
        file.write_bytes(content)
        return self.repository.add_target(path, file, now=self.clock.now())

    def terminal(
        self,
        *base_urls: str,
        name: str = "terminal",
        fault: Fault | None = None,
        settings: TransferSettings = QUICK,
        clock: SettableClock | None = None,
    ) -> Terminal:
        fetcher = Fetcher(settings, fault=fault)
        client = RepositoryClient(
            self.folder / name, base_urls or [self.base_url], self.repository.root_bytes(), clock or self.clock, fetcher
        )
        return Terminal(client, fetcher, self.folder / name / "downloads")


@dataclass
class Terminal:
    """A repository client with the folder it downloads to."""

    client: RepositoryClient
    fetcher: Fetcher
    downloads: Path

    def fetch(self, target: PublishedTarget) -> Path:
        return self.client.fetch(target.path, target.sha256, target.length, self.downloads)


def make_repository(folder: Path, now: datetime, settings: RepositorySettings | None = None) -> Repository:
    return Repository.create(
        folder / "repository" / "metadata", folder / "repository" / "targets", folder / "keys", now, settings
    )


def make_house(folder: Path) -> House:
    repository = make_repository(folder, START)
    recorder = Recorder(create_app(folder / "repository"))
    return House(folder, SettableClock(START), repository, recorder)


def noise(size: int, seed: str = "noise") -> bytes:
    """Bytes that repeat nowhere, so that a piece put in the wrong place is noticed."""
    blocks = (hashlib.sha256(f"{seed}{number}".encode()).digest() for number in range(size // 32 + 1))
    return b"".join(blocks)[:size]
