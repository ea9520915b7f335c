"""The application behind uvicorn, on real sockets: slow clients, and the stream of what happens."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from operator_samples import House
from sqlalchemy import Connection
from web_samples import Site

from operator_server.store.feed import record, sequence
from operator_server.store.store import transact
from operator_server.web import feed, gate, server
from operator_server.web.server import EmbeddedServer, bind, make_config, serve_here


@contextlib.contextmanager
def served(app: Any) -> Iterator[int]:
    """The application on a port of the loopback."""
    listener = bind("127.0.0.1", 0)
    port: int = listener.getsockname()[1]
    running = EmbeddedServer(make_config(app))
    thread = threading.Thread(target=lambda: asyncio.run(serve_here(running, listener)), daemon=True)
    thread.start()
    try:
        yield port
    finally:
        running.should_exit = running.force_exit = True
        thread.join(10)


@pytest.fixture
def port(site: Site) -> Iterator[int]:
    with served(site.app) as port:
        yield port


def happen(house: House, *kinds: str) -> None:
    def write(connection: Connection) -> None:
        for kind in kinds:
            record(connection, house.clock.now(), kind, account="A-1")
            sequence(connection)

    transact(house.engine, write)


def listened(port: int, token: str, count: int, *, last: str = "", within: float = 10.0) -> list[dict[str, str]]:
    """The next ``count`` events of a stream."""
    headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": last} if last else {})
    found: list[dict[str, str]] = []
    told: dict[str, str] = {}
    with httpx2.stream(
        "GET", f"http://127.0.0.1:{port}/api/v1/events/stream", headers=headers, timeout=within
    ) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if line:
                told[name] = value
            elif "id" in told:
                found.append(told)
                told = {}
            if len(found) == count:
                break
    return found


def test_a_listener_goes_on_where_it_was_cut_off_and_misses_nothing(site: Site, port: int) -> None:
    happen(site.house, "first", "second", "third")
    token = site.token("support")
    places = [each["id"] for each in listened(port, token, 3, last="0")][-3:]
    again = listened(port, token, 2, last=places[0])
    assert [each["id"] for each in again] == places[1:]


def test_what_happens_is_heard_by_everybody_who_listens(site: Site, port: int) -> None:
    happen(site.house, "before")
    token = site.token("support")
    heard: list[list[dict[str, str]]] = []
    threads = [threading.Thread(target=lambda: heard.append(listened(port, token, 2))) for _ in range(5)]
    for thread in threads:
        thread.start()
    hub_of = site.app.state
    end = time.monotonic() + 10
    while time.monotonic() < end and (not hasattr(hub_of, "hub") or len(hub_of.hub._queues) < 5):
        time.sleep(0.02)
    happen(site.house, "something", "else")
    for thread in threads:
        thread.join(10)
    assert [[each["event"] for each in one] for one in heard] == [["something", "else"]] * 5
    end = time.monotonic() + 10
    while time.monotonic() < end and hub_of.hub._queues:
        happen(site.house, "noise")
        time.sleep(0.1)
    assert not hub_of.hub._queues


def test_a_stream_ends_with_its_token(site: Site, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "HEARTBEAT_SECONDS", 0.2)
    made = site.logged_on("support").post("/api/v1/tokens", json={"label": "listen", "scopes": ["read"]}).json()
    ended = threading.Event()

    def listen() -> None:
        listened(port, made["token"], 1)
        ended.set()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert not ended.wait(0.6)
    site.logged_on("support").delete(f"/api/v1/tokens/{made['id']}")
    assert ended.wait(5)


def test_a_body_that_trickles_in_is_given_up(site: Site, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        head = (
            f"POST /api/v1/accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {site.token('billing')}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        )
        client.sendall(head.encode() + b"{")
        begun = time.monotonic()
        answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - begun < 3


def test_slow_clients_keep_nobody_waiting(site: Site, port: int) -> None:
    slow = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(50)]
    try:
        for client in slow:
            client.sendall(b"POST /logon HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n")
        begun = time.monotonic()
        headers = {"Authorization": f"Bearer {site.token('support')}"}
        assert httpx2.get(f"http://127.0.0.1:{port}/api/v1/me", headers=headers, timeout=5).status_code == 200
        assert time.monotonic() - begun < 2
    finally:
        for client in slow:
            client.close()


@pytest.mark.parametrize("before", [b"", b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_head_that_does_not_come_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        if before:
            client.sendall(before)
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /health/live HTTP/1.1\r\nHos")
        begun = time.monotonic()
        while client.recv(65536):
            pass
        assert time.monotonic() - begun < 3
