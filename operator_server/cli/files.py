"""Reading what people hand in."""

from __future__ import annotations

import csv
from pathlib import Path

from operator_server.cli.common import CommandError


def csv_rows(file: Path, needed: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Line number and columns of each row. Raises :class:`CommandError` for a file that is no such CSV."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as source:
            reader = csv.DictReader(source)
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise CommandError(f"{file}: line 1: the header lacks {', '.join(missing)}")
            return [
                (reader.line_num, {key: value or "" for key, value in row.items() if key is not None}) for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CommandError(f"{file}: cannot be read: {error}") from None
