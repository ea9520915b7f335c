"""What the pages of invoices show: lines, what stands behind them, and whether the evidence holds."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

import msgspec
from sqlalchemy import Connection, Row, select

from charging.invoices.model import Invoice
from operator_server.billing.dispatch import dispatches_of
from operator_server.cards import evidence as card_evidence
from operator_server.cards.registry import keys_of
from operator_server.context import Operator
from operator_server.delivery.vault import VaultError
from operator_server.devices import evidence as web_evidence
from operator_server.receivables.books import decode
from operator_server.receivables.credit_notes import find_credit_notes, left_to_credit
from operator_server.store.accounting import Charge, CounterReportRow, InvoiceRow
from operator_server.store.cards import card_row
from operator_server.store.dealings import Agreement, Delivery, Installation, QuoteRow
from operator_server.store.devices import WebToken
from operator_server.store.parties import TerminalKey
from operator_server.store.receivables import DisputeHold, ReceivableItem
from operator_server.store.rows import table
from operator_server.store.usage import UsageRecord
from signalling.card.keys import agreement_mac
from signalling.documents import (
    Confirmation,
    CounterReport,
    DeliveryReceipt,
    Quote,
    agreement_digest,
    decode_document,
    document_digest,
)
from signalling.messages import Signed
from signalling.proof import ProofError, check

MOST_REPORTS = 50


@dataclass(frozen=True, slots=True)
class Checked:
    """A piece of evidence. ``holds``: whether it does, found now; ``None`` where nobody could sign it."""

    what: str
    holds: bool | None
    text: str


@dataclass(frozen=True, slots=True)
class ReportShown:
    """A counter report and whether the terminal's signature on it holds."""

    row: Row[Any]
    at: datetime
    checked: Checked


@dataclass(frozen=True, slots=True)
class EvidenceShown:
    """What proves an agreement: what both parties signed, the receipt of the delivery, the counter's reports."""

    row: Row[Any]
    quote: Quote
    checks: Sequence[Checked]
    reports: Sequence[ReportShown]
    delivery: Row[Any] | None

    @property
    def holds(self) -> bool:
        """Whether every piece that somebody signed holds."""
        found = [*self.checks, *(report.checked for report in self.reports)]
        return all(each.holds is not False for each in found)


@dataclass(frozen=True, slots=True)
class InvoiceShown:
    """An invoice with what became of it. ``item``: its place among the open items, once it is there."""

    row: Row[Any]
    invoice: Invoice
    item: Row[Any] | None
    left: dict[str, int]
    notes: Sequence[Row[Any]]
    dispatches: Sequence[Row[Any]]
    holds: Sequence[Row[Any]]


def invoice_row(connection: Connection, number: str) -> Row[Any] | None:
    """The row of an invoice, with its document."""
    invoices = table(InvoiceRow)
    return connection.execute(select(invoices).where(invoices.c.number == number)).first()


def invoice_shown(connection: Connection, row: Row[Any]) -> InvoiceShown:
    """All that the page of an invoice shows."""
    item, hold = table(ReceivableItem), table(DisputeHold)
    invoice = decode(row.document)
    return InvoiceShown(
        row=row,
        invoice=invoice,
        item=connection.execute(select(item).where(item.c.number == row.number)).first(),
        left=left_to_credit(connection, invoice),
        notes=find_credit_notes(connection, invoice=row.number),
        dispatches=dispatches_of(connection, row.number),
        holds=connection.execute(
            select(hold).where(hold.c.number == row.number).order_by(hold.c.placed_at.desc())
        ).all(),
    )


def charges_of_line(connection: Connection, invoice: str, line: str, after: str = "", most: int = 50) -> list[Any]:
    """Charges behind a line of an invoice (its id), in the order of their ids; ``after``: beyond that one."""
    charge = table(Charge)
    query = select(charge).where(charge.c.invoice_id == invoice, charge.c.invoice_line == int(line))
    if after:
        query = query.where(charge.c.id > after)
    return list(connection.execute(query.order_by(charge.c.id).limit(most)))


def records_of(connection: Connection, charges: Sequence[str]) -> dict[str, Row[Any]]:
    """Usage records that became these charges, by charge."""
    record = table(UsageRecord)
    return {row.charge_id: row for row in connection.execute(select(record).where(record.c.charge_id.in_(charges)))}


def report_of(connection: Connection, charge: Any) -> Row[Any] | None:
    """The counter report that ends at a charge's last value."""
    report = table(CounterReportRow)
    return connection.execute(
        select(report)
        .where(
            report.c.installation_id == charge.installation_id, report.c.counter == charge.counter,
            report.c.epoch == charge.epoch, report.c.value >= charge.counter_to,
            report.c.status.not_in(("refused", "conflict")),
        )
        .order_by(report.c.value)
        .limit(1)
    ).first()  # fmt: skip


