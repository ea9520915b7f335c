"""What the web role answers, over a real connection."""

from __future__ import annotations

import asyncio
import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from delivery_samples import House, noise, running

from operator_server.web.app import create_app
from operator_server.web.server import EmbeddedServer, bind, make_config, serve_here

CONTENT = noise(1000)
Ask = Callable[..., tuple[http.client.HTTPResponse, bytes]]


@pytest.fixture
def ask(house: House) -> Ask:
    port = urlsplit(house.base_url).port

    def ask(
        path: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    return ask


@pytest.fixture
def path(house: House) -> str:
    target = house.publish("tool/1.0/f", CONTENT)
    return f"/repository/targets/tool/1.0/{target.sha256.hex()}.f"


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [("bytes=0-0", 0, 1), ("bytes=100-199", 100, 200), ("bytes=990-", 990, 1000), ("bytes=-7", 993, 1000)],
)
def test_a_range_is_answered_with_exactly_its_bytes(ask: Ask, path: str, asked: str, begin: int, end: int) -> None:
    response, body = ask(path, {"Range": asked})
    assert response.status == 206
    assert response.headers["Content-Range"] == f"bytes {begin}-{end - 1}/1000"
    assert body == CONTENT[begin:end]


def test_a_range_beyond_the_end_cannot_be_satisfied(ask: Ask, path: str) -> None:
    response, _ = ask(path, {"Range": "bytes=1000-"})
    assert response.status == 416
    assert response.headers["Content-Range"] == "bytes */1000"


def test_a_range_in_other_units_is_ignored(ask: Ask, path: str) -> None:
    response, body = ask(path, {"Range": "lines=1-2"})
    assert (response.status, body) == (200, CONTENT)


def test_if_range_gives_the_range_of_the_same_file_and_all_of_another(ask: Ask, path: str) -> None:
    etag = ask(path, method="HEAD")[0].headers["ETag"]
    response, body = ask(path, {"Range": "bytes=500-", "If-Range": etag})
    assert (response.status, body) == (206, CONTENT[500:])
    response, body = ask(path, {"Range": "bytes=500-", "If-Range": '"another"'})
    assert (response.status, body) == (200, CONTENT)


def test_a_whole_file_comes_with_its_length_and_may_be_kept_for_ever(ask: Ask, path: str) -> None:
    response, body = ask(path)
    assert (response.status, body) == (200, CONTENT)
    assert response.headers["Content-Length"] == "1000"
    assert response.headers["Accept-Ranges"] == "bytes"
    assert "immutable" in response.headers["Cache-Control"]


def test_the_timestamp_is_never_taken_from_a_cache(ask: Ask, house: House) -> None:
    response, body = ask("/repository/metadata/timestamp.json")
    assert response.headers["Cache-Control"] == "no-cache"
    assert body == (house.served / "metadata" / "timestamp.json").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/repository/targets/../../keys/root.pem",
        "/repository/targets/..%2f..%2fkeys%2froot.pem",
        "/repository/metadata/%2e%2e/%2e%2e/keys/root.pem",
        "/repository/metadata/..%5c..%5ckeys%5croot.pem",
        "/repository/targets//etc/passwd",
        "/repository/targets/%2fetc%2fpasswd",
        "/repository/targets/link.pem",
        "/repository/targets/.staging/0",
        "/repository/targets/tool/.hidden",
        "/repository/targets/%00",
        "/repository/targets/" + "a" * 300,
        "/repository/targets/tool",
        "/repository/targets/",
        "/repository/",
        "/repository/keys/root.pem",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/",
    ],
)
def test_nothing_but_the_repository_can_be_reached(ask: Ask, house: House, path: str) -> None:
    targets = house.served / "targets"
    (targets / ".staging").mkdir()
    (targets / ".staging" / "0").write_bytes(b"SECRET")
    (targets / "tool").mkdir()
    (targets / "tool" / ".hidden").write_bytes(b"SECRET")
    (targets / "link.pem").symlink_to(house.folder / "keys" / "root.pem")
    response, body = ask(path)
    assert response.status == 404
    assert b"SECRET" not in body
    assert b"PRIVATE KEY" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed_over_http(ask: Ask, path: str, method: str) -> None:
    assert ask(path, method=method)[0].status == 405
    assert ask("/repository/metadata/timestamp.json", method=method)[0].status == 405
    assert ask(path)[1] == CONTENT


def test_health_tells_whether_there_is_a_repository_to_serve(ask: Ask, house: House) -> None:
    assert ask("/health")[0].status == 200
    (house.served / "metadata" / "timestamp.json").unlink()
    response, body = ask("/health")
    assert response.status == 503
    assert b"no repository" in body


def test_a_taken_port_is_named() -> None:
    with bind("127.0.0.1", 0) as taken, pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1 port"):
        bind("127.0.0.1", taken.getsockname()[1])


def test_inside_a_running_loop_the_process_keeps_its_signal_handlers(tmp_path: Path) -> None:
    async def trial() -> tuple[object, object]:
        server = EmbeddedServer(make_config(create_app(tmp_path)))
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        running = asyncio.create_task(serve_here(server, bind("127.0.0.1", 0)))
        while not server.started:
            await asyncio.sleep(0.01)
        during = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        server.should_exit = True
        await running
        return before, during

    before, during = asyncio.run(trial())
    assert during == before


def test_a_server_over_an_empty_folder_answers_until_a_repository_appears(tmp_path: Path) -> None:
    with running(create_app(tmp_path)) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/repository/metadata/timestamp.json")
        assert connection.getresponse().status == 404
        connection.close()


SERVER = """
import sys
from pathlib import Path
from operator_server.web.app import create_app
from operator_server.web.server import serve

serve(create_app(Path(sys.argv[1])), "127.0.0.1", int(sys.argv[2]))
"""


def test_a_process_of_its_own_serves_until_it_is_terminated(house: House) -> None:
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(house.served), str(port)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert health_of(port, patience=20) == 200
        process.terminate()
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGTERM
    assert output == b""


def health_of(port: int, patience: float) -> int:
    """The status of ``/health``, asked for until somebody listens."""
    until = time.monotonic() + patience
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        finally:
            connection.close()
