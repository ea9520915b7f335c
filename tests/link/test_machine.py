"""The link machine, driven by bytes and looked at by what it sends and tells."""

from __future__ import annotations

from typing import Any

import pytest

from operator_server.link.machine import (
    LOGON_REFUSED,
    TABLE,
    Claimed,
    Faulted,
    Heard,
    Left,
    LinkMachine,
    LoggedOff,
    State,
)
from signalling.envelope import decode, encode
from signalling.framing import MAX_FRAME, FrameReader, frame
from signalling.messages import (
    FROM_TERMINAL,
    Bye,
    Challenge,
    ConfigurationReport,
    Error,
    Inquiry,
    Logoff,
    Logon,
    Message,
    Ping,
    Pong,
    SectionPart,
    StatusRequest,
    Welcome,
    decode_from_server,
)

NONCE = bytes(range(32))
LOGON = Logon("phone-1", "none", bytes(64))
REPORT = ConfigurationReport(bytes(32), {})
PART = SectionPart("hardware", 1, 1, b"x")


def sent(machine: LinkMachine) -> list[Any]:
    return [decode_from_server(decode(payload)) for payload in FrameReader().feed(machine.output())]


def put(message: Message, number: int = 1, exchange: int = 0, re: int | None = None) -> bytes:
    return frame(encode(message, id=number, exchange=exchange, re=re))


def in_state(state: State, rate: int = 50, burst: int = 200) -> LinkMachine:
    machine = LinkMachine(rate, burst)
    if state is not State.FRESH:
        machine.challenge("tollgate.test", NONCE, 1)
    if state in (State.PROVING, State.LOGGED_ON):
        machine.receive(put(LOGON), 0.0)
    if state is State.LOGGED_ON:
        machine.accept(Welcome("s", 1, 300, 50))
    if state is State.CLOSED:
        machine.close(Bye())
    machine.output()
    return machine


def test_the_server_speaks_first() -> None:
    machine = LinkMachine(50, 200)
    machine.challenge("tollgate.test", NONCE, 7)
    assert sent(machine) == [Challenge(1, "tollgate.test", NONCE, 7)]
    assert machine.state is State.CHALLENGED


def test_a_claim_carries_the_nonce_of_this_challenge_and_is_then_accepted() -> None:
    machine = in_state(State.CHALLENGED)
    assert machine.receive(put(LOGON), 0.0) == [Claimed(LOGON, NONCE)]
    machine.accept(Welcome("s", 1, 300, 50))
    assert machine.state is State.LOGGED_ON
    assert sent(machine) == [Welcome("s", 1, 300, 50)]


def test_a_refusal_closes_and_says_the_same_whatever_was_wrong() -> None:
    machine = in_state(State.PROVING)
    machine.refuse()
    assert sent(machine) == [LOGON_REFUSED]
    assert machine.state is State.CLOSED


SAMPLES: list[Message] = [LOGON, Logoff(), Error("a", "b"), Ping(), Pong(), Bye(), REPORT, PART, StatusRequest()]
"""One of each kind that a state may treat in its own way; StatusRequest stands for all that go to desks."""


@pytest.mark.parametrize("state", [State.FRESH, State.CHALLENGED, State.PROVING, State.LOGGED_ON])
@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: message.TYPE)
def test_what_a_state_does_not_hear_ends_the_link(state: State, message: Message) -> None:
    machine = in_state(state)
    number = machine.begin() if type(message) in (ConfigurationReport, SectionPart) else 1
    faults = [event for event in machine.receive(put(message, 2, number), 0.0) if isinstance(event, Faulted)]
    if type(message) in TABLE[state]:
        assert faults == []
    else:
        assert [fault.code for fault in faults] == ["wrong_state"]
        assert machine.state is State.CLOSED
        (error,) = sent(machine)
        assert error.closing


def test_every_message_of_a_terminal_is_heard_once_it_is_logged_on_but_the_logon() -> None:
    assert set(TABLE[State.LOGGED_ON]) == set(FROM_TERMINAL) - {Logon}