def evidence_of(connection: Connection, operator: Operator, agreement: str) -> EvidenceShown | None:
    """What proves an agreement, checked now; ``None`` where there is no such agreement."""
    agreements, quotes, deliveries = table(Agreement), table(QuoteRow), table(Delivery)
    row = connection.execute(select(agreements).where(agreements.c.id == agreement)).first()
    if row is None:
        return None
    quote = connection.execute(select(quotes).where(quotes.c.id == row.quote_id)).one()
    delivery = connection.execute(select(deliveries).where(deliveries.c.agreement_id == agreement)).first()
    servers = operator.keys.public_keys()
    quoted, confirmed = Signed(quote.document, quote.signature), Signed(row.confirmation, row.proof)
    keys = _keys(connection, row.terminal_id)
    checks = [_signed("Quote, signed by the operator", servers, Quote.PURPOSE, quoted)]
    if row.evidence_kind == "operator":
        told = "a standing agreement, which the operator keeps: nobody confirms it"
        checks.append(Checked("Confirmation", None, told))
        same = row.digest == document_digest(row.confirmation)
    else:
        checks.append(_confirmed(connection, operator, row, keys))
        checks.append(_about(row, quote))
        same = row.digest == agreement_digest(quoted, confirmed)
    checks.append(
        Checked("Hash over both", same, row.digest.hex() if same else "the documents are not those that were agreed")
    )
    if delivery is not None and delivery.receipt is not None:
        receipt = Signed(delivery.receipt, delivery.receipt_signature or b"")
        at = _valid(keys, delivery.finished_at or row.agreed_at)
        checks.append(_signed("Receipt, signed by the terminal", at, DeliveryReceipt.PURPOSE, receipt))
    return EvidenceShown(
        row, decode_document(Quote, quote.document), checks, _reports(connection, agreement, keys), delivery
    )  # fmt: skip


def checked_report(connection: Connection, row: Any, terminal: str) -> ReportShown:
    """A counter report with the check of its signature."""
    return _report(row, _keys(connection, terminal))


def _reports(connection: Connection, agreement: str, keys: Sequence[Any]) -> list[ReportShown]:
    report, installation = table(CounterReportRow), table(Installation)
    own = select(installation.c.id).where(installation.c.agreement_id == agreement)
    rows = connection.execute(
        select(report)
        .where(report.c.installation_id.in_(own))
        .order_by(report.c.received_at.desc(), report.c.sequence.desc())
        .limit(MOST_REPORTS)
    )
    return [_report(row, keys) for row in rows]


def _report(row: Any, keys: Sequence[Any]) -> ReportShown:
    if not row.signature:
        return ReportShown(row, row.received_at, Checked("Signature", None, "read by the server; devices do not sign"))
    signed = Signed(row.document, row.signature)
    return ReportShown(
        row, row.received_at, _signed("Signature", _valid(keys, row.received_at), CounterReport.PURPOSE, signed)
    )


def _keys(connection: Connection, terminal: str) -> Sequence[Any]:
    key = table(TerminalKey)
    return connection.execute(select(key).where(key.c.terminal_id == terminal)).all()


def _valid(keys: Sequence[Any], at: datetime) -> list[bytes]:
    """The keys that held at an instant."""
    return [key.public_key for key in keys if key.valid_from <= at and (key.valid_to is None or key.valid_to >= at)]


def _signed(what: str, keys: Sequence[bytes], purpose: str, signed: Signed) -> Checked:
    for key in keys:
        try:
            check(key, purpose, signed)
        except ProofError:
            continue
        return Checked(what, True, f"Ed25519, key {key.hex()[:16]}")
    return Checked(what, False, "no key that held then has made this signature")


def _confirmed(connection: Connection, operator: Operator, row: Any, keys: Sequence[Any]) -> Checked:
    what = "Confirmation"
    match row.evidence_kind:
        case "ed25519":
            signed = Signed(row.confirmation, row.proof)
            return _signed(f"{what}, signed by the terminal", _valid(keys, row.agreed_at), Confirmation.PURPOSE, signed)
        case "web_token":
            return _posted(connection, row)
        case "card_mac":
            return _by_card(connection, operator, row)
    return Checked(what, False, f"evidence of kind {row.evidence_kind} is not known")


def _posted(connection: Connection, row: Any) -> Checked:
    what = "Confirmation, posted on the page that a one-time link opened"
    try:
        proof = web_evidence.decode_proof(row.proof)
        [document] = parse_qs(proof.posted.decode("ascii"))["document"]
        same = base64.urlsafe_b64decode(document + "=" * (-len(document) % 4)) == row.confirmation
    except (msgspec.MsgspecError, ValueError, KeyError, binascii.Error):
        return Checked(what, False, "the record of what was posted cannot be read")
    tokens = table(WebToken)
    known = connection.execute(select(tokens.c.token_digest).where(tokens.c.id == proof.token)).scalar()
    if not same or known != proof.token_digest:
        return Checked(what, False, "what was posted, or the link, is not that of the agreement")
    return Checked(what, True, f"link {proof.token}")


def _by_card(connection: Connection, operator: Operator, row: Any) -> Checked:
    what = "Confirmation, by the MAC of the card"
    card = card_row(connection, terminal_id=row.terminal_id)
    try:
        proof = card_evidence.decode_proof(row.proof)
        keys = None if card is None else keys_of(operator.vault, card)
    except (msgspec.MsgspecError, VaultError) as error:
        return Checked(what, False, f"cannot be checked: {error}")
    if keys is None or keys.number != proof.key_number:
        return Checked(what, None, "the card's keys of then are not kept any more")
    made = agreement_mac(keys.agreement, row.confirmation, document_digest(proof.shown))
    if not hmac.compare_digest(proof.mac, made):
        return Checked(what, False, "the card's MAC does not hold for what was confirmed and shown")
    return Checked(what, True, f"card {proof.iccid}, keys {proof.key_number}")


def _about(row: Any, quote: Any) -> Checked:
    try:
        confirmation = decode_document(Confirmation, row.confirmation)
    except ValueError as error:
        return Checked("What was confirmed", False, str(error))
    same = confirmation.quote == quote.id and confirmation.quote_digest == document_digest(quote.document)
    return Checked("What was confirmed", same, "this quote" if same else "another quote than the one that is kept")
