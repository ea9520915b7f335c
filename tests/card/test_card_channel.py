"""Packets that are lost on the way, that come twice, and parts of messages that a restart comes between."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from card_samples import CardHouse, Phone, deliver
from sqlalchemy import Connection

from operator_server.cards import channel
from operator_server.store.cards import CardPacketRow, CardPartRow
from operator_server.store.configurations import Interrogation, InterrogationPlan
from operator_server.store.rows import add
from signalling.card import dialogue as d
from signalling.card import sms


def tell(house: CardHouse, text: str) -> CardPacketRow:
    """A notice on its way."""
    now = house.clock.now()
    made = house.change(lambda c: channel.queue(c, house.operator.vault, "SIM-1", d.Tell("notice", text), now))
    return packet(house, str(made))


def packet(house: CardHouse, id: str) -> CardPacketRow:
    row: CardPacketRow
    [row] = house.rows(CardPacketRow, id=id)
    return row


def lose(house: CardHouse, row: CardPacketRow) -> None:
    """It is sent and nobody gets it."""
    house.change(lambda c: channel.mark_sent(c, [row.id], house.clock.now()))


def later(house: CardHouse, wait: timedelta) -> None:
    house.clock.set(house.clock.now() + wait)
    house.change(lambda c: channel.send_again(c, house.operator.vault, house.clock.now()))


def test_what_is_lost_is_sent_again_the_same_and_shown(house: CardHouse) -> None:
    phone = house.phone()
    lost = tell(house, "80% used.")
    lose(house, lost)
    later(house, channel.SEND_AGAIN[0] - timedelta(seconds=1))
    assert packet(house, lost.id).state == "sent"
    later(house, timedelta(seconds=1))
    again = packet(house, lost.id)
    assert (again.state, again.packet, again.counter) == ("waiting", lost.packet, lost.counter)
    phone.pump()
    assert phone.shows == ["80% used."]
    assert packet(house, lost.id).state == "received"


def test_what_the_card_has_it_does_not_show_twice(house: CardHouse) -> None:
    phone = house.phone()
    row = tell(house, "80% used.")
    lose(house, row)
    receive(phone, row)
    phone.on_air.clear()
    phone.handset.wait()
    later(house, channel.SEND_AGAIN[0])
    phone.pump()
    assert not phone.handset.asked
    noted = packet(house, row.id)
    assert (noted.state, noted.attempts) == ("received", 2)
    assert "already" in noted.reason


def receive(phone: Phone, row: CardPacketRow) -> None:
    """The card gets it; what it answers is in the air."""
    for content in channel.parts(row.packet, row.counter):
        phone.handset.deliver(deliver(content, phone.house.clock.now()))


def test_a_text_that_a_later_packet_overtook_goes_out_with_a_new_counter(house: CardHouse) -> None:
    phone = house.phone()
    lost = tell(house, "80% used.")
    lose(house, lost)
    tell(house, "90% used.")
    phone.pump()
    assert phone.shows == ["90% used."]
    phone.handset.wait()
    later(house, channel.SEND_AGAIN[0])
    assert packet(house, lost.id).counter > lost.counter
    phone.pump()
    assert phone.shows == ["80% used."]
    assert packet(house, lost.id).state == "received"
    assert not phone.card.refused


def test_a_step_of_the_dialogue_that_was_overtaken_is_given_up(house: CardHouse) -> None:
    phone = house.phone()
    now = house.clock.now()
    made = house.change(lambda c: channel.queue(c, house.operator.vault, "SIM-1", d.ShowMenu(9, ["Old"]), now))
    lose(house, packet(house, str(made)))
    tell(house, "80% used.")
    phone.pump()
    later(house, channel.SEND_AGAIN[0])
    assert (packet(house, str(made)).state, packet(house, str(made)).attempts) == ("failed", 1)


def test_after_the_last_sending_the_packet_has_failed(house: CardHouse) -> None:
    lost = tell(house, "80% used.")
    for wait in (*channel.SEND_AGAIN, channel.LAST_WAIT):
        lose(house, lost)
        assert packet(house, lost.id).state == "sent"
        later(house, wait)
    given_up = packet(house, lost.id)
    assert (given_up.state, given_up.attempts) == ("failed", len(channel.SEND_AGAIN) + 1)
    assert "never acknowledged" in given_up.reason


def test_an_inquiry_gives_way_to_the_next(house: CardHouse) -> None:
    for _ in range(2):
        house.change(lambda c: house.desk.interrogation.inquire(c, "SIM-1", "interval", house.clock.now()))
    assert [row.state for row in house.rows(CardPacketRow, kind="Inquire")] == ["failed", "waiting"]


def part(number: int, text: bytes, reference: int = 7, total: int = 3) -> sms.UserData:
    return sms.UserData((sms.Element(sms.CONCAT_8, bytes((reference, total, number))),), text)


def parts(house: CardHouse, *contents: sms.UserData, now: datetime | None = None) -> list[bytes | None]:
    """What each part completes; every one in a transaction of its own, as after a restart."""
    instant = now or house.clock.now()

    def take(connection: Connection, content: sms.UserData) -> bytes | None:
        joined = channel.whole(connection, "+49", content, instant)
        return None if joined is None else joined.data

    return [house.change(lambda c, content=each: take(c, content)) for each in contents]


def test_parts_are_kept_until_the_message_is_whole(house: CardHouse) -> None:
    assert parts(house, part(2, b"b"), part(1, b"a"), part(2, b"b")) == [None, None, None]
    assert len(house.rows(CardPartRow)) == 2
    assert parts(house, part(3, b"c")) == [b"abc"]
    assert house.rows(CardPartRow) == []


def test_a_reference_that_comes_again_begins_a_message_anew(house: CardHouse) -> None:
    assert parts(house, part(1, b"a"), part(2, b"b"), part(1, b"x")) == [None, None, None]
    assert parts(house, part(2, b"y"), part(3, b"z")) == [None, b"xyz"]


def test_parts_of_a_message_that_never_ends_do_not_fill_the_store(house: CardHouse) -> None:
    for reference in range(channel.MOST_PARTS + 1):
        parts(house, part(1, b"a", reference % 256, 2 + reference // 256))
    assert len(house.rows(CardPartRow)) <= channel.MOST_PARTS
    parts(house, part(1, b"new"), now=house.clock.now() + 2 * channel.PARTS_KEPT)
    assert len(house.rows(CardPartRow)) == 1


@pytest.mark.requirement("S17")
def test_a_calendar_plan_has_each_card_asked_once(house: CardHouse) -> None:
    phone = house.phone()
    ran = house.clock.now() + timedelta(hours=2)
    plan = InterrogationPlan(
        name="weekly", kind="calendar", expression="wednesday 02:30", jitter_seconds=600, missed="skip",
        next_due_at=ran + timedelta(days=7), last_due_at=ran,
    )  # fmt: skip
    house.change(lambda c: add(c, plan))
    house.clock.set(ran)
    for _ in range(3):
        house.clock.set(house.clock.now() + timedelta(minutes=5))
        house.change(lambda c: house.desk.interrogation.inquire_due(c, house.clock.now()))
        phone.pump()
    triggers = [row.trigger for row in house.rows(Interrogation, terminal_id="SIM-1")]
    assert triggers.count("calendar") == 1
