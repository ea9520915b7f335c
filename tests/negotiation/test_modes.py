"""Modes at the desk: prepaid, subscription, trial, limits of subscribers; what is charged when, from which money."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from operator_samples import DAY, NOW, House, User

from charging.ledger.book import apply, balances, open_account
from charging.ledger.operations import Leg, Post
from charging.ledger.tables import CASH, OPERATOR, PREPAID
from charging.ledger.verify import verify
from operator_server.billing.bill_run import run_bills
from operator_server.billing.proof import verify_billing
from operator_server.offering.loading import load
from operator_server.store.accounting import Charge
from operator_server.store.dealings import Agreement
from operator_server.store.parties import Event, Notice
from operator_server.store.terms import AgreementTerm
from operator_server.subscriptions import running
from operator_server.subscriptions.ending import AgreementError, cancel, renew, withdraw
from operator_server.subscriptions.prices import announce
from operator_server.subscriptions.running import advance_due
from operator_server.subscriptions.views import agreement, agreements, set_limit
from signalling.clock import to_micros

MICROS = 1_000_000
OFFER = """
[[offer]]
id = "{id}"
product = "{id}"
kind = "service"
text.en = {{ title = "{id}" }}

[[offer.mode]]
id = "m"
kind = "{kind}"
label = {{ en = "The mode" }}
{keys}
"""
PRICE = 'amount = "10.00"\ncurrency = "EUR"\ntax_category = "S"\n'
MONTHLY = PRICE + 'period = "month"\n'


def local(*at: int) -> datetime:
    """A midnight of the operator's winter."""
    return datetime(*at, tzinfo=UTC) - timedelta(hours=1)  # type: ignore[arg-type]  # year, month, day


class Shop:
    """A house with one more offer, ``sub``, in mode ``m``."""

    def __init__(self, house: House, kind: str, keys: str) -> None:
        self.house = house
        self.user: User = house.user()
        self.offer(kind, keys)

    def offer(self, kind: str, keys: str) -> None:
        path = self.house.folder / "configs" / "offers" / "more.toml"
        path.write_text(OFFER.format(id="sub", kind=kind, keys=keys))
        self.house.take_over()

    def take(self) -> str:
        return self.user.take("sub", "m").agreement

    def at(self, instant: datetime) -> None:
        """Let the worker do what is due by an instant."""
        self.house.clock.set(instant)
        advance_due(self.house.engine, self.house.operator.settings, instant)

    def charges(self) -> list[tuple[str, int]]:
        rows = sorted(self.house.rows(Charge), key=lambda row: (row.recorded_at, row.effective_at, row.id))
        return [(row.kind, row.net) for row in rows]

    def term(self) -> AgreementTerm:
        [row] = self.house.rows(AgreementTerm)
        return row

    def cancel(self, agreement: str) -> datetime:
        settings, now = self.house.operator.settings, self.house.clock.now()
        return self.house.change(lambda c: cancel(c, agreement, settings, now)).ends_at

    def call(self, rule: Any, agreement: str) -> Any:
        settings, now = self.house.operator.settings, self.house.clock.now()
        return self.house.change(lambda c: rule(c, agreement, settings, now))

    def state(self, agreement: str) -> str:
        [row] = self.house.rows(Agreement, id=agreement)
        return row.state

    def proven(self) -> bool:
        with self.house.engine.connect() as connection:
            return [*verify(connection), *verify_billing(connection)] == []


def top_up(house: House, micros: int, account: str = "A-1", name: str = "top-up-1") -> None:
    legs = (Leg(account, PREPAID, "EUR", -micros), Leg(OPERATOR, CASH, "EUR", micros))
    post = Post(source="test", op_id=name, kind="top_up", legs=legs, effective_at=NOW)
    house.change(lambda c: apply(c, [post], to_micros(NOW)))


def prepaid(house: House, account: str = "A-1") -> int:
    """What is there as money paid ahead."""
    with house.engine.connect() as connection:
        return -next(each.balance for each in balances(connection, account) if each.kind == PREPAID)


def texts(house: House) -> list[str]:
    return [row.text for row in sorted(house.rows(Notice), key=lambda row: row.id)]


