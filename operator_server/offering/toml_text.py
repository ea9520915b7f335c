"""TOML as text: written from tables, and the line of a key found in it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_WIDE = 100
_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]\]?\s*(#.*)?$")
_PAIR = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""\[(\d+)\]|"([^"]*)"|'([^']*)'|([^.\[\]\s"']+)""")
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")


def toml_text(document: Mapping[str, Any], within: str = "") -> str:
    """``document`` as TOML that reads back the same; ``None`` is left out. ``within``: a table that it is put in."""
    lines = []
    later = []
    for key, value in document.items():
        if value is None:
            continue
        if isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
            later.append((key, value))
        else:
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, entries in later:
        path = f"{within}.{_key(key)}" if within else _key(key)
        for entry in entries:
            lines += ["", f"[[{path}]]", toml_text(entry, path).rstrip("\n")]
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    return key if _BARE.match(key) else _string(key)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {_value(entry)}" for key, entry in value.items() if entry is not None)
        return f"{{ {pairs} }}" if pairs else "{}"
    entries = [_value(entry) for entry in value]
    line = f"[{', '.join(entries)}]"
    return line if len(line) <= _WIDE else "[\n" + "".join(f"    {entry},\n" for entry in entries) + "]"


def line_of(source: str, key: str) -> int:
    """The line, from 1, where ``key`` (such as ``mode[1].amount``) stands; its table's where it is missing, else 0."""
    wanted = _parts(key)
    best, found = 0, 0
    table: list[str | int] = []
    counts: dict[tuple[str | int, ...], int] = {}
    for number, line in enumerate(source.split("\n"), 1):
        if header := _HEADER.match(line):
            table = _resolved(_parts(header[2]), counts, new=header[1] == "[[")
            path = table
        elif pair := _PAIR.match(line):
            path = [*table, *_parts(pair[1])]
        else:
            continue
        same = 0
        for mine, theirs in zip(path, wanted, strict=False):
            if mine != theirs:
                break
            same += 1
        # A line about something beside what is wanted says less than the table that both are in.
        if same > best and (same == len(path) or same == len(wanted)):
            best, found = same, number
    return found


def line_of_fault(reason: str) -> int:
    """The line that a fault of the TOML itself names, else 0."""
    named = _AT_LINE.search(reason)
    return int(named[1]) if named else 0


def _parts(key: str) -> list[str | int]:
    return [
        int(index) if index else double or single or bare
        for index, double, single, bare in _PART.findall(key)
    ]  # fmt: skip


def _resolved(names: list[str | int], counts: dict[tuple[str | int, ...], int], *, new: bool) -> list[str | int]:
    """The path of a header, with the number of each table that is one of several."""
    path: list[str | int] = []
    for place, name in enumerate(names):
        path.append(name)
        known = tuple(path)
        if new and place == len(names) - 1:
            counts[known] = counts.get(known, -1) + 1
        if known in counts:
            path.append(counts[known])
    return path


def parsed(source: str) -> dict[str, Any]:
    """The tables of a text; empty where it cannot be read."""
    try:
        return tomllib.loads(source)
    except tomllib.TOMLDecodeError:
        return {}
