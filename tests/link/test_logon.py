"""Who is let in, and what becomes of links that misbehave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from link_harness import START, House, Peer, settings
from sqlalchemy import Connection
from twisted.internet.defer import Deferred, fail, succeed

from operator_server.audit import audited
from operator_server.desk import Refused, Visitor
from operator_server.link.machine import LOGON_REFUSED
from operator_server.parties import (
    NewAccount,
    bind_terminal,
    create_account,
    replace_key,
    revoke_terminal,
    set_groups,
)
from operator_server.store.engine import writing
from signalling.documents import KeyChange
from signalling.framing import MAX_FRAME
from signalling.messages import (
    Bye,
    Challenge,
    Error,
    Inquiry,
    Logoff,
    Logon,
    Message,
    Noted,
    Notice,
    Offers,
    Ping,
    Pong,
    Refusal,
    Reject,
    Status,
    StatusRequest,
    Welcome,
)
from signalling.proof import public_bytes, sign

MakeHouse = Callable[..., House]


def refused(peer: Peer) -> bool:
    return peer.new()[-1:] == [LOGON_REFUSED] and peer.transport.closed


def events(house: House, kind: str) -> list[Any]:
    return house.store.rows(f"SELECT terminal_id, data FROM event WHERE kind = '{kind}'")


def test_a_proof_for_an_earlier_challenge_is_refused(house: House) -> None:
    phone = house.terminal("phone-1")
    old = phone.proof(phone.last(Challenge)[1])
    phone.send(old)
    assert isinstance(phone.new()[0], Welcome)
    phone.send(Logoff())
    assert isinstance(phone.new()[-1], Challenge)
    phone.send(old)
    assert refused(phone)
    other = house.again(phone)
    other.send(old)
    assert refused(other)


def test_a_welcome_tells_how_the_server_came_to_its_key(make_house: MakeHouse) -> None:
    old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    change = KeyChange("op.example", public_bytes(old), public_bytes(new), 1)
    told = sign(old, KeyChange.PURPOSE, change.encode())
    for changes in ([], [told]):
        welcome = make_house(key_changes=changes).terminal(f"phone-{len(changes)}").log_on()[0]
        assert isinstance(welcome, Welcome)
        assert welcome.key_changes == changes


def test_another_key_another_name_or_an_altered_signature_is_refused(house: House) -> None:
    phone, tablet = house.terminal("phone-1"), house.terminal("tablet-1")
    for changes in ({"key": Ed25519PrivateKey.generate()}, {"terminal": "tablet-1"}, {"terminal": "nobody"}):
        link = house.again(phone)
        link.send(link.proof(link.last(Challenge)[1], **changes))
        assert refused(link)
    proof = phone.proof(phone.last(Challenge)[1])
    phone.send(Logon("phone-1", "none", bytes([proof.signature[0] ^ 1]) + proof.signature[1:]))
    assert refused(phone)
    assert isinstance(tablet.log_on()[0], Welcome)


def test_a_stranger_and_a_revoked_terminal_hear_the_same_words(house: House) -> None:
    phone = house.terminal("phone-1")
    with writing(house.store.engine).begin() as connection:
        revoke_terminal(connection, "phone-1", START - timedelta(minutes=1))
    phone.log_on()
    stranger = house.connect()
    assert stranger is not None
    stranger.name, stranger.key = "nobody", Ed25519PrivateKey.generate()
    stranger.log_on()
    assert phone.seen[-1][1] == stranger.seen[-1][1] == LOGON_REFUSED
    assert phone.transport.closed
    assert [row[0] for row in events(house, "logon_refused")] == ["phone-1"]


def test_a_binding_that_does_not_belong_to_the_channel_is_refused(house: House) -> None:
    phone = house.terminal("phone-1")
    phone.send(phone.proof(phone.last(Challenge)[1], binding="tls-exporter"))
    assert refused(phone)


def test_a_terminal_that_is_revoked_while_on_line_is_sent_away(house: House) -> None:
    phone = house.terminal("phone-1")
    phone.whole_logon()
    with writing(house.store.engine).begin() as connection:
        revoke_terminal(connection, "phone-1", START)
    house.wait(35)
    assert refused(phone)


Change = Callable[[Connection], None]


def audited_change(house: House, action: str, reference: str, change: Change) -> None:
    """A change of which the audit trail tells, as all commands and the API make it."""
    with writing(house.store.engine).begin() as connection:
        change(connection)
        audited(connection, "cli:test", action, reference, None, {}, START)


@pytest.mark.parametrize(
    ("action", "change"),
    [
        ("terminal.revoke", lambda connection: revoke_terminal(connection, "phone-1", START)),
        ("terminal.replace_key", lambda connection: replace_key(connection, "phone-1", bytes([9] * 32), START)),
    ],
)
def test_a_key_that_is_taken_away_ends_the_link_within_seconds(house: House, action: str, change: Change) -> None:
    phone, other = house.terminal("phone-1"), house.terminal("phone-2")
    phone.whole_logon()
    other.whole_logon()
    house.wait(2)
    phone.new()
    audited_change(house, action, "terminal/phone-1", change)
    house.wait(3)
    assert refused(phone)
    assert not other.transport.closed


def test_a_terminal_that_gets_another_user_takes_leave_of_its_former_one(house: House) -> None:
    phone = house.terminal("phone-1")
    phone.whole_logon()
    with writing(house.store.engine).begin() as connection:
        create_account(connection, NewAccount("A-2", "Other"), settings().operator, START)
    house.wait(2)
    audited_change(house, "terminal.bind", "terminal/phone-1", lambda c: bind_terminal(c, "phone-1", "A-2", START))
    house.wait(3)
    assert phone.new()[-1] == Bye("this terminal is another subscriber's now")
    assert phone.transport.closed


def test_groups_of_a_user_hold_at_once_for_who_is_on_line(house: House) -> None:
    phone = house.terminal("phone-1")
    phone.whole_logon()
    house.wait(2)
    [link] = house.server.registry
    who = link.visitor.subscriber
    audited_change(house, "subscriber.groups", f"subscriber/{who}", lambda c: set_groups(c, who, ["vip"]))
    house.wait(3)
    assert link.visitor.groups == {"vip"}
    assert not phone.transport.closed


def test_a_second_link_of_a_terminal_supersedes_the_first_and_makes_an_event(house: House) -> None:
    first = house.terminal("phone-1")
    first.whole_logon()
    second = house.again(first)
    second.whole_logon()
    assert isinstance(first.new()[-1], Bye)
    assert first.transport.closed
    assert not second.transport.closed
    assert [row[0] for row in events(house, "link_superseded")] == ["phone-1"]
    assert house.server.send("phone-1", Notice("n", "offer", "hello"))
    assert second.new() == [Notice("n", "offer", "hello")]


def test_a_terminal_logs_off_and_on_again_over_the_same_link(house: House) -> None:
    phone = house.terminal("phone-1")
    phone.whole_logon()
    phone.send(Logoff())
    assert [type(message) for message in phone.new()] == [Challenge]
    assert not house.server.send("phone-1", Notice("n", "offer", "hello"))
    assert [type(message) for message in phone.log_on()] == [Welcome, Inquiry]
    assert [type(message) for message in phone.report()] == [Offers]


@pytest.mark.parametrize(
    "garbage", [b"\x00\x00\x00\x02\xc1\xc1", (MAX_FRAME + 1).to_bytes(4, "big"), b"GET / HTTP/1.1"]
)
def test_garbage_ends_one_link_and_the_others_notice_nothing(house: House, garbage: bytes) -> None:
    good, bad = house.terminal("phone-1"), house.terminal("phone-2")
    good.whole_logon()
    bad.whole_logon()
    bad.raw(garbage)
    assert bad.new()[-1].closing
    assert bad.transport.closed
    good.send(Ping())
    assert good.new() == [Pong()]


def test_a_link_without_a_logon_ends_after_the_hand_shake_time(make_house: MakeHouse) -> None:
    house = make_house(link={"handshake_timeout": 3})
    phone = house.terminal("phone-1")
    phone.send(Ping())
    house.wait(2)
    assert not phone.transport.closed
    house.wait(3)
    assert phone.new()[-1] == Error("timeout", "no logon in time", closing=True)
    assert phone.transport.closed


def test_a_silent_link_is_asked_and_then_closed(make_house: MakeHouse) -> None:
    house = make_house(link={"idle_timeout": 20})
    silent, alive = house.terminal("phone-1"), house.terminal("phone-2")
    silent.whole_logon()
    alive.whole_logon()
    house.wait(12)
    assert silent.new() == [Ping()]
    for _ in range(15):
        alive.send(Pong())
        house.wait(1)
    assert silent.new()[-1].code == "idle"
    assert silent.transport.closed
    assert not alive.transport.closed


def test_links_and_links_of_one_address_are_limited(make_house: MakeHouse) -> None:
    house = make_house(link={"max_links": 3, "max_links_per_address": 2})
    first = house.connect("10.0.0.1")
    assert first is not None
    assert house.connect("10.0.0.1") is not None
    assert house.connect("10.0.0.1") is None
    assert house.connect("10.0.0.2") is not None
    assert house.connect("10.0.0.3") is None
    first.transport.loseConnection()
    assert house.connect("10.0.0.3") is not None


def test_too_many_messages_a_second_end_the_link(make_house: MakeHouse) -> None:
    house = make_house(link={"messages_per_second": 5, "message_burst": 10})
    phone = house.terminal("phone-1")
    phone.whole_logon()
    for _ in range(20):
        phone.send(Ping())
    assert phone.new()[-1].code == "rate"
    assert phone.transport.closed


class Desk:
    """A desk whose answers the test holds."""

    def __init__(self) -> None:
        self.open: list[Deferred[Sequence[Message]]] = []

    def status(self, visitor: Visitor, message: StatusRequest) -> Deferred[Sequence[Message]]:
        self.open.append(Deferred())
        return self.open[-1]

    def reject(self, visitor: Visitor, message: Reject) -> Deferred[Sequence[Message]]:
        if message.offer == "gone":
            return fail(Refused("unknown_offer", "there is no such offer"))
        if message.offer == "broken":
            raise ZeroDivisionError
        return succeed([Noted(message.offer)])


def test_desks_answer_in_the_exchange_and_one_that_works_holds_up_no_other(make_house: MakeHouse) -> None:
    desk = Desk()
    house = make_house(desks={StatusRequest: desk.status, Reject: desk.reject})
    phone = house.terminal("phone-1")
    phone.whole_logon()
    phone.send(StatusRequest(), 1)
    asked = phone.sent
    phone.send(Reject("game", "game@1"), 3)
    assert phone.new() == [Noted("game")]
    desk.open[0].callback([Status([], [])])
    assert phone.new() == [Status([], [])]
    assert (phone.seen[-1][0].exchange, phone.seen[-1][0].re) == (1, asked)


def test_a_desk_that_refuses_or_fails_is_answered_for_and_the_link_stays(make_house: MakeHouse) -> None:
    house = make_house(desks={Reject: Desk().reject})
    phone = house.terminal("phone-1")
    phone.whole_logon()
    phone.send(Reject("gone", "gone@1"), 1)
    assert phone.new() == [Refusal("unknown_offer", "there is no such offer")]
    phone.send(Reject("broken", "broken@1"), 3)
    (error,) = phone.new()
    assert (error.code, error.closing) == ("internal", False)
    phone.send(StatusRequest(), 5)
    assert phone.new()[0].code == "not_served"
    assert not phone.transport.closed


def test_an_answer_of_a_desk_is_not_sent_into_another_session(make_house: MakeHouse) -> None:
    desk = Desk()
    house = make_house(desks={StatusRequest: desk.status})
    phone = house.terminal("phone-1")
    phone.whole_logon()
    phone.send(StatusRequest(), 1)
    phone.send(Logoff())
    phone.whole_logon()
    desk.open[0].callback([Status([], [])])
    assert phone.new() == []


def test_a_lease_tells_other_processes_where_a_terminal_is(house: House) -> None:
    phone = house.terminal("phone-1")
    phone.whole_logon()
    house.wait(2)
    ((node, lease),) = house.store.rows("SELECT node, lease_until FROM terminal_session")
    assert (node, lease > house.clock.micros()) == ("node-1", True)
    phone.send(Bye("good night"))
    house.wait(2)
    assert house.store.rows("SELECT lease_until FROM terminal_session") == [(None,)]


def test_a_terminal_that_logs_on_at_another_process_loses_its_link_here(house: House) -> None:
    phone = house.terminal("phone-1")
    phone.whole_logon()
    house.wait(2)
    with writing(house.store.engine).begin() as connection:
        connection.exec_driver_sql("UPDATE terminal_session SET node = 'node-2', session = 'other'")
    house.wait(35)
    assert isinstance(phone.new()[-1], Bye)
    assert phone.transport.closed
    ((node, lease),) = house.store.rows("SELECT node, lease_until FROM terminal_session")
    assert (node, lease is not None) == ("node-2", True)
