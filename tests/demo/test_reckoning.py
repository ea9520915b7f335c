"""The second opinion: what it makes of tariffs and journals, and that it sees what is wrong with an invoice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from operator_server.demo.reckoning import ReckoningError
from operator_server.demo.reckoning.bills import BillKey, LineKey, differences
from operator_server.demo.reckoning.journals import Run, lost_uses, reckon
from operator_server.demo.reckoning.prices import Prices
from signalling.clock import to_micros
from signalling.documents import NO_REPORT, CounterReport
from signalling.messages import ModeTerms, Signed
from terminal_sim import journal as lines
from terminal_sim.journal import AnyEntry

CONFIGS = Path(__file__).parents[2] / "configs"
PRICES = Prices.read(CONFIGS)
NOTHING = Signed(b"", bytes(64))
ACCOUNTS = {"S-1": "A-1"}


def at(text: str) -> int:
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC))


RUNS = [
    Run("2026-09", at("2026-10-01T00:00"), at("2026-10-04T06:00")),
    Run("2026-10", at("2026-11-01T00:00"), at("2026-11-04T06:00")),
]


def bought(offer: str, mode: str, kind: str, day: str, *, counter: str = "") -> list[AnyEntry]:
    """The journal of a purchase, delivered at once; agreement and installation are called after the offer."""
    terms = ModeTerms(mode, kind, mode, "", "EUR", 0, "S", 1900, counter=counter)
    instant = at(day)
    return [
        lines.Confirmed(
            at=instant, agreement=offer, quote_id="q", offer=offer, version="v", product=offer, release="1",
            title=offer, subscriber="S-1", terms=terms, amount=0, tax=0, currency="EUR", delivers=True, quote=NOTHING,
            confirmation=NOTHING,
        ),
        lines.Ordered(at=instant, agreement=offer, order=NOTHING),
        lines.Granted(at=instant, agreement=offer, installation=f"I-{offer}", grant=NOTHING),
    ]  # fmt: skip


def reported(
    installation: str, counter: str, sequence: int, value: int, made: str, noted: str, *, status: str = "accepted",
    samples: dict[str, int] | None = None, epoch: int = 0,
) -> list[AnyEntry]:  # fmt: skip
    document = CounterReport(
        installation, counter, epoch, sequence, value, [(at(day), n) for day, n in (samples or {}).items()], NO_REPORT,
        at(made),
    )  # fmt: skip
    common = {"installation": installation, "counter": counter, "epoch": epoch, "sequence": sequence}
    return [
        lines.Reported(at=at(made), value=value, report=Signed(document.encode(), bytes(64)), **common),
        lines.ReportNoted(at=at(noted), status=status, server_time=at(noted), **common),
    ]


def nets(journal: list[AnyEntry]) -> dict[tuple[str, str, str], tuple[int, int, int]]:
    """Invoice period, kind and month of each line to its quantity, included units and net."""
    return {
        (key.period, line.kind, line.month): (is_.quantity, is_.included, is_.net)
        for key, bill in reckon([journal], PRICES, ACCOUNTS, RUNS).items()
        for line, is_ in bill.lines.items()
    }


def test_a_purchase_is_on_the_invoice_of_its_month_with_its_tax() -> None:
    bills = reckon([bought("navigator", "buy", "one_off", "2026-09-30T23:59")], PRICES, ACCOUNTS, RUNS)
    ((key, bill),) = bills.items()
    assert key == BillKey("A-1", "2026-09", "EUR")
    assert (bill.net, bill.tax, bill.total) == (14_900_000, 2_830_000, 17_730_000)


def test_what_failed_is_taken_back() -> None:
    noted = lines.ReceiptNoted(at=at("2026-10-02T10:00"), agreement="navigator", charge="reversed", server_time=0)
    journal = [*bought("navigator", "buy", "one_off", "2026-09-30T10:00"), noted]
    assert nets(journal) == {
        ("2026-09", "delivery", "2026-09"): (1, 0, 14_900_000),
        ("2026-10", "reversal", "2026-10"): (-1, 0, -14_900_000),
    }


def test_included_use_is_free_each_month_and_samples_cut_the_months() -> None:
    journal = bought("chess", "per-use", "per_use", "2026-09-01T10:00", counter="use")
    journal += reported(
        "I-chess", "use", 1, 30, "2026-10-02T10:00", "2026-10-02T10:00", samples={"2026-10-01T00:00": 14}
    )
    assert nets(journal) == {
        ("2026-09", "use", "2026-09"): (14, 10, 200_000),
        ("2026-10", "use", "2026-10"): (16, 10, 300_000),
    }


def test_use_that_is_reported_after_the_bill_run_is_on_the_next_invoice_under_its_month() -> None:
    journal = bought("chess", "per-use", "per_use", "2026-09-01T10:00", counter="use")
    journal += reported("I-chess", "use", 1, 12, "2026-09-20T10:00", "2026-09-20T10:00")
    journal += reported(
        "I-chess", "use", 2, 15, "2026-10-05T10:00", "2026-10-05T10:00", samples={"2026-10-01T00:00": 15}
    )
    assert nets(journal) == {
        ("2026-09", "use", "2026-09"): (12, 10, 100_000),
        ("2026-10", "use", "2026-09"): (3, 0, 150_000),
    }


def test_a_reset_begins_anew_and_a_report_that_was_known_counts_from_when_it_was_made() -> None:
    journal = bought("chess", "per-use", "per_use", "2026-09-01T10:00", counter="use")
    journal += reported("I-chess", "use", 1, 12, "2026-09-20T10:00", "2026-10-05T10:00", status="duplicate")
    journal += reported("I-chess", "use", 2, 4, "2026-10-05T10:00", "2026-10-05T10:00", status="reset", epoch=1)
    assert nets(journal) == {
        ("2026-09", "use", "2026-09"): (12, 10, 100_000),
        ("2026-10", "use", "2026-10"): (4, 4, 0),
    }


@pytest.mark.parametrize(
    ("offer", "mode", "units", "net"),
    [("offline-map", "by-volume", 1_350, 11_000_000), ("offline-map", "by-volume", 40_000, 60_000_000),
     ("voice-mail", "by-time", 61, 30_500)],
)  # fmt: skip
def test_tariffs_of_the_files_are_reckoned(offer: str, mode: str, units: int, net: int) -> None:
    (agreed, *_) = bought(offer, mode, "per_use", "2026-09-01T10:00")
    assert isinstance(agreed, lines.Confirmed)
    assert PRICES.tariff(agreed).cost(units) == net


def test_a_tariff_that_it_does_not_know_is_said_and_not_guessed() -> None:
    prices = Prices(PRICES.zone, PRICES.rates, {("o", "m"): {"tariff": "voice"}}, PRICES.tariffs)
    (agreed, *_) = bought("o", "m", "per_use", "2026-09-01T10:00")
    assert isinstance(agreed, lines.Confirmed)
    with pytest.raises(ReckoningError, match="voice"):
        prices.tariff(agreed)


def test_every_difference_of_an_invoice_is_told() -> None:
    bills = reckon([bought("navigator", "buy", "one_off", "2026-09-30T10:00")], PRICES, ACCOUNTS, RUNS)
    ((key, bill),) = bills.items()
    line = LineKey("navigator", "delivery", "2026-09")
    assert differences(bills, bills) == []
    assert "must be no invoice" in differences({}, bills)[0]
    assert "missing" in differences(bills, {})[0]
    assert "tax is 2.84" in differences(bills, {key: replace(bill, tax=2_840_000)})[0]
    twice = replace(bill, lines={line: replace(bill.lines[line], net=29_800_000)})
    assert "29.80" in differences(bills, {key: twice})[0]


def test_use_that_no_report_tells_is_seen() -> None:
    used = lines.Used(at=at("2026-09-02T10:00"), installation="I-chess", counter="use", epoch=0, units=3, value=3)
    told = reported("I-chess", "use", 1, 3, "2026-09-03T10:00", "2026-09-03T10:00")
    assert lost_uses([used, *told]) == []
    assert len(lost_uses([used, used, *told])) == 1
