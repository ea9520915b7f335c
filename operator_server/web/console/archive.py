"""Archives of many documents, written as they are read: nothing is held but the document at hand."""

from __future__ import annotations

import re
import weakref
import zipfile
from collections.abc import Callable, Iterator

from sqlalchemy import Engine, func, select
from starlette.responses import Response, StreamingResponse

from charging.invoices.model import InvoiceError
from charging.invoices.pdf import render_pdf
from operator_server.billing.details import with_use
from operator_server.receivables.books import decode
from operator_server.store.accounting import InvoiceRow
from operator_server.store.rows import table
from operator_server.web.jobs import Jobs, Task
from operator_server.web.problems import Problem
from operator_server.web.works import ARCHIVE

PORTION = 100
_EPOCH = (1980, 1, 1, 0, 0, 0)


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


def pack(jobs: Jobs, engine: Engine, period: str, by: str, name: str) -> Response:
    """A month's PDFs as one archive, written while it is sent; a job that ``name`` finds tells how far it is.

    Raises :class:`Problem` 404 for a month without invoices, 503 while two archives are made.
    """
    count = count_of(engine, period)
    if not count:
        raise Problem(404, f"month {period} has no invoices; run its bills first")
    try:
        task = jobs.hold(ARCHIVE, f"archive of {period}", period, by, name=name, of=count)
    except Problem as no:
        busy = "two archives are being made; wait until one has ended"
        raise Problem(503, busy, headers={"Retry-After": "9"}) from no
    headers = {"Content-Disposition": f'attachment; filename="invoices-{period}.zip"', "Cache-Control": "no-store"}
    return StreamingResponse(_packed(jobs, engine, period, task), 200, headers, "application/zip")


def _packed(jobs: Jobs, engine: Engine, period: str, task: Task) -> Iterator[bytes]:
    pieces = _pieces(jobs, engine, period, task)
    # Whoever goes away leaves it where it stands, perhaps before the first piece.
    weakref.finalize(pieces, task.leave, "stopped", "its download was broken off")
    return pieces


def _pieces(jobs: Jobs, engine: Engine, period: str, task: Task) -> Iterator[bytes]:
    for piece in zipped(documents(engine, period), lambda count: task.progress(count, task.of)):
        if task.state != "running" or task.lost:
            return
        yield piece
    task.leave("done", f"{task.done} invoices")
    jobs.end(task)


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
