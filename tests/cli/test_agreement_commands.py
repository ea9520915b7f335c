"""``tollgate agreement``: what it answers to people and to programs, and how it says no."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from operator_samples import House, User

from operator_server.store.terms import SubscriberLimit

if TYPE_CHECKING:
    from conftest import Tollgate

OFFER = """
[[offer]]
id = "paper"
product = "paper"
kind = "service"
text.en = {{ title = "Paper" }}

[[offer.mode]]
id = "monthly"
kind = "subscription"
label = {{ en = "By the month" }}
amount = "{amount}"
currency = "EUR"
tax_category = "S"
period = "month"
minimum_periods = 3
notice = "14d"
price_change = "30d"
"""


def offer(house: House, amount: str = "10.00") -> None:
    (house.folder / "configs" / "offers" / "paper.toml").write_text(OFFER.format(amount=amount))
    house.take_over()


@pytest.fixture
def bought(house: House, user: User) -> str:
    offer(house)
    return user.take("paper", "monthly").agreement


def test_an_agreement_is_listed_and_shown_with_what_it_charged(tollgate: Tollgate, bought: str) -> None:
    [listed] = json.loads(tollgate("agreement", "list", "--account", "A-1", "--running", "--json").stdout)
    assert (listed["id"], listed["state"], listed["charged"]) == (bought, "running", "10.00")
    assert json.loads(tollgate("agreement", "list", "--subscriber", "A-2", "--json").stdout) == []
    shown = json.loads(tollgate("agreement", "show", bought, "--json").stdout)
    assert [(each["kind"], each["net"], each["pays"]) for each in shown["charges"]] == [("period", "10.00", "unbilled")]
    text = tollgate("agreement", "show", bought).output
    assert "at least 3 months; notice of 14 days" in text
    assert "2026-12-01" in text


def test_a_cancellation_says_when_it_takes_effect_and_can_be_taken_back(tollgate: Tollgate, bought: str) -> None:
    assert "ends with the minimum term, on 2027-02-01 23:00 UTC" in tollgate("agreement", "cancel", bought).output
    again = json.loads(tollgate("agreement", "cancel", bought, "--json").stdout)
    assert (again["ends"], again["because"]) == ("2027-02-01 23:00:00+00:00", "minimum")
    assert "runs on" in tollgate("agreement", "renew", bought).output
    assert "is not cancelled" in tollgate("agreement", "renew", bought, code=1).output


def test_a_withdrawal_says_what_is_taken_back(tollgate: Tollgate, bought: str) -> None:
    answer = json.loads(tollgate("agreement", "withdraw", bought, "--json").stdout)
    assert (answer["net"], answer["currency"], len(answer["charges"])) == ("10.00", "EUR", 1)
    assert "is ended already" in tollgate("agreement", "withdraw", bought, code=1).output
    assert "is ended already" in tollgate("agreement", "cancel", bought, code=1).output


def test_an_announcement_can_be_looked_at_before_anybody_is_told(tollgate: Tollgate, house: House, bought: str) -> None:
    offer(house, "12.00")
    for _ in range(2):
        [change] = json.loads(tollgate("agreement", "announce", "--dry-run", "--json").stdout)
    assert (change["agreement"], change["amount_micros"]) == (bought, 12_000_000)
    assert "12.00" in tollgate("agreement", "announce").output
    assert "No running agreement" in tollgate("agreement", "announce").output


def test_a_limit_is_set_and_taken_away(tollgate: Tollgate, house: House) -> None:
    assert "may spend 20.00 EUR a month" in tollgate("agreement", "limit", "A-1", "--amount", "20").output
    assert [row.amount for row in house.rows(SubscriberLimit)] == [20_000_000]
    assert "has no limit" in tollgate("agreement", "limit", "A-1", "--none").output
    assert house.rows(SubscriberLimit) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "nothing"], "there is none; see `tollgate agreement list`"),
        (["cancel", "nothing"], "there is none"),
        (["limit", "A-1"], "say --amount"),
        (["limit", "A-1", "--amount", "-3"], "below zero"),
        (["limit", "nobody", "--amount", "3"], "subscriber nobody: there is none"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_to_do(tollgate: Tollgate, arguments: list[str], told: str) -> None:
    assert told in " ".join(tollgate("agreement", *arguments, code=1).output.split())


def test_an_agreement_that_is_paid_once_can_only_be_withdrawn(tollgate: Tollgate, user: User) -> None:
    bought = user.take("hotline", "buy").agreement
    assert "see `withdraw`" in tollgate("agreement", "cancel", bought, code=1).output
    tollgate("agreement", "withdraw", bought)


def test_nothing_is_due_twice(tollgate: Tollgate, bought: str) -> None:
    assert tollgate("agreement", "due").output == "0 agreement(s) had something due.\n"


def test_how_imported_use_is_paid_for_is_said_by_command(tollgate: Tollgate, house: House, user: User) -> None:
    said = tollgate("agreement", "standing", "A-1", "games", "--payment", "prepaid").output
    assert "subscriber A-1 pays for games prepaid from now on" in " ".join(said.split())
    [listed] = json.loads(tollgate("agreement", "list", "--subscriber", "A-1", "--json").stdout)
    assert (listed["payment"], listed["state"]) == ("prepaid", "standing")
    for arguments, text in [
        (("A-1", "games", "--payment", "cash"), "'cash' is not one of postpaid"),
        (("nobody", "games", "--payment", "prepaid"), "subscriber nobody: there is none"),
        (("A-1", "gone", "--payment", "prepaid"), "gone"),
    ]:
        refused = tollgate("agreement", "standing", *arguments, code=1)
        assert text in " ".join(refused.output.split())
