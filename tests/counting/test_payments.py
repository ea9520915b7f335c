"""Use in each way of paying: bounded by what is there, charged from the right money, and at the same cost."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from counting_samples import (
    AGREED,
    SETTINGS,
    SIGNING,
    House,
    Meterer,
    add_customer,
    add_installation,
    add_terminal,
    charges,
    tariff,
    visitor,
)
from counting_samples import opened as opened_grants
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from charging.ledger.book import apply, balances
from charging.ledger.operations import Leg, Post
from charging.ledger.tables import CASH, OPERATOR, PREPAID, UNBILLED
from charging.ledger.verify import verify
from charging.modes import PAYMENTS, affordable, owed
from charging.tariffs import Tariff, TariffBook
from operator_server.balances.barring import bar, unbar
from operator_server.billing.proof import verify_billing
from operator_server.counting.desk import cut_overs_due
from operator_server.counting.grants import UsageGrants
from operator_server.counting.money import limit_left
from operator_server.counting.tariffs import TariffVersions
from operator_server.store.accounting import RatingStateRow
from operator_server.store.parties import Notice
from operator_server.store.rows import add, table
from operator_server.store.terms import AgreementPrice, AgreementTerm, SubscriberLimit
from signalling.clock import to_micros
from signalling.documents import UsageGrant
from signalling.messages import CounterNoted

HOUR = timedelta(hours=1)
CENT = 10_000
PLAIN = {"included": 0}


def furnished(connection: Connection, house: House, payment: str, *, balance: str = "0", credit: str = "0") -> None:
    add_customer(connection, credit=credit)
    add_terminal(connection)
    add_installation(connection, house.version, payment=payment)
    top_up(connection, int(balance) * CENT)


def top_up(connection: Connection, micros: int, name: str = "top-up", account: str = "acc-1") -> None:
    if micros:
        legs = (Leg(account, PREPAID, "EUR", -micros), Leg(OPERATOR, CASH, "EUR", micros))
        post = Post(source="test", op_id=name, kind="top_up", legs=legs, effective_at=AGREED)
        apply(connection, [post], to_micros(AGREED))


def balance(connection: Connection, kind: str) -> int:
    return next(each.balance for each in balances(connection, "acc-1") if each.kind == kind)


def grants(noted: CounterNoted) -> list[UsageGrant]:
    return opened_grants(noted.usage)


def proven(connection: Connection) -> bool:
    return [*verify(connection), *verify_billing(connection)] == []


def test_prepaid_use_is_granted_as_far_as_the_money_reaches_with_tax_and_ends_when_it_is_spent() -> None:
    house, meter = House(tariff(**PLAIN)), Meterer()
    with house.writing() as connection:
        # 59.5 cents are ten uses of five cents with 19 % tax; four cents more are no use.
        furnished(connection, house, "prepaid", balance="63")
        [first] = house.first(connection)
        assert first.ceiling == 10
        assert house.take(connection, AGREED + HOUR, meter.use(4, AGREED + HOUR)).usage
        assert balance(connection, PREPAID) == -63 * CENT + 238_000
        noted = house.take(connection, AGREED + 2 * HOUR, meter.use(6, AGREED + 2 * HOUR))
        assert noted.usage == []
        [notice] = connection.execute(select(table(Notice).c.state)).scalars()
        assert notice == "no_credit"
        assert balance(connection, PREPAID) == -63 * CENT + 595_000
        assert balance(connection, UNBILLED) == 0
        assert {charge.pays for charge in charges(connection)} == {"prepaid"}
        assert proven(connection)


def test_a_top_up_lets_prepaid_use_go_on_with_the_next_report() -> None:
    house, meter = House(tariff(**PLAIN)), Meterer()
    with house.writing() as connection:
        furnished(connection, house, "prepaid")
        assert house.first(connection) == []
        top_up(connection, 12 * CENT)
        [grant] = grants(house.take(connection, AGREED + HOUR, meter.use(0, AGREED + HOUR)))
        assert grant.ceiling == 2


def test_use_beyond_what_was_granted_is_owed_and_takes_no_prepaid_balance_below_zero() -> None:
    house, meter = House(tariff(**PLAIN)), Meterer()
    with house.writing() as connection:
        furnished(connection, house, "prepaid", balance="12")
        house.first(connection)
        house.take(connection, AGREED + HOUR, meter.use(9, AGREED + HOUR))
        assert balance(connection, PREPAID) == -12 * CENT
        assert balance(connection, UNBILLED) == 45 * CENT
        [charge] = charges(connection)
        assert (charge.pays, charge.paid_tax) == ("unbilled", 0)
        assert proven(connection)


def test_pseudo_prepaid_use_needs_some_money_and_may_end_below_zero() -> None:
    house, meter = House(tariff(**PLAIN)), Meterer()
    with house.writing() as connection:
        furnished(connection, house, "pseudo_prepaid", balance="1")
        [first] = house.first(connection)
        assert first.ceiling == 20
        assert house.take(connection, AGREED + HOUR, meter.use(20, AGREED + HOUR)).usage == []
        assert balance(connection, PREPAID) == -1 * CENT + owed(100 * CENT, 1900).total
        assert proven(connection)


def test_what_is_only_rated_is_shown_and_never_charged() -> None:
    house, meter = House(), Meterer()
    with house.writing() as connection:
        furnished(connection, house, "rated_only")
        [first] = house.first(connection)
        assert first.ceiling == 20
        house.take(connection, AGREED + HOUR, meter.use(20, AGREED + HOUR))
        [charge] = charges(connection)
        assert (charge.net, charge.pays, charge.transfer_id) == (50 * CENT, "none", "")
        assert (balance(connection, PREPAID), balance(connection, UNBILLED)) == (0, 0)
        assert proven(connection)


def trial(connection: Connection, until: datetime) -> None:
    term = AgreementTerm(
        agreement_id="agr-inst-1", state="trial", started_at=AGREED, trial_ends_at=until, charged_from=until
    )
    add(connection, term)


def test_use_in_a_trial_costs_nothing_and_takes_nothing_of_what_is_included_later() -> None:
    house, meter = House(), Meterer()
    until = AGREED + timedelta(days=3)
    with house.writing() as connection:
        furnished(connection, house, "postpaid")
        trial(connection, until)
        [first] = house.first(connection)
        assert (first.ceiling, first.valid_until) == (20, to_micros(until))
        assert to_micros(until) in cut_overs_due(connection, "T-1", AGREED + HOUR, SETTINGS.operator.zone)
        report = meter.use(35, until + HOUR, (until, 20))
        house.take(connection, until + HOUR, report)
        assert [(each.kind, each.quantity, each.net) for each in charges(connection)] == [
            ("trial", 20, 50 * CENT), ("use", 15, 25 * CENT),
        ]  # fmt: skip
        assert balance(connection, UNBILLED) == 25 * CENT
        assert proven(connection)


def test_a_version_of_the_tariff_that_was_announced_rates_what_is_used_from_then_on() -> None:
    house, meter = House(), Meterer()
    dearer = tariff(price={"model": "per_unit", "amount": "0.10"}, effective_from="2026-10-01")
    book = TariffBook([Tariff("games", {}, (house.version, dearer))])
    house.tariffs = TariffVersions(lambda: book)
    house.grants = UsageGrants(house.tariffs, SIGNING, SETTINGS)
    change = AGREED + timedelta(days=3)
    with house.writing() as connection:
        furnished(connection, house, "postpaid", credit="100")
        add(
            connection,
            AgreementPrice(
                agreement_id="agr-inst-1", effective_at=change, announced_at=AGREED, tariff_version=dearer.version_id
            ),
        )
        house.take(connection, change + HOUR, meter.use(30, change + HOUR, (change, 12)))
        assert [(each.quantity, each.net) for each in charges(connection)] == [(12, 10 * CENT), (18, 180 * CENT)]
        house.take(connection, change + 2 * HOUR, meter.use(1, change + 2 * HOUR))
        assert charges(connection)[-1].net == 10 * CENT


def test_a_subscribers_limit_counts_what_other_agreements_were_granted() -> None:
    house, meter = House(tariff(**PLAIN)), Meterer()
    with house.writing() as connection:
        furnished(connection, house, "postpaid", credit="100")
        add_installation(connection, house.version, "inst-2", payment="rated_only")
        add_installation(connection, house.version, "inst-3")
        add(connection, SubscriberLimit(subscriber_id="acc-1", currency="EUR", amount=120 * CENT, set_at=AGREED))
        assert [grant.ceiling for grant in house.first(connection)] == [20]
        assert [grant.ceiling for grant in house.first(connection, installation="inst-2")] == [20]
        assert [grant.ceiling for grant in house.first(connection, installation="inst-3")] == [4]
        house.take(connection, AGREED + HOUR, meter.use(20, AGREED + HOUR))
        assert limit_left(connection, "acc-1", "EUR", SETTINGS.operator.zone, AGREED + HOUR) == 0


TIER = {"from": 0, "to": 5, "amount": "0.10"}
PRICES: list[dict[str, Any]] = [
    {"included": 7, "price": {"model": "per_unit", "amount": "0.0333"}},
    {
        "price": {
            "model": "graduated",
            "tiers": [{"from": 0, "to": 5, "amount": "0.10"}, {"from": 5, "amount": "0.0101"}],
        }
    },
    {"price": {"model": "package", "size": 3, "amount": "0.25"}},
]


@pytest.mark.parametrize("keys", PRICES, ids=["per_unit", "graduated", "package"])
@given(uses=st.lists(st.integers(1, 20), min_size=1, max_size=6))
@settings(max_examples=12, deadline=None)
def test_the_cost_of_the_same_usage_is_the_same_in_each_way_of_paying(keys: dict[str, Any], uses: list[int]) -> None:
    house = House(tariff(**keys))
    with house.writing() as connection:
        add_terminal(connection)
        for payment in PAYMENTS:
            add_customer(connection, payment, credit="50")
            add_installation(connection, house.version, f"inst-{payment}", account=payment, payment=payment)
            top_up(connection, 5000 * CENT, payment, account=payment)
            house.first(connection, installation=f"inst-{payment}")
            meter = Meterer(f"inst-{payment}")
            for number, count in enumerate(uses, 1):
                at = AGREED + number * HOUR
                house.take(connection, at, meter.use(count, at), by=visitor(payment))
        rows = charges(connection)
        assert proven(connection)
    net = {name: [row.net for row in rows if row.account_id == name] for name in PAYMENTS}
    paid = {name: sum(row.net + row.paid_tax for row in rows if row.account_id == name) for name in PAYMENTS}
    assert len({tuple(each) for each in net.values()}) == 1
    whole = sum(net["postpaid"])
    assert paid["postpaid"] == paid["rated_only"] == whole
    # Taxed in pieces as the whole would be on the invoice.
    assert paid["prepaid"] == paid["pseudo_prepaid"] == whole + owed(whole, 1900).tax


@given(gross=st.integers(0, 10**12), rate=st.integers(0, 10_000))
def test_what_can_be_afforded_net_is_the_most_that_can_be_paid_with_its_tax(gross: int, rate: int) -> None:
    net = affordable(gross, rate)
    assert owed(net, rate).total <= gross < owed(net + 2, rate).total


def test_the_spent_of_a_month_is_kept_for_each_agreement() -> None:
    house, meter = House(tariff(**PLAIN)), Meterer()
    with house.writing() as connection:
        furnished(connection, house, "prepaid", balance="500")
        house.first(connection)
        house.take(connection, AGREED + HOUR, meter.use(3, AGREED + HOUR))
        spent = connection.execute(select(table(RatingStateRow).c.spent)).scalar_one()
        assert spent == 15 * CENT


@pytest.mark.parametrize("party", ["account", "subscriber"])
def test_who_is_barred_reports_and_owes_what_was_used_and_is_granted_nothing(party: Any) -> None:
    house, meter = House(tariff(**PLAIN)), Meterer()
    with house.writing() as connection:
        furnished(connection, house, "postpaid", credit="100")
        house.first(connection)
        bar(connection, party, "acc-1", "does not pay", AGREED)
        noted = house.take(connection, AGREED + HOUR, meter.use(3, AGREED + HOUR))
        assert ([one.status for one in noted.outcomes], noted.usage) == (["accepted"], [])
        assert balance(connection, UNBILLED) == 15 * CENT
        assert connection.execute(select(table(Notice).c.state)).scalars().all() == ["barred"]
        unbar(connection, party, "acc-1", "has paid", AGREED)
        assert grants(house.take(connection, AGREED + 2 * HOUR, meter.use(0, AGREED + 2 * HOUR)))
