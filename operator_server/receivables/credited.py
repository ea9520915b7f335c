"""What the credit notes of an invoice took back."""

from __future__ import annotations

from sqlalchemy import Connection, select

from charging.receivables.credit import Credited
from operator_server.receivables.books import decode
from operator_server.store.receivables import CreditNoteRow
from operator_server.store.rows import table

_note = table(CreditNoteRow)


def credited_of(connection: Connection, invoice: str) -> Credited:
    """What the credit notes of an invoice took back so far."""
    credited = Credited.nothing()
    rows = connection.execute(
        select(_note.c.document).where(_note.c.invoice_number == invoice).order_by(_note.c.issued_at, _note.c.id)
    )
    for document in rows.scalars():
        note = decode(document)
        credited = credited.with_note(note.totals, note.lines)
    return credited
