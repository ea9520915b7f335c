"""Archives of many documents, written as they are read: nothing is held but the document at hand."""

from __future__ import annotations

import re
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, func, select

from charging.invoices.model import InvoiceError
from charging.invoices.pdf import render_pdf
from operator_server.billing.details import with_use
from operator_server.receivables.books import decode
from operator_server.store.accounting import InvoiceRow
from operator_server.store.rows import table
from operator_server.web.problems import Problem

PORTION = 100
MOST_KEPT = 100
MOST_AT_ONCE = 2
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(slots=True)
class Packing:
    """How far an archive is. ``state``: running, done or broken off."""

    period: str
    of: int
    done: int = 0
    state: str = "running"


class Packings:
    """The archives of this process, by the name that the page gave each."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Packing] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, person: str, name: str, period: str, of: int) -> Packing:
        """A new one. Raises :class:`Problem` 503 while :data:`MOST_AT_ONCE` run."""
        with self._lock:
            if sum(packing.state == "running" for packing in self._kept.values()) >= MOST_AT_ONCE:
                raise Problem(
                    503, "two archives are being made; wait until one has ended", headers={"Retry-After": "9"}
                )
            packing = self._kept[person, name] = Packing(period, of)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
            return packing

    def find(self, person: str, name: str) -> Packing | None:
        """The one of this name."""
        return self._kept.get((person, name))


def packings_of(state: Any) -> Packings:
    """Those of an application, by its ``state``: console and API share them, and how many run at once."""
    if not hasattr(state, "packings"):
        state.packings = Packings()
    found: Packings = state.packings
    return found


def count_of(engine: Engine, period: str) -> int:
    """How many invoices a month has."""
    invoice = table(InvoiceRow)
    with engine.connect() as connection:
        query = select(func.count()).select_from(invoice).where(invoice.c.period == period)
        return int(connection.execute(query).scalar_one())


def documents(engine: Engine, period: str) -> Iterator[tuple[str, bytes]]:
    """Names and PDFs of a month's invoices; one that cannot be rendered is named in a text of its own."""
    invoice, last = table(InvoiceRow), ""
    while True:
        # No snapshot is held while the browser takes its time.
        with engine.connect() as connection:
            query = select(invoice.c.id, invoice.c.number, invoice.c.document)
            query = query.where(invoice.c.period == period, invoice.c.id > last).order_by(invoice.c.id).limit(PORTION)
            rows = connection.execute(query).all()
        for row in rows:
            name = re.sub(r"[^A-Za-z0-9._-]", "_", row.number)
            try:
                with engine.connect() as connection:
                    shown = with_use(connection, decode(row.document))
                yield f"{name}.pdf", render_pdf(shown)
            except InvoiceError as no:
                yield f"{name}.txt", f"{row.number} cannot be made as PDF: {no}\n".encode()
        if len(rows) < PORTION:
            return
        last = rows[-1].id


def zipped(files: Iterator[tuple[str, bytes]], told: Callable[[int], None]) -> Iterator[bytes]:
    """A ZIP archive in pieces; ``told`` is called with the number of files that are in it so far."""
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_STORED) as archive:
        for count, (name, content) in enumerate(files, 1):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
            yield pieces.take()
            told(count)
    yield pieces.take()


def packed(engine: Engine, packing: Packing) -> Iterator[bytes]:
    """The archive of a month's PDFs in pieces."""

    def told(count: int) -> None:
        packing.done = count

    try:
        yield from zipped(documents(engine, packing.period), told)
        packing.state = "done"
    finally:
        if packing.state == "running":
            packing.state = "broken off"


class _Pieces:
    """What :mod:`zipfile` writes to, without a way back."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def write(self, content: bytes, /) -> int:
        self._held.append(bytes(content))
        return len(content)

    def close(self) -> None:
        """Nothing is open."""

    def flush(self) -> None:
        """Nothing waits."""

    def take(self) -> bytes:
        content, self._held = b"".join(self._held), []
        return content
