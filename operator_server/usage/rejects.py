"""Refused records: written beside their file with line and reason, in a form that is read again once it is mended."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from operator_server.usage.reading import Form, Line
from operator_server.usage.records import REJECTED_LINE, REJECTED_REASON, REJECTED_TEXT

_ADDED = (REJECTED_LINE, REJECTED_REASON, REJECTED_TEXT)


class Rejects:
    """The rejects of one run over ``source``; their file is there once :meth:`close` is called, if there are any.

    A rejects file of an earlier run is kept, since somebody may be mending it; then a number is added to the name.
    """

    def __init__(self, source: Path, form: Form, columns: Sequence[str]) -> None:
        self._ending = "csv" if form == "csv" else "jsonl"
        self._source = source
        self._columns = [name for name in columns if name not in _ADDED]
        self._new = source.with_name(f"{source.name}.rejects.{self._ending}.new")
        self._file: IO[str] | None = None
        self.count = 0

    def add(self, line: Line, reason: str) -> None:
        """Note a refused record."""
        if self._file is None:
            # Bytes that are no UTF-8 stay as they were.
            self._file = self._new.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            if self._ending == "csv":
                csv.writer(self._file).writerow([*self._columns, *_ADDED])
        self.count += 1
        fields: dict[str, Any] = {key: value for key, value in line.fields.items() if key not in _ADDED}
        if self._ending == "csv":
            given = [fields.get(name, "") for name in self._columns]
            csv.writer(self._file).writerow([*given, line.number, reason, line.text])
            return
        if line.text:
            fields[REJECTED_TEXT] = line.text
        fields |= {REJECTED_LINE: line.number, REJECTED_REASON: reason}
        self._file.write(json.dumps(fields, ensure_ascii=False, default=str) + "\n")

    def close(self) -> Path | None:
        """The rejects file, or ``None`` where nothing was refused."""
        if self._file is None:
            return None
        self._file.close()
        number, path = 1, self._named("")
        while path.exists() and path.read_bytes() != self._new.read_bytes():
            number += 1
            path = self._named(f"-{number}")
        self._new.replace(path)
        return path

    def discard(self) -> None:
        """Forget the run's rejects; it did not come to its end."""
        if self._file is not None:
            self._file.close()
            self._new.unlink(missing_ok=True)

    def _named(self, number: str) -> Path:
        return self._source.with_name(f"{self._source.name}.rejects{number}.{self._ending}")
