"""A PostgreSQL server of one's own: made in a temporary folder, reached by a Unix socket alone, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class PostgresMissing(RuntimeError):
    """There are no server programs on this machine, or they cannot be run; the text says what is missing."""


def programs() -> Path:
    """The folder with ``initdb`` and ``postgres`` of the newest version. Raises :class:`PostgresMissing`."""
    found = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda folder: int(folder.parent.name) if folder.parent.name.isdecimal() else 0,
    )
    if found:
        return found[-1]
    beside = shutil.which("initdb")
    if beside is None:
        raise PostgresMissing("no PostgreSQL server programs in /usr/lib/postgresql/*/bin or on PATH")
    return Path(beside).resolve().parent


@contextmanager
def throwaway_postgres(*, durable: bool = False) -> Iterator[str]:
    """The URL of a fresh server's database. Without ``durable`` commits do not wait for the disk.

    A server refuses to run as root; then it runs as ``postgres`` or, where there is none, as ``nobody``.
    """
    folder = programs()
    user = _server_user()
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        home.chmod(0o755)
        data = home / "data"
        data.mkdir(mode=0o700)
        if user is not None:
            os.chown(home, user.pw_uid, user.pw_gid)
            os.chown(data, user.pw_uid, user.pw_gid)
        _run(user, folder / "initdb", "-D", data, "-U", "tollgate", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        options = {
            "listen_addresses": "''",
            "unix_socket_directories": str(home),
            "fsync": "on" if durable else "off",
            "synchronous_commit": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
            "max_connections": "60",
        }
        text = " ".join(f"-c {key}={value}" for key, value in options.items())
        control = (folder / "pg_ctl", "-D", data, "-w", "-t", "60")
        _run(user, *control, "-l", home / "log", "-o", text, "start")
        try:
            yield f"postgresql+psycopg://tollgate@/postgres?host={home}"
        finally:
            _run(user, *control, "-m", "immediate", "stop")


def _server_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresMissing("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _run(user: pwd.struct_passwd | None, *command: object) -> None:
    words = [str(word) for word in command]
    result = subprocess.run(
        words, capture_output=True, text=True, cwd="/",
        user=None if user is None else user.pw_uid, group=None if user is None else user.pw_gid,
        extra_groups=None if user is None else [],
    )  # fmt: skip
    if result.returncode:
        raise PostgresMissing(f"{words[0]} failed: {result.stderr.strip() or result.stdout.strip()}")
