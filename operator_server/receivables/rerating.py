"""Re-rating after a tariff fault: what a faulty version made is credited and invoiced anew by the right one.

The use stays charged as it was; the new invoice has charges of its own (kind ``rerated``), each for one of the old
ones. An invoice is re-rated once by a tariff: a second call changes nothing, and who finds another fault re-rates the
new invoice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Connection, Row, select

from charging.invoices.model import Invoice, InvoiceLine
from charging.invoices.totals import round_to_unit, totals, without_tax
from charging.ledger.book import apply
from charging.ledger.operations import Applied, Duplicate, Leg, Operation, Post
from charging.ledger.operations import Charge as LedgerCharge
from charging.ledger.tables import OPERATOR, REVENUE, UNBILLED
from charging.rating import RatingError
from charging.tariffs import Tariff, TariffVersion
from charging.tariffs.explain import Course, Use
from charging.tariffs.headline import headline
from operator_server.billing.making import Bill
from operator_server.billing.writing import write_invoices
from operator_server.counting.tariffs import TariffVersions
from operator_server.receivables.books import SOURCE, ReceivablesError, decode, lock, take_in_invoices
from operator_server.receivables.credit_notes import CreditRequest, make_credit_note
from operator_server.receivables.credited import credited_of
from operator_server.receivables.given_back import given_back
from operator_server.settings import Settings
from operator_server.store.accounting import BillRun, Charge, InvoiceRow
from operator_server.store.dealings import TariffVersionRow
from operator_server.store.feed import record
from operator_server.store.receivables import Rerating
from operator_server.store.rows import add, table
from operator_server.usage.history import RERATED, charged_uses
from signalling.clock import to_micros
from signalling.ids import new_id
from signalling.money import format_micros, minor_unit

_charge, _invoice, _rerating = table(Charge), table(InvoiceRow), table(Rerating)


@dataclass(frozen=True, slots=True)
class Rerated:
    """What re-rating an invoice comes to: net micros of its use by the tariff, before and after.

    The numbers are empty in a dry run, and where nothing differs. ``new``: done by this call.
    """

    invoice: str
    account: str
    currency: str
    before: int
    after: int
    credit_note: str = ""
    new_invoice: str = ""
    new: bool = False


@dataclass(frozen=True, slots=True)
class _Again:
    """A charge, and what its use costs and includes by the corrected version."""

    charge: Row[Any]
    version: TariffVersion
    net: int
    included: int


def invoices_by_tariff(connection: Connection, tariff: str, period: str) -> list[str]:
    """Numbers of the invoices of a period with use by a tariff that were not replaced by re-rating."""
    replaced = select(_rerating.c.invoice_number).where(_rerating.c.tariff_id == tariff)
    rows = connection.execute(
        select(_invoice.c.number)
        .join(_charge, _charge.c.invoice_id == _invoice.c.id)
        .where(
            _invoice.c.period == period,
            _charge.c.tariff_version.startswith(f"{tariff}@", autoescape=True),
            _invoice.c.number.not_in(replaced),
        )
        .distinct()
        .order_by(_invoice.c.number)
    )
    return list(rows.scalars())


def rerate_invoice(
    connection: Connection,
    settings: Settings,
    number: str,
    tariff: Tariff,
    now: datetime,
    *,
    tariffs: TariffVersions,
    dry_run: bool = False,
    reason: str = "",
    by: str = "",
) -> Rerated:
    """Rate the use on an invoice again by ``tariff`` as it should have been, credit what was invoiced, invoice it anew.

    ``tariffs`` finds the versions that use was rated by. Nothing is written where nothing differs, nor in a dry run.
    Raises :class:`ReceivablesError` for what cannot be re-rated: use that the tariff has no price for, lines that were
    credited already, an invoice that was re-rated by another correction.
    """
    lock(connection)
    row = connection.execute(select(_invoice).where(_invoice.c.number == number)).first()
    if row is None:
        raise ReceivablesError(f"invoice {number!r}: there is none; `tollgate invoice list` shows all")
    invoice = decode(row.document)
    again = _rated_again(connection, row, tariff, tariffs)
    if not again:
        raise ReceivablesError(f"invoice {number}: it has no use by tariff {tariff.tariff_id}")
    before, after = sum(each.charge.net for each in again), sum(each.net for each in again)
    plain = Rerated(number, row.account_id, row.currency, before, after)
    versions = " ".join(sorted({each.version.version_id for each in again}))
    known = connection.execute(
        select(_rerating).where(_rerating.c.invoice_number == number, _rerating.c.tariff_id == tariff.tariff_id)
    ).first()
    if known is not None:
        if known.tariff_version != versions:
            raise ReceivablesError(
                f"invoice {number}: {known.credit_note} and {known.new_invoice} took its place already; re-rate "
                f"{known.new_invoice}"
            )
        return Rerated(number, row.account_id, row.currency, before, after, known.credit_note, known.new_invoice)
    lines = _lines_of(invoice, again)
    _check_uncredited(connection, row.id, invoice, lines)
    if dry_run or all(each.net == each.charge.net for each in again):
        return plain
    take_in_invoices(connection, settings, now, row.account_id)
    note = _credit(connection, settings, invoice, lines, tariff, now, reason, by)
    fresh = _charge_again(connection, number, again, now)
    new_number = _invoice_again(connection, settings, row, invoice, lines, again, fresh, note, now)
    take_in_invoices(connection, settings, now, row.account_id)
    add(
        connection,
        Rerating(
            id=new_id(to_micros(now)), invoice_number=number, tariff_id=tariff.tariff_id, tariff_version=versions,
            credit_note=note, new_invoice=new_number, at=now,
        ),
    )  # fmt: skip
    record(
        connection, now, "rerated", account=row.account_id, reference=number, tariff=tariff.tariff_id,
        currency=row.currency, before=before, after=after, credit_note=note, invoice=new_number, by=by,
    )  # fmt: skip
    return Rerated(number, row.account_id, row.currency, before, after, note, new_number, True)


def _rated_again(connection: Connection, invoice: Row[Any], tariff: Tariff, tariffs: TariffVersions) -> list[_Again]:
    """The invoice's charges for use by the tariff, rated by its corrected versions in the course of their agreement."""
    charges = connection.execute(
        select(_charge)
        .where(
            _charge.c.invoice_id == invoice.id,
            _charge.c.kind.in_(["use", RERATED]),
            _charge.c.tariff_version.startswith(f"{tariff.tariff_id}@", autoescape=True),
        )
        .order_by(_charge.c.id)
    ).all()
    again: list[_Again] = []
    for agreement in dict.fromkeys(each.agreement_id for each in charges):
        of_agreement = [each for each in charges if each.agreement_id == agreement]
        rated = _rated(connection, tariffs, tariff, agreement, {each.period for each in of_agreement})
        for each in of_agreement:
            version, net, included = rated[each.reverses_id or each.id]
            again.append(_Again(each, version, net, included))
    return again


