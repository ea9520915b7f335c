"""The link role beside its links: changed files taken over, installed items examined, messages sent."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from operator_samples import NOW, OFFERS, PLAIN, House, User
from twisted.internet.task import Clock

from operator_server.delivery.publishing import withdraw
from operator_server.roles.link import LinkRole
from operator_server.store.dealings import OfferVersion
from operator_server.store.parties import Notice
from operator_server.validation.notices import unsent_for_node
from signalling.configuration import Configuration
from signalling.messages import CounterInquiry, Message


class StillReactor(Clock):
    """A reactor that does nothing by itself; ``settle`` lets what came from other threads happen."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()

    def callFromThread(self, callback: Callable[..., Any], *arguments: Any) -> None:
        self._waiting.put(lambda: callback(*arguments))

    def settle(self, answers: int) -> None:
        for _ in range(answers):
            self._waiting.get(timeout=10)()


class Sent:
    """The link server as the role sees it after an interrogation."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, terminal: str, message: Message) -> bool:
        self.messages.append(message)
        return True


@pytest.fixture
def reactor() -> StillReactor:
    return StillReactor()


@pytest.fixture
def role(house: House, reactor: StillReactor) -> Iterator[LinkRole]:
    role = LinkRole(house.operator, reactor)
    yield role
    role.store.close()


def catalogue(house: House) -> Path:
    return house.folder / "configs" / "offers" / "shop.toml"


def price(role: LinkRole) -> int:
    current = role.offers.current("game")
    assert current is not None
    return current.offer.modes[1].amount


def test_changed_files_are_taken_over_and_kept(house: House, role: LinkRole) -> None:
    catalogue(house).write_text(OFFERS.replace("6.99", "13.99"))
    role._take_over_changes()
    assert price(role) == 13_990_000
    assert len(house.rows(OfferVersion, offer_id="game")) == 2


def test_broken_files_change_nothing_until_they_are_mended(house: House, role: LinkRole) -> None:
    catalogue(house).write_text(OFFERS.replace("6.99", "13.99").replace('kind = "service"', 'kind = "serf"'))
    role._take_over_changes()
    role._take_over_changes()
    assert price(role) == 6_990_000
    house.put("game", "1.1", b"newer")
    role._take_over_changes()
    current = role.offers.current("game")
    assert current is not None
    assert current.release == "1.1"
    catalogue(house).write_text(OFFERS.replace("6.99", "13.99") + "\n")
    role._take_over_changes()
    assert price(role) == 13_990_000


@pytest.mark.requirement("S14")
def test_after_an_interrogation_what_is_installed_is_compared_and_the_user_told(
    house: House, role: LinkRole, reactor: StillReactor, user: User
) -> None:
    user.take("game", "per-use")
    code = house.interrogated("T-1", Configuration(hardware=PLAIN.hardware, catalogue_items={"game": "1.0"}))
    house.change(lambda c: withdraw(c, "game", "1.0", "a fault", NOW))
    role._take_over_changes()
    sent = Sent()
    role._after_interrogation(sent, user.visitor, "logon", code)  # type: ignore[arg-type]  # all that it calls
    reactor.settle(2)
    assert [type(message) for message in sent.messages] == [CounterInquiry]
    assert [notice.state for notice in house.rows(Notice)] == ["revoked"]
    with house.engine.connect() as connection:
        assert unsent_for_node(connection, role.node, NOW) == []
