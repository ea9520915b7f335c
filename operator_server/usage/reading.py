"""Files of usage records: CSV, JSON lines (CloudEvents too) and Parquet, plain or compressed, read line by line."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import duckdb
import msgspec

from signalling.clock import from_micros

Form = Literal["csv", "jsonl", "parquet"]

_FORMS: Mapping[str, Form] = {
    ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet",
}  # fmt: skip
_OPENERS: Mapping[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
_ROWS_AT_ONCE = 10_000
_MEMORY = "256MB"


class UnreadableFile(ValueError):
    """A file that cannot be read as usage; the text says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """The fields of one record, at line ``number`` (of a Parquet file: row); ``fault``, where it could not be read.

    ``text`` is the line as it stands where there are no fields.
    """

    number: int
    fields: Mapping[str, Any]
    fault: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """An open file: its lines, its form, CSV's columns, and how far it was read, between 0 and 1."""

    lines: Iterator[Line]
    form: Form
    columns: tuple[str, ...]
    progress: Callable[[], float]


def form_of(path: Path) -> tuple[Form, str]:
    """Form and compression by the file's name. Raises :class:`UnreadableFile`."""
    compression = path.suffix if path.suffix in (*_OPENERS, ".zst") else ""
    suffix = Path(path.name.removesuffix(compression)).suffix
    if suffix not in _FORMS or (suffix == ".parquet" and compression):
        known = ", ".join(_FORMS)
        raise UnreadableFile(f"{path}: its name must end in {known}; all but Parquet also in .gz, .bz2, .xz or .zst")
    return _FORMS[suffix], compression


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a file of usage records. Raises :class:`UnreadableFile`, here and while its lines are read."""
    form, compression = form_of(path)
    try:
        if form == "parquet":
            with duckdb.connect(config={"memory_limit": _MEMORY, "threads": 1}) as database:
                yield _parquet(database, path)
            return
        size = max(1, path.stat().st_size)
        with path.open("rb") as raw:
            if compression == ".zst":
                with duckdb.connect(config={"memory_limit": _MEMORY, "threads": 1}) as database:
                    yield _text(path, form, _zstd_lines(database, path), lambda: 0.0)
            else:
                opened = _OPENERS[compression](raw) if compression else raw
                lines = io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")
                yield _text(path, form, lines, lambda: raw.tell() / size if not raw.closed else 1.0)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError, csv.Error, duckdb.Error) as error:
        raise UnreadableFile(f"{path}: cannot be read as {form}{compression}: {error}") from None


def _text(path: Path, form: Form, lines: Iterator[str] | IO[str], progress: Callable[[], float]) -> Source:
    if form == "jsonl":
        return Source(_json_lines(lines), form, (), progress)
    reader = csv.reader(lines, strict=True)
    columns = tuple(name.strip() for name in next(reader, []))
    if "id" not in columns or "quantity" not in columns:
        raise UnreadableFile(
            f"{path}: line 1: is {', '.join(columns) or 'empty'}; "
            "a header is needed: source,id,subscriber,tariff,quantity,at,destination"
        )
    return Source(_csv_lines(reader, columns), form, columns, progress)


def _csv_lines(reader: Any, columns: tuple[str, ...]) -> Iterator[Line]:
    for values in reader:
        if not values:
            continue
        fields = dict(zip(columns, values, strict=False))
        wrong = f"has {len(values)} columns, the header {len(columns)}" if len(values) != len(columns) else ""
        yield Line(reader.line_num, fields, wrong)


def _json_lines(lines: Iterator[str] | IO[str]) -> Iterator[Line]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        try:
            fields = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            yield Line(number, {}, f"is no JSON: {error}", text)
            continue
        if isinstance(fields, dict):
            yield Line(number, fields)
        else:
            yield Line(number, {}, "is no JSON object", text)


def _zstd_lines(database: duckdb.DuckDBPyConnection, path: Path) -> Iterator[str]:
    """The lines as they stand, without empty ones: one column, which nothing separates or quotes."""
    database.execute(
        "SELECT line FROM read_csv(?, columns = {'line': 'VARCHAR'}, delim = chr(1), quote = '', escape = '',"
        " header = false, auto_detect = false, compression = 'zstd', null_padding = false, nullstr = chr(2))",
        [str(path)],
    )
    while rows := database.fetchmany(_ROWS_AT_ONCE):
        for (line,) in rows:
            yield f"{line}\n"


def _parquet(database: duckdb.DuckDBPyConnection, path: Path) -> Source:
    file = [str(path)]
    total = cast(tuple[int], database.execute("SELECT count(*) FROM read_parquet(?)", file).fetchone())[0]
    described = database.execute("DESCRIBE SELECT * FROM read_parquet(?)", file).fetchall()
    columns = tuple(str(column[0]) for column in described)
    # Instants as integers, since DuckDB's own need a library for their zone.
    instants = {name for name, kind, *_ in described if kind == "TIMESTAMP WITH TIME ZONE"}
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in columns}
    chosen = ", ".join(f"epoch_us({quoted[name]})" if name in instants else quoted[name] for name in columns)
    database.execute(f"SELECT {chosen} FROM read_parquet(?)", file)
    read = [0]

    def lines() -> Iterator[Line]:
        while fetched := database.fetchmany(_ROWS_AT_ONCE):
            for values in fetched:
                read[0] += 1
                fields = dict(zip(columns, values, strict=True))
                for name in instants:
                    fields[name] = None if fields[name] is None else from_micros(fields[name])
                yield Line(read[0], fields)

    return Source(lines(), "parquet", (), lambda: read[0] / max(1, total))