def _rated(
    connection: Connection, tariffs: TariffVersions, tariff: Tariff, agreement: str, periods: set[str]
) -> dict[str, tuple[TariffVersion, int, int]]:
    """By charge, the corrected version, the cost and the included units of each use of the periods."""
    life = any(version.included_per == "agreement" for version in tariff.versions)
    uses = charged_uses(connection, tariffs, agreement, tariff.tariff_id, None if life else periods)
    found: dict[str, tuple[TariffVersion, int, int]] = {}
    for period in ["all"] if life else sorted(periods):
        of_period = [(row, use) for row, use in uses if life or row.period == period]
        course = Course([use for _, use in of_period])
        for row, use in of_period:
            corrected = replace(use, version=_corrected(tariff, use))
            before = course.before(corrected)
            try:
                rated = course.rate(corrected)
            except RatingError as error:
                raise ReceivablesError(f"charge {row.id}: {error}") from None
            included = (rated.state.used - before.used) - (rated.state.units - before.units)
            found[row.id] = (corrected.version, rated.cost_micros, max(0, included))
    return found


def _corrected(tariff: Tariff, use: Use) -> TariffVersion:
    """The version that ought to have held: the one that began when the faulty one did, or last before."""
    since = use.version.effective_from
    fitting = [version for version in tariff.versions if version.effective_from <= since]
    if not fitting:
        day = since.astimezone(ZoneInfo(use.version.zone))
        raise ReceivablesError(f"tariff {tariff.tariff_id}: the file has no version for {day:%Y-%m-%d}")
    if fitting[-1].currency != use.version.currency or fitting[-1].unit != use.version.unit:
        raise ReceivablesError(
            f"tariff {tariff.tariff_id}: {fitting[-1].version_id} is in {fitting[-1].currency} per "
            f"{fitting[-1].unit}, the use in {use.version.currency} per {use.version.unit}"
        )
    return fitting[-1]


