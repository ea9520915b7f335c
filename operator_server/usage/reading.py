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
csv.field_size_limit(16 * 2**20)
_MEMORY = "256MB"


class UnreadableFile(ValueError):
    """A file that cannot be read as usage; the text says why."""


class Line(msgspec.Struct, frozen=True, gc=False):
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
                # What is no UTF-8 is a fault of its own record, whose bytes stay as they are.
                lines = io.TextIOWrapper(opened, encoding="utf-8-sig", errors="surrogateescape", newline="")
                yield _text(path, form, lines, lambda: raw.tell() / size if not raw.closed else 1.0)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError, csv.Error, duckdb.Error) as error:
        raise UnreadableFile(f"{path}: cannot be read as {form}{compression}: {error}") from None


def _text(path: Path, form: Form, lines: Iterator[str] | IO[str], progress: Callable[[], float]) -> Source:
    if form == "jsonl":
        return Source(_json_lines(path, lines), form, (), progress)
    raw = _Raw(lines)
    reader = csv.reader(raw, strict=True)
    columns = tuple(name.strip() for name in next(reader, []))
    if "id" not in columns or "quantity" not in columns:
        shown = ", ".join(columns).encode(errors="replace").decode()
        raise UnreadableFile(
            f"{path}: line 1: is {shown or 'empty'}; "
            "a header is needed: source,id,subscriber,tariff,quantity,at,destination"
        )
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise UnreadableFile(f"{path}: line 1: column {twice[0]} stands twice in the header")
    return Source(_csv_lines(raw, reader, columns), form, columns, progress)


class _Raw:
    """Lines as they stand, with those of the record that is being read."""

    def __init__(self, lines: Iterator[str] | IO[str]) -> None:
        self._lines = iter(lines)
        self.record: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.record.append(line)
        return line


def _csv_lines(raw: _Raw, reader: Any, columns: tuple[str, ...]) -> Iterator[Line]:
    while True:
        raw.record.clear()
        first = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Line(first, {}, f"is no CSV: {error}", "".join(raw.record).strip("\r\n"))
            continue
        if not values:
            continue
        fields = dict(zip(columns, values, strict=False))
        if len(values) == len(columns):
            yield Line(reader.line_num, fields)
        else:
            wrong = f"has {len(values)} columns, the header {len(columns)}"
            yield Line(reader.line_num, fields, wrong, "".join(raw.record).strip("\r\n"))


def _json_lines(path: Path, lines: Iterator[str] | IO[str]) -> Iterator[Line]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        try:
            fields = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
            if number == 1 and text.startswith("["):
                raise UnreadableFile(
                    f"{path}: line 1: is the begin of one JSON array; write an object a line"
                ) from None
            reason = "not UTF-8" if isinstance(error, UnicodeEncodeError) else str(error)
            yield Line(number, {}, f"is no JSON: {reason}", text)
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
                yield Line(read[0], *_dated(fields, instants))

    return Source(lines(), "parquet", (), lambda: read[0] / max(1, total))


def _dated(fields: dict[str, Any], instants: set[str]) -> tuple[dict[str, Any], str]:
    """The fields with their instants, and the fault of the first that is none."""
    for name in instants:
        try:
            fields[name] = None if fields[name] is None else from_micros(fields[name])
        except (OverflowError, ValueError):
            return fields, f"{name}: {fields[name]} microseconds since 1970 are out of range"
    return fields, ""
