"""What is installed, held against what is valid and agreed, and the messages that follow."""

from __future__ import annotations

from datetime import timedelta

import pytest
from operator_samples import DAY, NOW, PLAIN, House, User

from operator_server import parties
from operator_server.delivery.publishing import withdraw
from operator_server.store.parties import Notice, TerminalSession
from operator_server.store.rows import table
from operator_server.validation import notices
from operator_server.validation.comparison import Finding, ReleaseValidity, compare
from operator_server.validation.desk import entitled_products
from signalling.configuration import Configuration
from signalling.messages import NoticeRead

RELEASES = {
    ("game", "1.0"): ReleaseValidity("valid"),
    ("game", "0.9"): ReleaseValidity("revoked", None, "a fault"),
    ("maps", "5"): ReleaseValidity("valid", NOW),
}


def examine(house: House, user: User, configuration: Configuration) -> list[Finding]:
    """What a link server does after an interrogation."""
    code = house.interrogated(user.visitor.terminal, configuration)
    now = house.clock.now()
    with house.engine.connect() as connection:
        entitled = entitled_products(connection, user.visitor)
    found = compare(house.offers.items(code), house.offers.supply.validity, entitled, now)
    visitor = user.visitor
    house.change(
        lambda c: notices.write_findings(c, visitor.terminal, visitor.subscriber, visitor.language, found, now)
    )
    return found


def having(**items: str) -> Configuration:
    return Configuration(hardware=PLAIN.hardware, catalogue_items=items)


def on_line(house: House, terminal: str) -> None:
    """A node named ``here`` holds the terminal's link."""
    session = table(TerminalSession)
    lease = house.clock.now() + timedelta(seconds=60)
    house.change(
        lambda c: c.execute(
            session.update().where(session.c.terminal_id == terminal).values(node="here", lease_until=lease)
        )
    )


def waiting(house: House, node: str = "here") -> list[str]:
    """Texts that are to be sent."""
    with house.engine.connect() as connection:
        return [row.text for row in notices.unsent_for_node(connection, node, house.clock.now())]


@pytest.mark.requirement("S14")
@pytest.mark.parametrize(
    ("items", "entitled", "states"),
    [
        ({"game": "1.0"}, {"game"}, []),
        ({"game": "1.0"}, set(), ["not_authorized"]),
        ({"game": "0.9"}, {"game"}, ["revoked"]),
        ({"game": "7.7"}, {"game"}, ["revoked"]),
        ({"maps": "5"}, {"maps"}, ["expired"]),
        ({"from-elsewhere": "1"}, set(), []),
        ({"maps": "5", "game": "1.0"}, set(), ["not_authorized", "expired"]),
    ],
)
def test_what_a_code_names_is_compared_with_what_is_valid_and_agreed(
    items: dict[str, str], entitled: set[str], states: list[str]
) -> None:
    assert [finding.state for finding in compare(items, RELEASES, entitled, NOW)] == states


def test_a_release_is_valid_until_its_last_moment() -> None:
    maps = RELEASES["maps", "5"]
    assert maps.at(NOW - timedelta(microseconds=1)) == "valid"
    assert maps.at(NOW) == "expired"


@pytest.mark.requirement("S14")
def test_the_user_of_a_release_that_was_withdrawn_gets_a_message_once(house: House, user: User) -> None:
    user.take("game", "buy")
    assert examine(house, user, having(game="1.0")) == []
    house.change(lambda c: withdraw(c, "game", "1.0", "a fault", house.clock.now()))
    house.take_over()
    for _ in range(2):
        assert [found.state for found in examine(house, user, having(game="1.0"))] == ["revoked"]
    on_line(house, "T-1")
    assert waiting(house) == ["game 1.0 was withdrawn. Please remove it. (a fault)"]


@pytest.mark.requirement("S14")
def test_software_without_an_agreement_is_told_in_the_users_language(house: House) -> None:
    user = house.user("T-3", "A-2", language="de")
    examine(house, user, having(game="1.0"))
    on_line(house, "T-3")
    assert waiting(house) == ["Für game 1.0 besteht kein Vertrag. (no agreement covers it)"]


@pytest.mark.requirement("S14")
def test_what_a_code_names_is_known_after_a_restart_too(house: House, user: User) -> None:
    code = house.interrogated("T-1", having(game="1.0"))
    again = House(house.folder)
    again.take_over()
    assert again.offers.knows(code)
    assert again.offers.items(code) == {"game": "1.0"}


def test_an_agreement_that_failed_entitles_to_nothing(house: House, user: User) -> None:
    user.receipt(user.granted(user.agree("game", "buy")), "failed")
    with house.engine.connect() as connection:
        assert entitled_products(connection, user.visitor) == set()


def test_messages_go_to_the_node_that_holds_the_link_and_only_once(house: House, user: User) -> None:
    examine(house, user, having(game="1.0"))
    assert waiting(house) == []
    on_line(house, "T-1")
    assert len(waiting(house)) == 1
    assert waiting(house, "there") == []
    [notice] = house.rows(Notice)
    house.change(lambda c: notices.mark_sent(c, [notice.id], NOW))
    assert waiting(house) == []


def test_messages_for_a_former_user_do_not_reach_the_next(house: House, user: User) -> None:
    examine(house, user, having(game="1.0"))
    house.change(lambda c: parties.bind_terminal(c, "T-1", "A-2", NOW))
    on_line(house, "T-1")
    assert waiting(house) == []


def test_only_the_terminals_own_messages_are_marked_as_read(house: House, user: User) -> None:
    examine(house, user, having(game="1.0"))
    [notice] = house.rows(Notice)
    house.user("T-2").say(NoticeRead([notice.id]))
    assert house.rows(Notice)[0].read_at is None
    user.say(NoticeRead([notice.id, "unknown"]))
    house.clock.advance(DAY)
    user.say(NoticeRead([notice.id]))
    assert house.rows(Notice)[0].read_at == NOW


def test_a_version_of_any_length_makes_a_message_that_fits_the_wire(house: House, user: User) -> None:
    examine(house, user, having(game="9" * 256))
    [notice] = house.rows(Notice)
    assert len(notice.subject) <= 128
    assert notice.state == "revoked"