def _lines_of(invoice: Invoice, again: Sequence[_Again]) -> list[InvoiceLine]:
    ids = {each.charge.id for each in again}
    return [line for line in invoice.lines if ids.intersection(line.charge_ids)]


def _check_uncredited(connection: Connection, id: str, invoice: Invoice, lines: Sequence[InvoiceLine]) -> None:
    credited, back = credited_of(connection, invoice.number).nets, given_back(connection, id, invoice)
    for line in lines:
        if line.line_id in back:
            raise ReceivablesError(
                f"invoice {invoice.number}, line {line.line_id}: refunds gave back a part of it on another bill; credit"
                " the rest by hand"
            )
        if credited.get(line.line_id):
            raise ReceivablesError(
                f"invoice {invoice.number}, line {line.line_id}: a part of it was credited already; credit the rest by "
                "hand"
            )
        if line.net_micros < 0:
            raise ReceivablesError(
                f"invoice {invoice.number}, line {line.line_id}: it is below zero; credit the invoice whole by hand"
            )


def _credit(
    connection: Connection,
    settings: Settings,
    invoice: Invoice,
    lines: Sequence[InvoiceLine],
    tariff: Tariff,
    now: datetime,
    reason: str,
    by: str,
) -> str:
    """The credit note over the lines; none where they cost nothing."""
    nets = {net.line_id: net.net_micros for net in invoice.totals.lines}
    wanted = {line.line_id: None for line in lines if nets[line.line_id] > 0}
    if not wanted:
        return ""
    op_id = f"rerate:{sha256(f'{invoice.number} {tariff.tariff_id}'.encode()).hexdigest()[:32]}"
    request = CreditRequest(invoice.number, wanted, reason or f"Tariff {tariff.tariff_id} was wrong", by, op_id)
    return make_credit_note(connection, settings, request, now).number


def _charge_again(connection: Connection, number: str, again: Sequence[_Again], now: datetime) -> dict[str, str]:
    """Charge the use by its corrected cost; the ids of the new charges by those of the old ones."""
    micros, kept = to_micros(now), table(TariffVersionRow)
    for version in {each.version.version_id: each.version for each in again}.values():
        if connection.execute(select(kept.c.id).where(kept.c.id == version.version_id)).first() is None:
            add(
                connection,
                TariffVersionRow(
                    id=version.version_id, tariff_id=version.tariff_id, content=version.content,
                    effective_from=version.effective_from, first_loaded_at=now,
                ),
            )  # fmt: skip
    rows = []
    for each in again:
        root = each.charge.reverses_id or each.charge.id
        rows.append(
            dict(each.charge._mapping)
            | {
                "id": new_id(micros), "kind": RERATED, "net": each.net, "included": each.included, "recorded_at": now,
                "tariff_version": each.version.version_id, "reverses_id": root, "invoice_id": None,
                "invoice_line": None,
            }
        )  # fmt: skip
    operations = [_operation(number, each.charge.id, row) for each, row in zip(again, rows, strict=True)]
    for row, outcome in zip(rows, apply(connection, operations, micros, writer=SOURCE), strict=True):
        if not isinstance(outcome, Applied | Duplicate):
            raise ReceivablesError(f"invoice {number}: its use cannot be charged again: {outcome}")
        row["transfer_id"] = outcome.transfer_id
    add(connection, *(Charge(**row) for row in rows))
    return {each.charge.id: str(row["id"]) for each, row in zip(again, rows, strict=True)}