def test_one_off_prepaid_is_paid_with_its_tax_at_delivery(house: House) -> None:
    shop = Shop(house, "one_off", PRICE + 'payment = "prepaid"')
    house.change(lambda c: open_account(c, "A-1", "EUR", 0))
    assert shop.user.refused(shop.user.request, "sub", "m") == "no_credit"
    top_up(house, 12 * MICROS)
    assert "from your balance" in shop.user.menu()["sub"].modes[0].price_text
    shop.take()
    assert prepaid(house) == 100_000
    [charge] = house.rows(Charge)
    assert (charge.pays, charge.net, charge.paid_tax) == ("prepaid", 10 * MICROS, 1_900_000)
    with house.engine.connect() as connection:
        tax = next(each for each in balances(connection, OPERATOR) if each.kind == "tax:S")
    assert tax.balance == -1_900_000
    assert shop.proven()


def test_what_is_paid_ahead_is_on_no_invoice(house: House) -> None:
    shop = Shop(house, "one_off", PRICE + 'payment = "prepaid"')
    top_up(house, 12 * MICROS)
    shop.take()
    house.user("T-2").take("hotline", "buy")
    house.clock.set(local(2026, 12, 2))
    report = run_bills(house.engine, house.operator.settings, "2026-11", now=house.clock.now())
    assert report.gross == {"EUR": 5_950_000}
    assert shop.proven()


def test_credit_is_not_money_paid_ahead(house: House) -> None:
    shop = Shop(house, "one_off", PRICE + 'payment = "prepaid"')
    top_up(house, 11 * MICROS)
    assert house.left() == 31 * MICROS
    assert shop.user.refused(shop.user.request, "sub", "m") == "no_credit"


def test_a_failed_delivery_gives_the_money_back_with_its_tax(house: House) -> None:
    shop = Shop(house, "one_off", PRICE + 'payment = "prepaid"')
    top_up(house, 12 * MICROS)
    grant = shop.user.granted(shop.user.agree("sub", "m"))
    assert prepaid(house) == 100_000
    assert shop.user.receipt(grant, "failed").charge == "reversed"
    assert prepaid(house) == 12 * MICROS
    assert shop.proven()


def test_a_subscription_is_charged_for_each_period_in_advance_once(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY)
    shop.take()
    assert shop.charges() == [("period", 10 * MICROS)]
    shop.at(NOW + 20 * DAY)
    assert len(shop.charges()) == 1
    shop.at(local(2026, 12, 2))
    shop.at(local(2026, 12, 2))
    assert len(shop.charges()) == 2
    [first, second] = sorted(house.rows(Charge), key=lambda row: row.service_from)  # type: ignore[arg-type, return-value]  # charges for a time have one
    assert (first.service_from, first.service_to) == (NOW, local(2026, 12, 2))
    assert (second.service_from, second.service_to) == (local(2026, 12, 2), local(2027, 1, 2))
    assert shop.proven()


def test_a_worker_that_was_down_charges_every_period_that_it_missed(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY)
    shop.take()
    shop.at(local(2027, 3, 5))
    assert sorted(row.period for row in house.rows(Charge)) == [
        "2026-11", "2026-12", "2027-01", "2027-02", "2027-03",
    ]  # fmt: skip


def test_in_arrears_a_period_is_charged_when_it_is_over(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY + 'charged = "arrears"')
    shop.take()
    assert shop.charges() == []
    shop.at(local(2026, 12, 2))
    [charge] = house.rows(Charge)
    assert (charge.period, charge.net) == ("2026-12", 10 * MICROS)


def test_the_first_period_is_charged_by_its_days_where_the_terms_say_so(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY + "pro_rata = true")
    shop.take()
    # 29 of the 30 days of November are left.
    assert shop.charges() == [("period", 9_670_000)]
    shop.at(local(2026, 12, 1))
    assert shop.charges()[1] == ("period", 10 * MICROS)


def test_cancellation_keeps_minimum_term_and_notice(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY + 'minimum_periods = 3\nnotice = "30d"')
    bought = shop.take()
    shop.at(NOW + DAY)
    assert shop.cancel(bought) == local(2027, 2, 2)
    assert shop.cancel(bought) == local(2027, 2, 2)
    shop.at(local(2027, 2, 1))
    assert shop.state(bought) == "installed"
    shop.at(local(2027, 3, 15))
    assert shop.state(bought) == "ended"
    assert len(shop.charges()) == 3


