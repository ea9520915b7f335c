"""``tollgate invoice`` as billing staff use it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import facturx
import pytest

from charging.invoices import facturx as ours
from charging.invoices.model import Invoice, InvoiceError

if TYPE_CHECKING:
    from conftest import Tollgate


@pytest.fixture(autouse=True)
def billed(tollgate: Tollgate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two accounts with a commitment each, billed for March."""
    monkeypatch.setenv("TOLLGATE_OPERATOR__VAT_ID", "DE123456788")
    for account in ("A-8", "A-9"):
        tollgate("account", "create", account, "--name", "Erika Muster", "--address", "Weg 1")
        tollgate("bill", "commit", account, "50.00", "--from", "2026-01-01")
    tollgate("bill", "--period", "2026-03")


def _numbers(tollgate: Tollgate) -> list[str]:
    return [row["number"] for row in json.loads(tollgate("invoice", "list", "--json").output)]


def test_invoices_are_exported_in_every_form(tollgate: Tollgate, tmp_path: Path) -> None:
    first, second = _numbers(tollgate)
    for form in ("pdf", "json", "csv", "charges-json", "charges-csv"):
        assert "2 invoices" in tollgate("invoice", "export", tmp_path / "out", "--format", form).output
    names = {path.name.removeprefix(first).removeprefix(second) for path in (tmp_path / "out").iterdir()}
    assert names == {".pdf", ".json", ".csv", ".charges.csv", ".charges.jsonl"}
    data = json.loads((tmp_path / "out" / f"{first}.json").read_bytes())
    with (tmp_path / "out" / f"{first}.charges.csv").open(newline="") as file:
        charges = list(csv.DictReader(file))
    assert {row["charge_id"] for row in charges} == {name for line in data["lines"] for name in line["charge_ids"]}


def test_factur_x_holds_the_invoice_as_xml(tollgate: Tollgate, tmp_path: Path) -> None:
    number = _numbers(tollgate)[0]
    tollgate("invoice", "export", tmp_path, "--number", number, "--format", "facturx", "--itemised")
    _, xml = facturx.get_facturx_xml_from_pdf((tmp_path / f"{number}.pdf").read_bytes())
    assert facturx.xml_check_xsd(xml, flavor="factur-x", level="en16931")
    assert f">{number}<".encode() in xml


def test_what_a_form_cannot_express_is_named_and_the_rest_written(
    tollgate: Tollgate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _numbers(tollgate)
    checked = ours._check

    def refusing(invoice: Invoice) -> None:
        checked(invoice)
        if invoice.number == first:
            raise InvoiceError(f"invoice {first!r}: EN 16931 allows two decimals")

    monkeypatch.setattr(ours, "_check", refusing)
    said = tollgate("invoice", "export", tmp_path, "--format", "facturx", code=1).output
    assert "two decimals" in said
    assert "1 invoices" in said
    assert [path.name for path in tmp_path.glob("R-*")] == [f"{second}.pdf"]


def test_an_unknown_number_is_refused(tollgate: Tollgate, tmp_path: Path) -> None:
    assert "there is none" in tollgate("invoice", "export", tmp_path, "--number", "R-1", code=1).output