def test_an_unknown_type_is_answered_and_the_link_stays() -> None:
    machine = in_state(State.LOGGED_ON)
    unknown = type("Sing", (Message,), {"TYPE": "sing"}, frozen=True)()
    assert machine.receive(put(unknown, 2, 3), 0.0) == []
    (envelope,) = [decode(payload) for payload in FrameReader().feed(machine.output())]
    error = decode_from_server(envelope)
    assert (error.code, error.closing, envelope.re, envelope.exchange) == ("unknown_type", False, 2, 3)
    assert machine.state is State.LOGGED_ON


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"\xc1garbage"), "garbage"),
        (b"\x00\x01\x00\x01", "bad_frame"),
        ((MAX_FRAME + 1).to_bytes(4, "big"), "bad_frame"),
        (bytes(4), "bad_frame"),
        (frame(encode(LOGON, id=0)), "garbage"),
        (frame(encode(type("L", (Message,), {"TYPE": "logon"}, frozen=True)(), id=9)), "malformed"),
        (put(Ping(), 9, re=77), "wrong_id"),
        (put(StatusRequest(), 9, exchange=0), "wrong_exchange"),
        (put(StatusRequest(), 9, exchange=2), "wrong_exchange"),
        (put(REPORT, 9, exchange=1), "wrong_exchange"),
    ],
)
def test_garbage_gets_an_error_answer_and_the_link_is_closed(data: bytes, code: str) -> None:
    machine = in_state(State.LOGGED_ON)
    (event,) = machine.receive(data, 0.0)
    assert isinstance(event, Faulted)
    assert event.code == code
    (error,) = sent(machine)
    assert (error.code, error.closing) == (code, True)
    assert machine.receive(put(Ping(), 10), 0.0) == []
    assert machine.output() == b""


def test_ids_that_do_not_rise_end_the_link() -> None:
    machine = in_state(State.LOGGED_ON)
    machine.receive(put(Ping(), 5), 0.0)
    (event,) = machine.receive(put(Ping(), 5), 0.0)
    assert event.code == "wrong_id"


def test_bytes_may_come_one_by_one() -> None:
    machine = in_state(State.CHALLENGED)
    data = put(LOGON)
    events = [event for at in range(len(data)) for event in machine.receive(data[at : at + 1], 0.0)]
    assert events == [Claimed(LOGON, NONCE)]


def test_more_messages_than_the_rate_allows_end_the_link() -> None:
    machine = in_state(State.LOGGED_ON, rate=10, burst=20)
    numbers = iter(range(2, 100))
    for _ in range(19):
        assert machine.receive(put(Ping(), next(numbers)), 100.0) == []
    machine.output()
    for second in range(101, 105):
        for _ in range(10):
            assert machine.receive(put(Ping(), next(numbers)), float(second)) == []
    events: list[Any] = []
    while not events:
        events = machine.receive(put(Ping(), next(numbers)), 105.0)
    assert events == [Faulted("rate", events[0].reason)]
    assert sent(machine)[-1].code == "rate"


def test_section_parts_do_not_count_against_the_rate() -> None:
    machine = in_state(State.LOGGED_ON, rate=10, burst=20)
    number = machine.begin()
    for at in range(500):
        (event,) = machine.receive(put(PART, at + 2, number), 100.0)
        assert isinstance(event, Heard)


def test_a_terminal_may_log_off_and_is_challenged_anew_with_another_nonce() -> None:
    machine = in_state(State.LOGGED_ON)
    assert machine.receive(put(Logoff(), 2), 0.0) == [LoggedOff()]
    machine.challenge("tollgate.test", NONCE[::-1], 2)
    assert machine.receive(put(LOGON, 3), 0.0) == [Claimed(LOGON, NONCE[::-1])]


def test_a_bye_or_a_closing_error_of_the_terminal_ends_the_link_in_silence() -> None:
    for last in (Bye("good night"), Error("broken", "out of memory", closing=True)):
        machine = in_state(State.LOGGED_ON)
        (event,) = machine.receive(put(last, 2), 0.0)
        assert isinstance(event, Left)
        assert machine.output() == b""


def test_server_exchanges_are_even_and_messages_are_numbered_from_one() -> None:
    machine = in_state(State.LOGGED_ON)
    assert [machine.begin(), machine.begin()] == [2, 4]
    assert machine.send(Inquiry("manual"), 2) == 3
    (payload,) = FrameReader().feed(machine.output())
    assert (decode(payload).id, decode(payload).exchange) == (3, 2)