def test_after_the_minimum_term_the_notice_alone_counts(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY + 'minimum_periods = 1\nnotice = "30d"')
    bought = shop.take()
    shop.at(local(2027, 1, 10))
    assert shop.cancel(bought) == local(2027, 3, 2)


def test_who_cancels_on_the_first_day_of_a_period_has_it_to_its_end(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY)
    bought = shop.take()
    shop.at(local(2026, 12, 2))
    shop.house.clock.set(local(2026, 12, 2) + timedelta(hours=9))
    assert shop.cancel(bought) == local(2027, 1, 2)
    shop.at(local(2027, 1, 2))
    assert (len(shop.charges()), shop.state(bought)) == (2, "ended")


def test_a_cancellation_can_be_taken_back_until_it_takes_effect(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY)
    bought = shop.take()
    shop.cancel(bought)
    shop.call(renew, bought)
    shop.at(local(2026, 12, 3))
    assert len(shop.charges()) == 2
    shop.cancel(bought)
    shop.at(local(2027, 1, 2))
    with pytest.raises(AgreementError, match="only a new one"):
        shop.call(renew, bought)


def test_a_trial_costs_nothing_warns_and_is_followed_by_the_mode(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY + 'trial = "14d"\ntrial_warning = "3d"')
    text = shop.user.menu()["sub"].modes[0].price_text
    assert text.startswith("14 days free of charge, then €10.00 per month, in advance, plus 19% tax")
    bought = shop.take()
    shop.at(local(2026, 11, 14) - timedelta(seconds=1))
    assert texts(house) == []
    shop.at(local(2026, 11, 14))
    [warning] = texts(house)
    assert "ends on 2026-11-16" in warning
    assert "€10.00 per month" in warning
    shop.at(local(2026, 11, 17) - timedelta(seconds=1))
    assert shop.charges() == []
    shop.at(local(2026, 11, 17))
    assert shop.charges() == [("period", 10 * MICROS)]
    assert len(house.rows(Event, kind="trial_ends")) == len(house.rows(Event, kind="trial_ended")) == 1
    assert shop.state(bought) == "installed"


def test_the_warning_of_a_trial_comes_at_a_local_midnight_also_where_the_clocks_change(house: House) -> None:
    house.clock.set(datetime(2027, 3, 20, 12, tzinfo=UTC))
    shop = Shop(house, "subscription", MONTHLY + 'trial = "8d"\ntrial_warning = "3d"')
    shop.take()
    assert shop.term().trial_ends_at == datetime(2027, 3, 28, 22, tzinfo=UTC)
    assert shop.term().warn_at == datetime(2027, 3, 25, 23, tzinfo=UTC)


def test_who_cancels_in_a_trial_pays_nothing(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY + 'trial = "14d"\nminimum_periods = 12\nnotice = "30d"')
    bought = shop.take()
    assert shop.cancel(bought) == local(2026, 11, 17)
    shop.at(local(2027, 3, 1))
    assert (shop.charges(), shop.state(bought)) == ([], "ended")


def test_a_trial_is_given_once(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY + 'trial = "14d"')
    shop.cancel(shop.take())
    shop.at(local(2026, 12, 1))
    other = house.user("T-2")
    assert other.refused(other.request, "sub", "m") == "trial_used"


def test_what_is_tried_and_then_bought_once_is_paid_when_the_trial_ends(house: House) -> None:
    shop = Shop(house, "one_off", PRICE + 'trial = "7d"')
    shop.take()
    assert shop.charges() == []
    shop.at(local(2026, 11, 10))
    shop.at(local(2026, 12, 10))
    assert shop.charges() == [("delivery", 10 * MICROS)]


