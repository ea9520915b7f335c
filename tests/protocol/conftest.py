"""The server that a terminal of these tests talks to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from protocol_server import Server

TERMINALS = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two releases and some terminals, running."""
    server = Server(tmp_path_factory.mktemp("operator"))
    chess, tones = server.folder / "chess.bin", server.folder / "tones"
    chess.write_bytes(b"chess " * 50_000)
    tones.mkdir()
    (tones / "one.txt").write_text("ding")
    server.command("publish", str(chess), "--name", "chess", "--version", "1.2.0")
    server.command("publish", str(tones), "--name", "ringtones-classic", "--version", "1.0")
    server.command("terminal", "bundle", "--out", str(server.folder / "bundle.json"))
    server.enroll(TERMINALS)
    server.start()
    yield server
    server.stop()
