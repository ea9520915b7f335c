"""``tollgate`` and ``tollgate-terminal`` for documents that call them dozens of times.

Starting either takes most of a second, nearly all of it imports. Here one process imports them once; the scripts that
are put on the path hand it their arguments, folder, environment and standard streams, and it forks a child for each,
which runs the console script's own function.
"""

from __future__ import annotations

import array
import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_SCRIPT = """\
#!{python} -SE
import array, json, os, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect({address!r})
request = json.dumps([{name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
streams = array.array("i", [0, 1, 2])
link.sendmsg([len(request).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
link.sendall(request)
sys.exit(int(link.recv(16) or b"99"))
"""
NAMES = ("tollgate", "tollgate-terminal")


@contextlib.contextmanager
def quick_commands(folder: Path, environment: dict[str, str]) -> Iterator[Path]:
    """A folder for the path, with both commands in it, as long as the context lasts."""
    scripts = folder / "commands"
    scripts.mkdir()
    address = str(folder / "commands.socket")
    for name in NAMES:
        script = scripts / name
        script.write_text(_SCRIPT.format(python=sys.executable, address=address, name=name))
        script.chmod(0o755)
    server = subprocess.Popen([sys.executable, __file__, address], env=environment)
    try:
        end = time.monotonic() + 40
        while not os.path.exists(address):
            assert server.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        yield scripts
    finally:
        server.kill()
        server.wait()


def _serve(address: str) -> None:
    import terminal_sim.cli
    from operator_server.cli.lazy import COMMANDS
    from operator_server.cli.main import main as tollgate

    for place in COMMANDS.values():
        importlib.import_module(f"operator_server.cli.{place.split(':')[0]}")
    functions = dict(zip(NAMES, (tollgate, terminal_sim.cli.main), strict=True))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address + ".new")
    listener.listen()
    os.rename(address + ".new", address)
    while True:
        link, _ = listener.accept()
        if os.fork() == 0:
            _run(link, functions)
        link.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _run(link: socket.socket, functions: dict[str, object]) -> None:
    streams = array.array("i")
    head, ancillary, _, _ = link.recvmsg(4, socket.CMSG_SPACE(3 * streams.itemsize))
    streams.frombytes(ancillary[0][2])
    length = int.from_bytes(head, "big")
    name, arguments, folder, environment = json.loads(link.recv(length, socket.MSG_WAITALL))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [name, *arguments]
    threading.Thread(target=_end_with_script, args=(link,), daemon=True).start()
    code: object = 0
    try:
        functions[name]()  # type: ignore[operator]  # one of the two main functions
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - told as the interpreter tells it
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    link.send(str(code if isinstance(code, int) else 1 if code else 0).encode())
    os._exit(0)


def _end_with_script(link: socket.socket) -> None:
    """A signal ends the script, and that is to end the command."""
    with contextlib.suppress(OSError):
        link.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _serve(sys.argv[1])
