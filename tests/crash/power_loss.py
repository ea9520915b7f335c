"""A disk that loses its power: what a program wrote is recorded, then laid out anew as a crash could have left it.

SIGKILL leaves the page cache as it is, so it proves nothing about what was not flushed. Here every change that a
program makes to the files of a folder is recorded by strace, in order, with its flushes. A crash at some point leaves
each file with all that was flushed before that point, and of what came later any part: whole writes may be missing or
out of order, and a write may be torn at a sector. What a mapped file (SQLite's ``-shm``) holds is lost.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
_TRACED = "pwrite64,write,fdatasync,fsync,ftruncate,unlink,unlinkat"
_CALL = re.compile(r"^\d+\s+(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>-?\d+)")
_UNFINISHED = re.compile(r"^(?P<pid>\d+)\s+(?P<begin>.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(?P<pid>\d+)\s+<\.\.\. \w+ resumed>(?P<rest>.*)$")
_FILE = re.compile(r"^(?P<fd>\d+)<(?P<path>[^>]*)>")
_DATA = re.compile(r'"(?P<hex>(?:\\x[0-9a-f]{2})*)"(?P<cut>\.\.\.)?, (?P<length>\d+)(?:, (?P<offset>\d+))?$')


@dataclass(frozen=True)
class Change:
    """One change to a file: ``data`` at ``offset``, a new length, or its removal (``gone``)."""

    file: str
    offset: int = 0
    data: bytes = b""
    length: int | None = None
    gone: bool = False


@dataclass(frozen=True)
class Flush:
    """All changes to the file before this are on the disk."""

    file: str


@dataclass(frozen=True)
class Acknowledged:
    """From here on somebody relies on it."""

    name: str


Step = Change | Flush | Acknowledged


def record(folder: Path, program: list[str], acknowledged: Path) -> list[Step]:
    """Run a program and record what it does to the files of ``folder``, and when it acknowledges what."""
    trace = folder.parent / f"{folder.name}.trace"
    command = ["strace", "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={_TRACED}", "-o", str(trace)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([*command, sys.executable, *program], check=True, timeout=300, env=environment)
    steps = list(_steps(trace, folder.resolve(), acknowledged.resolve()))
    trace.unlink()
    return steps


def _steps(trace: Path, folder: Path, acknowledged: Path) -> Iterator[Step]:
    for name, arguments, result in _calls(trace):
        file = _FILE.match(arguments)
        if result < 0 or (file is None and not name.startswith("unlink")):
            continue
        if file is None:
            path = Path(_decoded(arguments.rsplit('"', 2)[1]).decode())
            if path.parent == folder:
                yield Change(path.name, gone=True)
            continue
        path = Path(_decoded(file["path"]).decode() if "\\x" in file["path"] else file["path"])
        if path == acknowledged:
            data, _ = _written(arguments)
            yield from (Acknowledged(line) for line in data.decode().splitlines())
        elif path.parent == folder and not path.name.endswith("-shm"):
            if name in ("fsync", "fdatasync"):
                yield Flush(path.name)
            elif name == "ftruncate":
                yield Change(path.name, length=int(arguments.rsplit(", ", 1)[1]))
            elif name == "pwrite64":
                data, offset = _written(arguments)
                assert offset is not None
                yield Change(path.name, offset, data[:result])
            else:
                raise AssertionError(f"{name} on {path}: a write whose place is not recorded")


def _calls(trace: Path) -> Iterator[tuple[str, str, int]]:
    """System calls in the order of their end: until then, nothing is promised."""
    begun: dict[str, str] = {}
    for line in trace.read_text(encoding="ascii").splitlines():
        if unfinished := _UNFINISHED.match(line):
            begun[unfinished["pid"]] = f"{unfinished['pid']} {unfinished['begin']}"
            continue
        whole = line
        if resumed := _RESUMED.match(line):
            whole = begun.pop(resumed["pid"]) + resumed["rest"]
        if call := _CALL.match(whole):
            yield call["name"], call["arguments"], int(call["result"])


def _written(arguments: str) -> tuple[bytes, int | None]:
    found = _DATA.search(arguments)
    assert found is not None, arguments[:200]
    assert not found["cut"], "strace cut a write short"
    return _decoded(found["hex"]), None if found["offset"] is None else int(found["offset"])


def _decoded(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


class Disk:
    """The files of a folder as they were before the recording, and what a crash makes of them."""

    def __init__(self, before: Path, steps: list[Step]) -> None:
        self._before = before
        self._steps = steps

    def crash(self, at: int, chosen: random.Random, target: Path) -> list[str]:
        """Lay out in ``target`` what a crash after ``at`` steps leaves; what was acknowledged until then."""
        shutil.copytree(self._before, target)
        last_flush: dict[str, int] = {}
        for number, step in enumerate(self._steps[:at]):
            if isinstance(step, Flush):
                last_flush[step.file] = number
        keep = chosen.choice((0.0, 0.5, 0.9))
        promised: list[str] = []
        for number, step in enumerate(self._steps[:at]):
            if isinstance(step, Acknowledged):
                promised.append(step.name)
            elif isinstance(step, Change):
                if number < last_flush.get(step.file, -1):
                    _apply(target, step)
                elif chosen.random() < keep:
                    _apply(target, _torn(step, chosen))
        return promised


def _torn(change: Change, chosen: random.Random) -> Change:
    if len(change.data) <= SECTOR or chosen.random() < 0.7:
        return change
    sectors = chosen.randrange(1, (len(change.data) + SECTOR - 1) // SECTOR)
    return Change(change.file, change.offset, change.data[: sectors * SECTOR])


def _apply(folder: Path, change: Change) -> None:
    path = folder / change.file
    if change.gone:
        path.unlink(missing_ok=True)
        return
    with path.open("r+b" if path.exists() else "w+b") as file:
        if change.length is not None:
            file.truncate(change.length)
        else:
            file.seek(change.offset)
            file.write(change.data)
