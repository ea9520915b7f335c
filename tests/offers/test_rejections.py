from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from offer_samples import BUY, NOW, offer

from offers.catalogue import Catalogue, Offer
from offers.memory import OfferMemory
from offers.rejections import RejectionRecord, hidden_products


def rejection_of(each: Offer, release: str = "1.0", **changed: Any) -> RejectionRecord:
    fields = {
        "product": each.product,
        "offer": each.id,
        "offer_version": each.version,
        "price_digest": each.price_at(NOW),
        "release": release,
        "until": each.rejection.ends(NOW),
        "rejected_at": NOW,
    }
    return RejectionRecord(**(fields | changed))


def hidden(
    *offers: Offer, records: list[RejectionRecord], later: timedelta = timedelta(days=400), release: str = "1.0"
) -> set[str]:
    memory = OfferMemory(Catalogue(offers), {each.product: [release] for each in offers})
    return set(hidden_products(records, memory.current, NOW + later))


@pytest.mark.requirement("S5")
def test_a_rejection_never_ends_unless_the_offer_says_so() -> None:
    chess = offer("chess")
    assert chess.rejection.ends(NOW) is None
    assert hidden(chess, records=[rejection_of(chess)], later=timedelta(days=40_000)) == {"chess"}


@pytest.mark.requirement("S5")
def test_a_rejection_for_thirty_days_ends_after_thirty_days() -> None:
    chess = offer("chess", rejection={"until": "30d"})
    records = [rejection_of(chess)]
    assert hidden(chess, records=records, later=timedelta(days=30, microseconds=-1)) == {"chess"}
    assert hidden(chess, records=records, later=timedelta(days=30)) == set()


@pytest.mark.requirement("S5")
def test_a_rejection_until_a_date_ends_at_its_midnight_in_utc() -> None:
    chess = offer("chess", rejection={"until": "2027-01-01"})
    end = datetime(2027, 1, 1, tzinfo=UTC)
    assert hidden(chess, records=[rejection_of(chess)], later=end - NOW - timedelta(seconds=1)) == {"chess"}
    assert hidden(chess, records=[rejection_of(chess)], later=end - NOW) == set()


def test_a_date_that_has_passed_at_the_rejection_does_not_end_it_at_once() -> None:
    assert offer("chess", rejection={"until": "2026-01-01"}).rejection.ends(NOW) is None


@pytest.mark.requirement("S5")
@pytest.mark.parametrize(
    ("reopen_on", "release", "amount", "expected"),
    [
        ([], "2.0", "4.99", {"chess"}),
        ([], "1.0", "3.99", {"chess"}),
        (["new_release"], "2.0", "4.99", set()),
        (["new_release"], "1.0", "4.99", {"chess"}),
        (["new_release"], "0.9", "4.99", {"chess"}),
        (["new_release"], "1.0", "3.99", {"chess"}),
        (["new_price"], "1.0", "3.99", set()),
        (["new_price"], "2.0", "4.99", {"chess"}),
        (["new_release", "new_price"], "2.0", "4.99", set()),
    ],
)
def test_a_new_release_or_price_opens_it_only_if_the_offer_says_so(
    reopen_on: list[str], release: str, amount: str, expected: set[str]
) -> None:
    rejected = offer("chess", mode=[BUY], rejection={"reopen_on": reopen_on})
    now_offered = offer("chess", mode=[BUY | {"amount": amount}], rejection={"reopen_on": reopen_on})
    assert hidden(now_offered, records=[rejection_of(rejected)], release=release) == expected


def test_a_release_that_cannot_be_compared_opens_nothing() -> None:
    chess = offer("chess", rejection={"reopen_on": ["new_release"]})
    assert hidden(chess, records=[rejection_of(chess, release="nightly")], release="2.0") == {"chess"}


@pytest.mark.requirement("S5")
def test_another_offer_of_a_rejected_product_opens_nothing() -> None:
    rejected = offer("chess-2026", product="chess", mode=[BUY])
    sale = offer("chess-sale", product="chess", rejection={"reopen_on": ["new_release", "new_price"]})
    assert hidden(rejected, sale, records=[rejection_of(rejected)], release="2.0") == {"chess"}
    assert hidden(sale, records=[rejection_of(rejected)], release="2.0") == {"chess"}


def test_a_rejection_that_support_has_undone_hides_nothing() -> None:
    chess = offer("chess")
    assert hidden(chess, records=[rejection_of(chess, undone=True)]) == set()


def test_the_later_of_two_rejections_stands_when_the_first_was_opened() -> None:
    cheap = offer("chess", mode=[BUY | {"amount": "3.99"}], rejection={"reopen_on": ["new_price"]})
    dear = offer("chess", mode=[BUY], rejection={"reopen_on": ["new_price"]})
    assert hidden(cheap, records=[rejection_of(dear)]) == set()
    assert hidden(cheap, records=[rejection_of(dear), rejection_of(cheap)]) == {"chess"}


def test_only_rejected_products_are_hidden() -> None:
    chess, maps = offer("chess"), offer("maps")
    assert hidden(chess, maps, records=[rejection_of(maps)]) == {"maps"}
