"""The documents as tests read them: fenced blocks with the comment before them, and tables.

``<!-- run -->`` before a ``sh`` block says that tests run it; ``<!-- run: server -->`` that a server is up meanwhile.
``<!-- shows -->`` before a ``text`` block says that each of its lines stands in the output of the run block before it;
``...`` stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```(?P<language>\w*)$")
_COMMENT = re.compile(r"^<!-- (?P<marker>.+) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block. ``marker`` is the comment on the line before it, ``heading`` the last heading above it."""

    language: str
    marker: str
    heading: str
    text: str
    line: int


@dataclass(frozen=True)
class Table:
    """A table under a heading: its header and its rows, cells without the surrounding blanks."""

    heading: str
    header: list[str]
    rows: list[list[str]]


def all_documents() -> list[Path]:
    """README.md and every page of docs/."""
    return [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    found: list[Block] = []
    heading = marker = language = ""
    body: list[str] | None = None
    start = 0
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        if body is not None:
            if line == "```":
                found.append(Block(language, marker, heading, "\n".join(body) + "\n", start))
                body, marker = None, ""
            else:
                body.append(line)
        elif fence := _FENCE.match(line):
            language, body, start = fence["language"], [], number
        elif comment := _COMMENT.match(line):
            marker = comment["marker"]
        elif line:
            marker = ""
            if line.startswith("#"):
                heading = line.lstrip("# ")
    assert body is None, f"{document.name}: a fenced block is not closed"
    return found


def tables(document: Path) -> Iterator[Table]:
    """The tables of a document, in order; none of those inside fenced blocks."""
    heading, rows, fenced = "", [], False
    for line in [*document.read_text(encoding="utf-8").splitlines(), ""]:
        fenced ^= line.startswith("```")
        if line.startswith("|") and not fenced:
            rows.append([cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
            continue
        if rows:
            yield Table(heading, rows[0], rows[2:])
            rows = []
        if line.startswith("#") and not fenced:
            heading = line.lstrip("# ")


def code(cell: str) -> str:
    """The text of a cell that is one piece of code."""
    return cell.strip("`")