def test_a_prepaid_subscription_that_cannot_be_paid_is_tried_for_a_week_and_ends(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY + 'payment = "prepaid"')
    top_up(house, 12 * MICROS)
    bought = shop.take()
    shop.at(local(2026, 12, 2))
    shop.at(local(2026, 12, 3))
    assert len(shop.charges()) == 1
    assert [text for text in texts(house) if "top up" in text] == [texts(house)[0]]
    shop.at(local(2026, 12, 10))
    shop.at(local(2026, 12, 11))
    assert (shop.state(bought), prepaid(house)) == ("ended", 100_000)


def test_a_prepaid_subscription_goes_on_after_a_top_up(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY + 'payment = "prepaid"')
    top_up(house, 12 * MICROS)
    bought = shop.take()
    shop.at(local(2026, 12, 2))
    top_up(house, 12 * MICROS, name="top-up-2")
    shop.at(local(2026, 12, 4))
    assert (len(shop.charges()), shop.state(bought), prepaid(house)) == (2, "installed", 200_000)
    assert shop.proven()


@pytest.mark.parametrize("payment", ["postpaid", "prepaid", "pseudo_prepaid"])
def test_withdrawal_takes_everything_back_within_its_days(house: House, payment: str) -> None:
    shop = Shop(house, "subscription", f'{MONTHLY}payment = "{payment}"')
    top_up(house, 12 * MICROS)
    bought = shop.take()
    house.clock.set(local(2026, 11, 17) - timedelta(seconds=1))
    done = shop.call(withdraw, bought)
    assert (done.net, shop.state(bought)) == (10 * MICROS, "ended")
    assert (prepaid(house), house.unbilled().balance) == (12 * MICROS, 0)
    assert shop.charges() == [("period", 10 * MICROS), ("withdrawal", -10 * MICROS)]
    assert shop.proven()
    with pytest.raises(AgreementError, match="ended already"):
        shop.call(withdraw, bought)


def test_withdrawal_comes_too_late_after_its_days(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY)
    bought = shop.take()
    house.clock.set(local(2026, 11, 17))
    with pytest.raises(AgreementError, match="could be withdrawn until 2026-11-16 23:00 UTC"):
        shop.call(withdraw, bought)


def test_a_new_price_changes_no_running_agreement_whose_price_is_fixed(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY)
    shop.take()
    shop.offer("subscription", MONTHLY.replace("10.00", "20.00"))
    loaded, settings = load(house.operator.settings), house.operator.settings
    assert house.change(lambda c: announce(c, loaded, settings, house.clock.now())) == []
    shop.at(local(2027, 1, 2))
    assert shop.charges() == [("period", 10 * MICROS)] * 3


def test_an_announced_price_holds_after_the_notice_and_lets_the_user_cancel_before(house: House) -> None:
    keys = MONTHLY + 'minimum_periods = 12\nprice_change = "30d"'
    shop = Shop(house, "subscription", keys)
    bought = shop.take()
    shop.offer("subscription", keys.replace("10.00", "20.00"))
    loaded, settings = load(house.operator.settings), house.operator.settings
    house.clock.set(local(2026, 11, 10))
    for expected in (1, 0):
        assert len(house.change(lambda c: announce(c, loaded, settings, house.clock.now()))) == expected
    assert "changes on 2027-01-02: €20.00 per month" in texts(house)[0]
    shop.at(local(2027, 2, 2))
    assert [net for _, net in shop.charges()] == [10 * MICROS, 10 * MICROS, 20 * MICROS, 20 * MICROS]
    assert shop.cancel(bought) == local(2027, 11, 2)


def test_a_price_that_is_announced_anew_for_the_same_day_takes_the_place_of_the_other(house: House) -> None:
    keys = MONTHLY + 'price_change = "30d"'
    shop = Shop(house, "subscription", keys)
    shop.take()
    settings = house.operator.settings
    for day, price in enumerate(("20.00", "15.00", "15.00"), 10):
        shop.offer("subscription", keys.replace("10.00", price))
        house.clock.set(local(2026, 11, day))
        loaded = load(settings)
        house.change(lambda c, loaded=loaded: announce(c, loaded, settings, house.clock.now()))
    assert ["€20.00" in text or "€15.00" in text for text in texts(house)] == [True, True]
    shop.at(local(2027, 1, 2))
    assert [net for _, net in shop.charges()] == [10 * MICROS, 10 * MICROS, 15 * MICROS]


