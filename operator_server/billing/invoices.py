"""Invoices that were made: found, shown, exported. Their documents never change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, select

from charging.invoices.export import details_to_csv, details_to_json, to_csv, to_json
from charging.invoices.model import Invoice
from charging.invoices.pdf import render_facturx, render_pdf
from operator_server.billing.details import charge_details, items_of, with_use
from operator_server.store.accounting import InvoiceRow
from operator_server.store.rows import matching, table

Form = Literal["pdf", "facturx", "json", "csv", "charges-json", "charges-csv"]

_SUFFIX: dict[Form, str] = {"facturx": "pdf", "charges-json": "charges.jsonl", "charges-csv": "charges.csv"}


class UnknownInvoice(LookupError):
    """An invoice number that was never given."""


def find_invoices(
    connection: Connection, *, account: str = "", period: str = "", most: int | None = None
) -> list[Row[Any]]:
    """The rows of matching invoices without their documents, in the order of their numbers."""
    invoices = table(InvoiceRow)
    statement = matching(
        select(*(column for column in invoices.c if column.name != "document")),
        (invoices.c.account_id, account), (invoices.c.period, period),
    )  # fmt: skip
    return list(connection.execute(statement.order_by(invoices.c.series, invoices.c.number_in_series).limit(most)))


def load_invoice(connection: Connection, number: str) -> Invoice:
    """The invoice as it was made. Raises :class:`UnknownInvoice`."""
    invoices = table(InvoiceRow)
    document = connection.execute(select(invoices.c.document).where(invoices.c.number == number)).scalar()
    if document is None:
        raise UnknownInvoice(f"invoice {number!r}: there is none; `tollgate invoice list` shows all")
    return _decode(document)


def each_invoice(connection: Connection) -> Iterator[Invoice]:
    """All invoices as they were made, in the order of their numbers."""
    invoices = table(InvoiceRow)
    statement = select(invoices.c.document).order_by(invoices.c.series, invoices.c.number_in_series)
    for document in connection.execute(statement).scalars():
        yield _decode(document)


def export_invoices(
    connection: Connection, invoices: Iterable[Invoice], folder: Path, form: Form = "pdf", *, itemised: bool = False
) -> list[Path]:
    """Write each invoice to a file of ``folder`` by its number; the same invoice gives the same bytes.

    ``facturx`` is the PDF with the XML of EN 16931 in it; ``charges-json`` and ``charges-csv`` are the charges behind
    the lines. ``itemised``: PDFs show each charge, too. Returns the files. Raises
    :class:`charging.invoices.model.InvoiceError` for what EN 16931 cannot express.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for invoice in invoices:
        path = folder / f"{invoice.number}.{_SUFFIX.get(form, form)}"
        temporary = path.with_name(f"{path.name}.new")
        content = _rendered(connection, invoice, form, itemised)
        with temporary.open("wb") as file:
            file.writelines(content)
        temporary.replace(path)
        files.append(path)
    return files


def _rendered(connection: Connection, invoice: Invoice, form: Form, itemised: bool) -> Iterable[bytes]:
    match form:
        case "json":
            return [to_json(invoice)]
        case "csv":
            return [to_csv(invoice).encode()]
        case "charges-json":
            return details_to_json(charge_details(connection, invoice))
        case "charges-csv":
            return details_to_csv(charge_details(connection, invoice))
    render = render_facturx if form == "facturx" else render_pdf
    items = items_of(connection, invoice) if itemised else None
    return [render(with_use(connection, invoice), items=items)]


def _decode(document: bytes) -> Invoice:
    return msgspec.json.decode(document, type=Invoice)
