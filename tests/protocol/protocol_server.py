"""A real server with the small operator of configs/, for a terminal that knows it only by docs/protocol.md."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from independent_terminal import Terminal

ROOT = Path(__file__).parents[2]
START_SECONDS = 60


class Server:
    """``tollgate serve --single`` on free ports, with accounts, releases and terminals made by the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "configs", folder / "configs")
        ports = _free_ports(2)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")},
            "TOLLGATE_STORE__DATA": str(folder / "data"),
            "TOLLGATE_LINK__PORT": str(ports[0]),
            "TOLLGATE_WEB__PORT": str(ports[1]),
            "TOLLGATE_CONFIG": str(folder / "configs"),
        }
        self._process: subprocess.Popen[str] | None = None
        self._spare: list[Terminal] = []

    def command(self, *arguments: str) -> str:
        """Run ``tollgate`` with these arguments; what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "operator_server", *arguments],
            env=self._environment, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"tollgate {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self) -> None:
        """Until link and repository are there."""
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", "operator_server", "serve", "--single"],
            env=self._environment, cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        said = []
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        for line in process.stderr:
            said.append(line)
            if line.startswith("worker:"):
                break
        else:
            pytest.fail("the server did not start: " + "".join(said))
        watchdog.cancel()
        threading.Thread(target=process.stderr.read, daemon=True).start()

    def stop(self) -> None:
        """End the server."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_SECONDS)

    def enroll(self, count: int) -> None:
        """Make terminals, each with an account of its own and with the same configuration."""
        for number in range(1, count + 1):
            sections = {
                "hardware": {"model": "independent-1", "architecture": "x86_64", "memory_mib": "2048"},
                "firmware": {"system": "5.1", "radio": "2.2"},
                "base_software": {"python3": "3.11.2", "deb/libc6": "2.36", **{f"lib{n}": "1.0" for n in range(4000)}},
            }
            self._spare.append(Terminal((self.folder / "bundle.json").read_bytes(), f"T-{number}", sections))
        accounts, terminals = self.folder / "accounts.csv", self.folder / "terminals.csv"
        accounts.write_text("id,name,address,credit_limit\n")
        terminals.write_text("terminal,public_key,subscriber\n")
        with accounts.open("a") as account_lines, terminals.open("a") as terminal_lines:
            for terminal in self._spare:
                account = terminal.name.replace("T", "A")
                account_lines.write(f"{account},Ada Byron,Elm 1|20095 Hamburg,20.00\n")
                terminal_lines.write(f"{terminal.name},{terminal.public_key},{account}\n")
        self.command("account", "import", str(accounts))
        self.command("terminal", "import", str(terminals))

    def terminal(self) -> Terminal:
        """A terminal that nobody has used."""
        return self._spare.pop()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports
