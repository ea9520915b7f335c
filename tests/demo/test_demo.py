"""The demo on a small fleet: the whole method, checked by its own second opinion."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from demo_runs import Ran, run_demo
from pypdf import PdfReader

pytestmark = pytest.mark.slow


def test_everything_holds(demo: Ran) -> None:
    assert demo.code == 0, demo.progress
    assert demo.figures["reconciled"] is True
    assert demo.figures["acknowledged_and_lost"] == 0
    assert demo.figures["ledger_findings"] == 0


def test_the_whole_method_happens(demo: Ran) -> None:
    figures = demo.figures
    assert figures["terminals"] == 30
    assert set(figures["interrogations"]) == {"logon", "calendar", "interval", "manual"}
    assert min(figures["interrogations"].values()) > 0
    assert set(figures["agreements"]) == {"free", "one_off", "per_use"}
    for name in (
        "offer_classes", "rejected", "counter_proposals", "deliveries", "resumed", "bytes_delivered", "counter_reports",
        "duplicates_ignored", "charges", "invoices", "notices",
    ):  # fmt: skip
        assert figures[name] > 0, name
    assert figures["refusals"]
    assert figures["offer_classes"] < figures["distinct_codes"]


def test_a_device_that_is_read_by_snmp_takes_part_from_the_link_to_the_invoice(demo: Ran) -> None:
    device = demo.figures["snmp_device"]
    assert device["agent"] in ("snmpd", "simulated")
    assert device["interrogations"] > 5
    assert device["readings"] > device["interrogations"] / 2
    assert device["MiB charged"] > 0
    invoices = [json.loads(path.read_text()) for path in (demo.folder / "invoices").glob("*.json")]
    of_device = [each for each in invoices if each["customer"]["name"] == "Hafenkontor Kiel e. K."]
    lines = [line for each in of_device for line in each["lines"]]
    assert {line["unit"] for line in lines} == {"MiB"}
    assert sum(line["quantity"] for line in lines) <= device["MiB charged"]


@pytest.mark.requirement("S17")
def test_sim_phones_take_part_by_short_messages_and_over_links_up_to_the_invoice(demo: Ran) -> None:
    phones = demo.figures["SIM_phones"]
    assert (phones["by short messages"], phones["over links"]) == (2, 2)
    assert phones["interrogations"] > 8
    assert phones["agreements"] >= 4
    assert phones["rejected"] > 0
    assert phones["postponed"] > 0
    invoices = [json.loads(path.read_text()) for path in (demo.folder / "invoices").glob("*.json")]
    firms = {"Wattwagen Büsum GmbH", "Deichschäferei Nordstrand"}
    of_firms = [each for each in invoices if each["customer"]["name"] in firms]
    net = sum(Decimal(line["net"]) for each in of_firms for line in each["lines"])
    assert net == Decimal(phones["net"]) >= 2 * 49


@pytest.mark.requirement("H1", "H9", "H18", "H19", "H20", "H23")
def test_a_roamer_visits_a_second_instance_and_is_billed_for_what_was_accepted_there(demo: Ran) -> None:
    abroad = demo.figures["visited_network"]
    assert (abroad["asked"], abroad["accepted"], abroad["records alike"]) == (2, 1, 1)
    assert (abroad["net"], abroad["owed to the network"]) == ("2.50", "1.25")
    invoices = [json.loads(path.read_text()) for path in (demo.folder / "invoices").glob("*.json")]
    lines = [
        line
        for each in invoices
        if each["customer"]["name"] == "Fähre & Fracht Kappeln OHG"
        for line in each["lines"]
        if Decimal(line["net"])
    ]
    assert [line["net"] for line in lines] == ["2.50"]


def test_our_own_agent_takes_the_place_of_snmpd(tmp_path: Path) -> None:
    ran = run_demo(tmp_path / "out", "--terminals", "4", "--simulated-device")
    assert ran.code == 0, ran.progress
    device = ran.figures["snmp_device"]
    assert device["agent"] == "simulated"
    # 600 octets a second of simulated time: the use of two months, which no clock of the machine could count.
    assert 1_500 < device["MiB charged"] < 3_200
    assert ran.figures["reconciled"]


@pytest.mark.requirement("S2")
def test_no_section_is_fetched_twice(demo: Ran) -> None:
    assert demo.figures["sections_fetched"] == demo.figures["distinct_sections"]


@pytest.mark.requirement("S5")
def test_nothing_that_was_rejected_is_shown_too_early(demo: Ran) -> None:
    assert demo.figures["rejected"] > 0
    assert demo.figures["rejected_shown_too_early"] == 0


def test_progress_is_told_where_nobody_sees_a_bar(demo: Ran) -> None:
    assert "2026-09-14: " in demo.progress
    assert "2026-10-26: " in demo.progress


def test_each_invoice_lies_there_as_pdf_and_says_its_total(demo: Ran) -> None:
    folder = demo.folder / "invoices"
    pdfs = sorted(folder.glob("*.pdf"))
    assert len(pdfs) == demo.figures["invoices"]
    total = Decimal(0)
    for pdf in pdfs:
        total += Decimal(json.loads(pdf.with_suffix(".json").read_text())["totals"]["gross"])
    assert {"EUR": str(total)} == demo.figures["invoice_total"]
    data = json.loads(pdfs[0].with_suffix(".json").read_text())
    text = "".join(page.extract_text() for page in PdfReader(pdfs[0]).pages)
    assert data["number"] in text
    assert data["customer"]["name"] in text
    assert "Nordlicht Mobil GmbH" in text
