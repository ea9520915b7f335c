"""The commands of balances: what they do, what they say, and how they end."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "negotiation"))

from operator_fixtures import furnished, house, user
from operator_samples import House, User
from typer.testing import CliRunner, Result

from operator_server.cli.main import app
from signalling.clock import SharedClock

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["furnished", "house", "user"]

TARIFF = """
id = "calls"
name = { en = "Calls" }
[[version]]
effective_from = 2026-01-01
currency = "EUR"
tax_category = "S"
unit = "second"
zone = "Europe/Berlin"
rounding = { mode = "half_up", place = "record", to = 100 }
price = { model = "per_unit", amount = "0.006", unit_size = 60, increments = { first = 30, next = 6 } }
"""


@pytest.fixture
def tollgate(house: House, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    clock, config = house.folder / "clock", house.folder / "configs"
    SharedClock(clock, start=house.clock.now())
    (config / "tariffs" / "calls.toml").write_text(TARIFF, encoding="utf-8")
    monkeypatch.setenv("TOLLGATE_CONFIG", str(config))
    monkeypatch.setenv("TOLLGATE_CLOCK", f"file:{clock}")
    runner = CliRunner()

    def run(*arguments: str, code: int = 0) -> Any:
        result: Result = runner.invoke(app, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if "--json" in arguments else result.output

    return run


def test_a_reservation_and_credit_that_are_over_end_where_no_worker_runs(
    tollgate: Callable[..., Any], house: House
) -> None:
    tollgate("account", "limit", "A-1", "0")
    tollgate("account", "top-up", "A-1", "1.00", "--id", "v-1")
    tollgate("account", "top-up", "A-1", "1.00", "--id", "v-2", "--valid-until", "2099-01-01T00:00:00+00:00")
    wanted = ("A-1", "second", "7200", "--tariff", "calls", "--pays", "prepaid")
    tollgate("charge", "reserve", *wanted, "--id", "r-1", "--for", "60")
    SharedClock(house.folder / "clock").set(datetime(2099, 1, 1, tzinfo=UTC))
    assert "It can be had" in tollgate("charge", "enquire", *wanted)
    assert tollgate("account", "balance", "A-1", "--json")["money"][0]["available"] == "1.00"
    assert "expired" in tollgate("charge", "release", "r-1", code=1)


def test_money_is_topped_up_adjusted_paid_out_and_shown(tollgate: Callable[..., Any]) -> None:
    tollgate("account", "limit", "A-1", "0")
    for _ in range(2):
        answer = tollgate("account", "top-up", "A-1", "20.00", "--id", "v-1", "--valid-until", "2027-03-31", "--json")
        assert (answer["amount"], answer["prepaid"]) == ("20.00", "20.00")
    assert "other content" in tollgate("account", "top-up", "A-1", "21.00", "--id", "v-1", code=1)
    tollgate("account", "adjust", "A-1", "--reason", "goodwill", "--", "-2.50")
    assert "12.50 EUR paid ahead" in tollgate("account", "pay-out", "A-1", "5", "--id", "p-1")
    assert "asked from prepaid" in tollgate("account", "pay-out", "A-1", "12.51", code=1)
    tollgate("account", "bucket", "add", "A-1", "second", "60", "--id", "m", "--valid-until", "2026-12-01")
    shown = tollgate("account", "balance", "A-1", "--json")
    assert shown["money"][0]["available"] == "12.50"
    assert [(each["left"], each["until"]) for each in shown["credits"]] == [("12.50", "2027-03-30 22:00:00+00:00")]
    assert [(each["id"], each["remaining"]) for each in shown["buckets"]] == [("m", 60)]
    assert "12.50" in tollgate("account", "balance", "A-1")


def test_use_is_asked_for_reserved_committed_and_refunded(tollgate: Callable[..., Any]) -> None:
    use = ("A-1", "second", "135", "--tariff", "calls", "--pays", "prepaid")
    tollgate("account", "limit", "A-1", "0")
    tollgate("account", "bucket", "add", "A-1", "second", "60", "--id", "m")
    assert "It cannot be had" in tollgate("charge", "enquire", *use)
    tollgate("account", "top-up", "A-1", "1")
    asked = tollgate("charge", "enquire", *use, "--json")
    assert (asked["rated"], asked["net"], asked["due"], asked["possible"]) == (75, "0.0078", "0.009282", True)
    for _ in range(2):
        held = tollgate("charge", "reserve", *use, "--id", "call-1", "--for", "900", "--json")
        assert (held["money"], held["units"][0]["amount"]) == ("0.009282", 60)
    taken = tollgate("charge", "commit", "call-1", "--quantity", "92", "--id", "end-1", "--json")
    assert (taken["rated"], taken["net"], taken["charged"]) == (32, "0.0036", "0.004284")
    assert "it is committed" in tollgate("charge", "release", "call-1", code=1)
    back = tollgate("charge", "refund", taken["charge"], "--reason", "bad line", "--json")
    assert back["amount"] == "0.004284"
    assert "0.00 of it is left" in tollgate("charge", "refund", taken["charge"], "--reason", "again", code=1)
    assert "in no bucket" in tollgate("charge", "consume", "A-1", "byte", "1", code=1)
    assert "proven" in tollgate("ledger", "verify")


def test_shares_and_thresholds_are_kept_and_shown(tollgate: Callable[..., Any]) -> None:
    tollgate("account", "bucket", "add", "A-1", "second", "60", "--id", "m")
    tollgate("account", "share", "add", "A-1", "A-2", "--bucket", "m", "--most", "20", "--id", "s")
    taken = tollgate("charge", "consume", "A-2", "second", "20", "--json")
    assert taken["units"] == [{"bucket": "m", "share": "s", "amount": 20}]
    assert tollgate("account", "share", "list", "A-1", "--json")[0]["used"] == 20
    tollgate("account", "share", "end", "s")
    assert "in no bucket" in tollgate("charge", "consume", "A-2", "second", "1", code=1)
    tollgate("account", "threshold", "add", "A-1", "--above", "50%", "--bucket", "m", "--id", "t")
    tollgate("account", "bucket", "adjust", "m", "--reason", "test", "--", "-11")
    (shown,) = tollgate("account", "threshold", "list", "A-1", "--json")
    assert (shown["level"], shown["crossed"]) == (30, True)
    assert "above 50 %" in tollgate("account", "threshold", "list", "A-1")
    tollgate("account", "threshold", "remove", "t")
    assert "either --below or --above" in tollgate("account", "threshold", "add", "A-1", code=1)


def test_who_is_barred_makes_no_agreement(tollgate: Callable[..., Any], user: User) -> None:
    quote = user.request()
    tollgate("account", "bar", "A-1", "--reason", "unpaid since July")
    assert user.refused(user.request) == user.refused(user.confirm, quote) == "barred"
    tollgate("account", "unbar", "A-1", "--reason", "paid")
    user.confirm(quote)
