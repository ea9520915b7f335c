"""What the demo's calculator makes of a device's raw readings."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from operator_server.demo.gateway_journal import UNIT_OCTETS, Agreed, Sample, confirmed, journal
from operator_server.demo.reckoning.journals import Run, reckon
from operator_server.demo.reckoning.prices import Prices
from signalling.clock import to_micros

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 9, 10, 12, 0, tzinfo=BERLIN)
OCTOBER = datetime(2026, 10, 1, tzinfo=BERLIN)
TARIFF = {
    "id": "t",
    "version": [
        {
            "effective_from": datetime(2026, 1, 1).date(),
            "currency": "EUR",
            "tax_category": "S",
            "rounding": {"mode": "half_up", "place": "line", "to": "minor"},
            "price": {"model": "per_unit", "amount": "0.01"},
        }
    ],
}
PRICES = Prices(BERLIN, {"S": 1900}, {("uplink", "by-volume"): {"kind": "per_use", "tariff": "t"}}, {"t": TARIFF})


def units(*readings: tuple[datetime, int]) -> dict[str, int]:
    """Month to MiB charged, counting from the first of these readings, in MiB."""
    yes = confirmed(Agreed("A", START), "S", "EUR")
    samples = [Sample(at, mib * UNIT_OCTETS) for at, mib in readings]
    end = to_micros(OCTOBER + timedelta(days=60))
    bills = reckon([journal(yes, samples, readings[0][0], BERLIN)], PRICES, {"S": "A"}, [Run("all", end, end)])
    return {line.month: is_.quantity for bill in bills.values() for line, is_ in bill.lines.items()}


def test_what_was_counted_since_the_first_reading_is_charged() -> None:
    assert units((START, 500), (START + timedelta(days=1), 507)) == {"2026-09": 7}


def test_a_reading_at_the_end_closes_the_month() -> None:
    assert units((START, 0), (OCTOBER, 5), (OCTOBER + timedelta(days=1), 8)) == {"2026-09": 5, "2026-10": 3}
    assert units((START, 0), (OCTOBER + timedelta(minutes=2), 5)) == {"2026-10": 5}


def test_after_a_fall_what_stands_there_was_used() -> None:
    day = timedelta(days=1)
    assert units((START, 100), (START + day, 103), (START + 2 * day, 4)) == {"2026-09": 7}
