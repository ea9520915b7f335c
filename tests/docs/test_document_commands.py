"""Every block of commands that a document marks as runnable does what the document says."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from document_reader import ROOT, Block, all_documents, blocks
from quick_commands import quick_commands

SERVER_SECONDS = 40
BLOCK_SECONDS = 120

RUNNABLE = {
    path: [block for block in blocks(path) if block.marker in ("run", "run: server")] for path in all_documents()
}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with quick_commands(tmp_path_factory.mktemp("commands"), _environment()) as folder:
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize("document", [path for path, found in RUNNABLE.items() if found], ids=lambda path: path.name)
def test_the_commands_of_a_document_run(document: Path, tmp_path: Path, commands: Path) -> None:
    environment = _workplace(tmp_path, commands)
    found = blocks(document)
    with _server(tmp_path, environment, commands) if _needs_server(document) else contextlib.nullcontext():
        output = ""
        for block in found:
            if block.marker in ("run", "run: server"):
                output = _run(document, block, tmp_path, environment)
            elif block.marker == "shows":
                _check_shown(document, block, output)


def test_each_marker_is_known() -> None:
    unknown = [
        f"{path.name}:{block.line}: {block.marker}"
        for path in all_documents()
        for block in blocks(path)
        if block.marker.startswith(("run", "show")) and block.marker not in ("run", "run: server", "shows")
    ]
    assert not unknown


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
    # The zone is the small operator's, for `date`.
    return kept | {"COLUMNS": "120", "TZ": "CET-1CEST,M3.5.0,M10.5.0/3"}


def _workplace(folder: Path, commands: Path) -> dict[str, str]:
    """A folder as a fresh clone looks to the commands: the configuration and an environment to activate."""
    shutil.copytree(ROOT / "configs", folder / "configs")
    shutil.copy(ROOT / "README.md", folder)
    path = f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/activate").write_text(f"export PATH='{path}'\n")
    return _environment() | {
        "PATH": path,
        "TOLLGATE_LINK__PORT": str(_free_port()),
        "TOLLGATE_WEB__PORT": str(_free_port()),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _needs_server(document: Path) -> bool:
    return any(block.marker == "run: server" for block in RUNNABLE[document])


@contextlib.contextmanager
def _server(folder: Path, environment: dict[str, str], commands: Path) -> Iterator[None]:
    log = folder / "server.log"
    with log.open("wb") as sink:
        command = [commands / "tollgate", "serve", "--single"]
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=sink, stderr=sink)
    try:
        end = time.monotonic() + SERVER_SECONDS
        while "worker: running" not in log.read_text(errors="replace"):
            assert server.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < end, f"the server does not start: {log.read_text(errors='replace')}"
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait()


def _run(document: Path, block: Block, folder: Path, environment: dict[str, str]) -> str:
    bash = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = bash.communicate(timeout=BLOCK_SECONDS)
    finally:
        # A server that a block started is not to outlive it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(bash.pid, signal.SIGKILL)
    assert bash.returncode == 0, f"{document.name}:{block.line} ends with {bash.returncode}:\n{output}"
    return output


def _check_shown(document: Path, block: Block, output: str) -> None:
    plain = _squeezed(output)
    for line in block.text.splitlines():
        wanted = ".*".join(re.escape(_squeezed(part)) for part in line.split("..."))
        assert re.search(wanted, plain), f"{document.name}:{block.line}: {line!r} is not in the output:\n{output}"


def _squeezed(text: str) -> str:
    return "\n".join(re.sub(r"[ \t]+", " ", line).strip() for line in text.splitlines())
