"""What is behind an invoice's lines is found again: each charge with its use, tariff version and evidence."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import facturx
import pytest
from counting_samples import AGREED, House, Meterer
from msgspec.structs import replace
from pypdf import PdfReader
from sqlalchemy import select
from test_bill_run import DAY, bill, deliver, furnished, invoices, use

from charging.invoices.model import InvoiceError
from operator_server.billing.details import charge_details, items_of, with_use
from operator_server.billing.invoices import Form, export_invoices
from operator_server.store.accounting import Charge, CounterReportRow
from operator_server.store.rows import table

HOUR = timedelta(hours=1)


@pytest.fixture
def house() -> House:
    """Use on three days, and a delivery, billed."""
    house, meter = furnished(House()), Meterer()
    for day, units in enumerate((12, 3, 700)):
        use(house, meter, units, AGREED + day * DAY + HOUR)
    with house.writing() as connection:
        deliver(connection, "agr-inst-1", 1_990_000, AGREED + 2 * HOUR)
    bill(house)
    return house


def _exported(house: House, folder: Path, form: Form, **more: bool) -> bytes:
    with house.engine.connect() as connection:
        [path] = export_invoices(connection, invoices(house), folder, form, **more)
    return path.read_bytes()


def test_every_charge_leads_to_its_report_agreement_tariff_and_transfer(house: House) -> None:
    [invoice] = invoices(house)
    with house.engine.connect() as connection:
        found = list(charge_details(connection, invoice))
        charges = {row.id: row for row in connection.execute(select(table(Charge)))}
        reports = {row.id: row.value for row in connection.execute(select(table(CounterReportRow)))}
    assert {detail.charge_id for detail in found} == {name for line in invoice.lines for name in line.charge_ids}
    assert [detail.effective_at for detail in found] == sorted(detail.effective_at for detail in found)
    counted = [detail for detail in found if detail.kind == "use"]
    assert [(detail.counter_from, detail.counter_to) for detail in counted] == [(0, 12), (12, 15), (15, 715)]
    assert all(reports[detail.report_id] == detail.counter_to for detail in counted)
    assert all(detail.tariff_version == house.version.version_id for detail in counted)
    assert all(detail.transfer_id == charges[detail.charge_id].transfer_id for detail in found)
    assert all(detail.agreement_id == "agr-inst-1" for detail in found)
    assert sum(detail.net_micros for detail in found) == sum(net.exact_micros for net in invoice.totals.lines)


def test_details_are_exported_as_csv_and_json_lines(house: House, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(_exported(house, tmp_path, "charges-csv").decode(), newline="")))
    lines = [json.loads(line) for line in _exported(house, tmp_path, "charges-json").splitlines()]
    assert len(rows) == len(lines) == 4
    for row, line in zip(rows, lines, strict=True):
        assert row == {name: "" if value is None else str(value) for name, value in line.items()}
    assert {row["net"] for row in rows if row["kind"] == "delivery"} == {"1.99"}


def test_an_itemised_pdf_has_a_row_for_each_charge(house: House, tmp_path: Path) -> None:
    plain = PdfReader(io.BytesIO(_exported(house, tmp_path, "pdf")))
    itemised = PdfReader(io.BytesIO(_exported(house, tmp_path, "pdf", itemised=True)))
    assert len(itemised.pages) == len(plain.pages) + 1
    text = itemised.pages[-1].extract_text()
    assert [words in text for words in ("12 uses", "3 uses", "700 uses", "1.9900")] == [True] * 4


def test_the_chart_shows_the_use_of_each_day(house: House) -> None:
    [invoice] = invoices(house)
    with house.engine.connect() as connection:
        [series] = with_use(connection, invoice).use
        assert items_of(connection, invoice).count == 4
    assert [point.quantity for point in series.points] == [12, 3, 700]
    assert [point.day for point in series.points] == [(AGREED + day * DAY).date() for day in range(3)]


def test_the_same_invoice_gives_the_same_factur_x(house: House, tmp_path: Path) -> None:
    first = _exported(house, tmp_path, "facturx")
    assert first == _exported(house, tmp_path, "facturx", itemised=False)
    name, xml = facturx.get_facturx_xml_from_pdf(first)
    assert name == "factur-x.xml"
    assert invoices(house)[0].number.encode() in xml


def test_what_factur_x_cannot_express_leaves_no_file(house: House, tmp_path: Path) -> None:
    nameless = [replace(each, seller=replace(each.seller, vat_id="")) for each in invoices(house)]
    with house.engine.connect() as connection, pytest.raises(InvoiceError, match="seller's VAT id"):
        export_invoices(connection, nameless, tmp_path, "facturx")
    assert list(tmp_path.iterdir()) == []
