"""What the user can see of validity, authorization, counters and charges."""

from __future__ import annotations

import msgspec
import pytest
from operator_samples import DAY, NOW, PRICE_OF_GAME, House, User

from operator_server import parties
from operator_server.delivery.publishing import withdraw
from operator_server.store.accounting import CounterState
from operator_server.store.rows import add
from signalling.messages import Status, StatusRequest


def status(user: User) -> Status:
    """The answer as the terminal decodes it."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(user.say(StatusRequest())), type=Status)


@pytest.mark.requirement("S16")
def test_the_user_sees_what_is_installed_and_that_it_is_valid_and_his(house: House, user: User) -> None:
    grant = user.take("game", "per-use")
    house.change(
        lambda c: add(
            c,
            CounterState(
                installation_id=grant.installation, counter="use", epoch=0, sequence=1, value=7, digest=bytes(32),
                reported_at=NOW, state={"charged": {}},
            ),
        )
    )  # fmt: skip
    [item] = status(user).installations
    assert (item.product, item.release, item.validity, item.authorization) == ("game", "1.0", "valid", "authorized")
    assert item.counters == {"use": 7}
    assert item.agreement == grant.agreement


@pytest.mark.requirement("S16")
def test_the_user_sees_that_a_release_was_withdrawn(house: House, user: User) -> None:
    user.take("game", "buy")
    house.change(lambda c: withdraw(c, "game", "1.0", "a fault", NOW))
    assert [item.validity for item in status(user).installations] == ["revoked"]


@pytest.mark.requirement("S16")
def test_the_next_user_of_a_terminal_sees_that_what_is_on_it_is_not_his(house: House, user: User) -> None:
    user.take("game", "buy")
    house.change(lambda c: parties.bind_terminal(c, "T-1", "A-2", NOW + DAY))
    [item] = status(house.user("T-1", "A-2")).installations
    assert item.authorization == "not_authorized"


@pytest.mark.requirement("S16")
def test_the_user_sees_his_money_as_it_is(house: House, user: User) -> None:
    user.take("game", "buy")
    user.agree("hotline", "buy")
    [money] = status(user).charges
    assert (money.currency, money.unbilled, money.open, money.reserved) == ("EUR", PRICE_OF_GAME, 0, 5_000_000)
    assert money.available == house.left() == 20_000_000 - PRICE_OF_GAME - 5_000_000


def test_what_failed_or_was_replaced_is_not_among_the_installations(house: House, user: User) -> None:
    user.receipt(user.granted(user.agree("game", "buy")), "failed")
    user.granted(user.agree("notes", "free"))
    assert status(user).installations == []
