"""The invoice as data says what the invoice says, and leads to its charges."""

import csv
import io
import json

from invoice_samples import CUSTOMER, agreement, invoice, per_use

from charging.invoices.export import to_csv, to_json


def test_json_carries_amounts_as_exact_text_and_leads_to_the_charges() -> None:
    data = json.loads(to_json(invoice(per_use(1), per_use(2, net_micros=1_000_000))))
    assert data["number"] == "NL-2026-000123"
    assert data["issue_date"] == "2026-11-02"
    assert data["customer"]["name"] == CUSTOMER.name
    first = data["lines"][0]
    assert (first["net_exact"], first["net"]) == ("4.4424", "4.44")
    assert first["agreement_id"] == agreement(1)
    assert first["charge_ids"] == ["charge-1-a", "charge-1-b"]
    assert data["totals"] == {
        "net": "5.44",
        "tax": "1.03",
        "gross": "6.47",
        "rounding": "-0.0024",
        "paid": "0.00",
        "payable_rounding": "0.00",
        "taxes": [{"category": "S", "rate_bp": 1900, "net": "5.44", "tax": "1.03", "reason": "", "reason_code": ""}],
    }


def test_json_amounts_have_the_decimals_of_their_currency() -> None:
    yen = json.loads(to_json(invoice(per_use(net_micros=499_600_000), currency="JPY")))
    assert (yen["lines"][0]["net_exact"], yen["totals"]["gross"]) == ("499.6", "595")


def test_csv_has_a_row_a_line_with_agreement_counter_and_charges() -> None:
    awkward = 'Maps, "all" of them\nand more'
    rows = list(csv.DictReader(io.StringIO(to_csv(invoice(per_use(1), per_use(2, description=awkward))), newline="")))
    assert [row["line_id"] for row in rows] == ["1", "2"]
    assert rows[1]["description"] == awkward
    row = rows[0]
    assert (row["invoice"], row["currency"]) == ("NL-2026-000123", "EUR")
    assert (row["net_exact"], row["net"]) == ("4.4424", "4.44")
    assert (row["counter_from"], row["counter_to"], row["quantity"]) == ("98000", "99234", "1234")
    assert row["agreement_id"] == agreement(1)
    assert row["charge_ids"].split() == ["charge-1-a", "charge-1-b"]