def test_before_an_announced_price_the_minimum_term_does_not_bind(house: House) -> None:
    keys = MONTHLY + 'minimum_periods = 12\nprice_change = "30d"'
    shop = Shop(house, "subscription", keys)
    bought = shop.take()
    shop.offer("subscription", keys.replace("10.00", "20.00"))
    loaded, settings = load(house.operator.settings), house.operator.settings
    house.change(lambda c: announce(c, loaded, settings, house.clock.now()))
    assert shop.cancel(bought) == local(2027, 1, 2)


def test_a_subscribers_limit_holds_across_agreements_and_modes(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY)
    house.change(lambda c: set_limit(c, "A-1", "EUR", 14 * MICROS, NOW))
    shop.take()
    other = house.user("T-2")
    assert other.refused(other.request, "hotline", "buy") == "limit_reached"
    house.change(lambda c: set_limit(c, "A-1", "EUR", 15 * MICROS, NOW))
    other.take("hotline", "buy")
    assert other.refused(other.request, "game", "per-use") == "limit_reached"
    house.clock.set(local(2026, 12, 1))
    other.request("game", "per-use")


def test_modes_in_a_currency_that_the_account_is_not_kept_in_are_not_shown(house: House, user: User) -> None:
    user.visitor = msgspec.structs.replace(user.visitor, currency="EUR")
    assert "yen" not in user.menu()
    user.visitor = msgspec.structs.replace(user.visitor, currency="JPY")
    assert set(user.menu()) == {"yen", "notes"}


def test_agreements_are_listed_with_what_binds_them(house: House) -> None:
    shop = Shop(house, "subscription", MONTHLY + 'minimum_periods = 2\ntrial = "1d"')
    bought = shop.take()
    with house.engine.connect() as connection:
        [listed] = agreements(connection, account="A-1", running=True)
        shown = agreement(connection, bought)
        with pytest.raises(AgreementError, match="there is none"):
            agreement(connection, "nothing")
    assert (listed["state"], listed["charged"], listed["minimum_until"]) == ("trial", "0.00", local(2027, 1, 4))
    assert shown["price"].startswith("1 day free of charge, then €10.00 per month")
    assert (shown["charges"], shown["price_change"]) == ([], "fixed")


def test_a_worker_that_is_stopped_at_any_period_charges_each_once_when_it_is_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(house, "subscription", MONTHLY)
    shop.take()
    house.user("T-3", "A-2").take("sub", "m")
    whole, calls = running.settle, iter(range(100))

    def stopped(*arguments: Any) -> Charge:
        charge = whole(*arguments)
        if next(calls) in (1, 6):
            raise KeyboardInterrupt
        return charge

    monkeypatch.setattr(running, "settle", stopped)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            shop.at(local(2027, 2, 2))
    shop.at(local(2027, 2, 2))
    for account in ("A-1", "A-2"):
        periods = sorted(row.period for row in house.rows(Charge, account_id=account))
        assert periods == ["2026-11", "2026-12", "2027-01", "2027-02"]
    assert shop.proven()


def test_an_agreement_that_fails_holds_up_no_other_and_is_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(house, "subscription", MONTHLY)
    broken = shop.take()
    house.user("T-3", "A-2").take("sub", "m")
    whole = running.settle

    def faulty(connection: Any, agreement: Any, *others: Any) -> Charge:
        if agreement.id == broken:
            raise ZeroDivisionError("no such period")
        return whole(connection, agreement, *others)

    def charged(account: str) -> list[str]:
        return sorted(row.period for row in house.rows(Charge, account_id=account))

    monkeypatch.setattr(running, "settle", faulty)
    day = local(2026, 12, 5)
    shop.at(day)
    shop.at(day + timedelta(minutes=30))
    assert (charged("A-1"), charged("A-2")) == (["2026-11"], ["2026-11", "2026-12"])
    [told] = house.rows(Event, kind="agreement_stuck")
    assert (told.reference, told.data["why"]) == (broken, "ZeroDivisionError: no such period")
    monkeypatch.undo()
    shop.at(day + timedelta(hours=1))
    assert charged("A-1") == ["2026-11", "2026-12"]
    assert shop.proven()
