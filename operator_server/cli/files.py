"""Reading what people hand in."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import typer
from rich.progress import track
from sqlalchemy import Connection, Engine

from operator_server.cli.common import CommandError, err, out, show_json
from operator_server.parties import PartyError
from operator_server.store.store import transact

_FAULTS_SHOWN = 50
_AT_ONCE = 100

Row = dict[str, str]


def _csv_rows(file: Path, needed: tuple[str, ...], other: tuple[str, ...] = ()) -> list[tuple[int, Row]]:
    """Line number and columns of each row. Raises :class:`CommandError` for a file that is no such CSV.

    A row that has more fields than the header has them under ``""``.
    """
    line = 1
    try:
        with file.open(newline="", encoding="utf-8-sig") as source:
            reader = csv.DictReader(source, restkey="", restval="", strict=True)
            _check_header(file, reader.fieldnames or (), needed, other)
            line = reader.line_num + 1
            rows = []
            for row in reader:
                rows.append((reader.line_num, row))
                line = reader.line_num + 1
            return rows
    except csv.Error as error:
        raise CommandError(f"{file}: the row from line {line} on cannot be read: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: cannot be read: {error}") from None


def _check_header(file: Path, header: Sequence[str], needed: tuple[str, ...], other: tuple[str, ...]) -> None:
    """A column that nobody reads would be left out without a word."""
    if missing := [name for name in needed if name not in header]:
        raise CommandError(f"{file}: line 1: the header lacks {', '.join(missing)}")
    if twice := [name for name, times in Counter(header).items() if times > 1]:
        raise CommandError(f"{file}: line 1: the header has {', '.join(twice)} twice")
    if unknown := [name for name in header if name not in (*needed, *other)]:
        known = ", ".join((*needed, *other))
        raise CommandError(f"{file}: line 1: unknown column {unknown[0]!r}; there are: {known}")


def import_rows(
    engine: Engine,
    file: Path,
    needed: tuple[str, ...],
    take: Callable[[Connection, Row], bool],
    done: str,
    as_json: bool = False,
    other: tuple[str, ...] = (),
) -> None:
    """Take each row of a CSV file of the columns ``needed`` and ``other``; ``take`` says whether the row was new.

    Bad rows are told with their line; then the command ends with exit code 1. ``take`` must refuse a row by
    :class:`PartyError` or :class:`CommandError` before it writes anything. Rows are committed by the hundred, so that
    a server that is running waits for none of it; an import that was broken off is repeated.
    """
    rows = _csv_rows(file, needed, other)
    new, same, faults = 0, 0, []

    def take_some(connection: Connection, portion: Sequence[tuple[int, Row]]) -> None:
        nonlocal new, same
        for number, row in portion:
            try:
                if "" in row:
                    raise CommandError("has more fields than the header; put what holds a comma into quotes")
                if take(connection, row):
                    new += 1
                else:
                    same += 1
            except (PartyError, CommandError) as error:
                faults.append(f"{file}: line {number}: {error}")

    starts = range(0, len(rows), _AT_ONCE)
    for start in track(starts, description="Importing", transient=True, console=err, disable=not err.is_terminal):
        portion = rows[start : start + _AT_ONCE]
        transact(engine, partial(take_some, portion=portion))
    if as_json:
        show_json({done: new, "known": same, "refused": len(faults), "faults": faults})
    else:
        for fault in faults[:_FAULTS_SHOWN]:
            out.print(fault)
        if len(faults) > _FAULTS_SHOWN:
            out.print(f"... and {len(faults) - _FAULTS_SHOWN} more")
        out.print(f"{new} {done}, {same} known already, {len(faults)} refused.")
    if faults:
        raise typer.Exit(1)