def _operation(number: str, charge: str, row: Mapping[str, Any]) -> Operation:
    common: dict[str, Any] = {
        "source": "rerating",
        "op_id": sha256(f"{number} {charge}".encode()).hexdigest()[:48],
        "effective_at": row["effective_at"],
        "agreement_id": row["agreement_id"],
    }
    owner, currency, net = row["account_id"], row["currency"], row["net"]
    if net >= 0:
        return LedgerCharge(
            **common, owner=owner, amount=net, currency=currency, tariff_version_id=row["tariff_version"], checked=False
        )
    legs = (Leg(owner, UNBILLED, currency, net), Leg(OPERATOR, REVENUE, currency, -net))
    return Post(**common, kind="use_credit", legs=legs)


def _invoice_again(
    connection: Connection,
    settings: Settings,
    row: Row[Any],
    invoice: Invoice,
    lines: Sequence[InvoiceLine],
    again: Sequence[_Again],
    fresh: Mapping[str, str],
    note: str,
    now: datetime,
) -> str:
    """The new invoice over the lines, as a bill run would write it; its number."""
    made = tuple(_line(line, str(place), again, fresh, invoice) for place, line in enumerate(lines, 1))
    names = ", ".join(line.line_id for line in lines)
    text = f"Takes the place of lines {names} of {invoice.number}" + (f", credited by {note}." if note else ".")
    document = msgspec.structs.replace(
        invoice, number="", series="", lines=made, totals=totals(made, invoice.currency), notes=(text,),
        carried_forward_micros=0, final_bill=False,
    )  # fmt: skip
    runs = table(BillRun)
    until = connection.execute(select(runs.c.until_at).where(runs.c.id == row.bill_run_id)).scalar_one()
    run = BillRun(
        id=new_id(to_micros(now)), period=f"rerate {row.period}"[:16], until_at=until, started_at=now,
        finished_at=now, state="done", invoices=1,
    )  # fmt: skip
    add(connection, run)
    taxed = sum(line.gross_micros - line.net_micros for line in made if line.gross_micros is not None)
    unbilled = sum(each.net for each in again)
    bill = Bill(id="", account=row.account_id, period=row.period, invoice=document, unbilled=unbilled, taxed=taxed)
    written = write_invoices(connection, run.id, [bill], settings.operator, now)
    if written.failed:
        raise ReceivablesError(f"invoice {invoice.number}: {written.failed[0][2]}")
    return str(connection.execute(select(_invoice.c.number).where(_invoice.c.id == bill.id)).scalar_one())


def _line(
    line: InvoiceLine, line_id: str, again: Sequence[_Again], fresh: Mapping[str, str], invoice: Invoice
) -> InvoiceLine:
    of_line = [each for each in again if each.charge.id in line.charge_ids]
    version = of_line[0].version
    charged = sum(each.charge.net for each in of_line)
    if line.gross_micros is None and abs(line.net_micros - charged) > minor_unit(invoice.currency):
        raise ReceivablesError(
            f"invoice {invoice.number}, line {line.line_id}: its price contains tax that the customer does not owe; "
            "credit it by hand"
        )
    amount = _by_tariff(sum(each.net for each in of_line), version, invoice.currency)
    price = headline(version)
    return msgspec.structs.replace(
        line,
        line_id=line_id,
        net_micros=amount if line.gross_micros is None else without_tax(amount, line.tax_rate_bp),
        gross_micros=None if line.gross_micros is None else amount,
        included=sum(each.included for each in of_line),
        unit_price=format_micros(price.amount, invoice.currency) if price.exact and price.size == 1 else "",
        charge_ids=tuple(fresh[each.charge.id] for each in of_line),
    )


def _by_tariff(exact: int, version: TariffVersion, currency: str) -> int:
    """The exact sum, or where the tariff rounds lines otherwise than invoices do, what the tariff makes of it."""
    by_tariff = version.rounding.line(exact)
    return exact if by_tariff == round_to_unit(exact, 1, minor_unit(currency)) else by_tariff
