"""Interrogation over links: what is asked, recorded and offered, and when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest
from link_harness import PHONE, START, House, PlainOffering, offer
from twisted.internet.defer import succeed

from operator_server.interrogation.inventory import DAY
from operator_server.store.configurations import InterrogationOrder
from operator_server.store.engine import writing
from operator_server.store.rows import add
from signalling.configuration import SECTIONS, Configuration
from signalling.messages import (
    ConfigurationReport,
    Error,
    Inquiry,
    Noted,
    Offers,
    Reject,
    SectionPart,
    SectionRequest,
)

MakeHouse = Callable[..., House]

UPDATED = Configuration(
    hardware=PHONE.hardware, firmware=PHONE.firmware, base_software=PHONE.base_software, catalogue_items={"game": "1.0"}
)
LARGE = Configuration(hardware={"model": "server"}, base_software={f"package-{n}": "1" * 40 for n in range(3000)})


def outcomes(house: House) -> list[tuple[str, str, str]]:
    return [
        tuple(row) for row in house.store.rows("SELECT trigger, outcome, changed FROM interrogation ORDER BY rowid")
    ]


@pytest.mark.requirement("S2")
def test_what_one_terminal_brought_the_next_thousand_are_not_asked_for(house: House) -> None:
    house.terminal("phone-0").whole_logon()
    for number in range(1, 200):
        phone = house.terminal(f"phone-{number}")
        phone.log_on()
        assert [type(message) for message in phone.report()] == [Offers]
        phone.transport.loseConnection()
    assert house.store.rows("SELECT SUM(sections_fetched) FROM interrogation") == [(4,)]


@pytest.mark.requirement("S2")
def test_of_a_configuration_only_what_is_new_is_asked_for_even_after_a_restart(make_house: MakeHouse) -> None:
    make_house().terminal("phone-1").whole_logon()
    restarted = make_house()
    phone = restarted.terminal("phone-2", UPDATED)
    phone.log_on()
    (request,) = phone.report()
    assert request == SectionRequest(["catalogue_items"])
    assert isinstance(phone.send_sections(["catalogue_items"])[0], Offers)
    assert restarted.offering.learned[UPDATED.code()] == UPDATED
    same = restarted.terminal("phone-3")
    same.log_on()
    assert [type(message) for message in same.report()] == [Offers]
    assert restarted.offering.learned[PHONE.code()] == PHONE


@pytest.mark.requirement("S2")
def test_of_many_that_bring_the_same_one_is_asked_and_all_get_their_offers(house: House) -> None:
    phones = [house.terminal(f"phone-{number}") for number in range(5)]
    for phone in phones:
        phone.log_on()
    answers = [phone.report() for phone in phones]
    assert [len(answer) for answer in answers] == [1, 0, 0, 0, 0]
    assert isinstance(phones[0].send_sections()[0], Offers)
    assert [[type(message) for message in phone.new()] for phone in phones[1:]] == [[Offers]] * 4


@pytest.mark.parametrize("fate", ["departs", "is late", "lies"])
def test_when_the_one_that_is_asked_fails_the_next_is_asked(make_house: MakeHouse, fate: str) -> None:
    house = make_house(link={"answer_timeout": 5})
    first, second = house.terminal("phone-1"), house.terminal("phone-2")
    first.log_on()
    first.report()
    second.log_on()
    assert second.report() == []
    if fate == "departs":
        first.transport.loseConnection()
    elif fate == "is late":
        house.wait(6)
    else:
        envelope, _ = first.last(SectionRequest)
        for name in SECTIONS:
            first.send(SectionPart(name, 1, 1, b"TGS1"), envelope.exchange, envelope.id)
        assert first.new()[-1].code == "bad_section"
        assert first.transport.closed
    assert second.new() == [SectionRequest(list(SECTIONS))]
    assert isinstance(second.send_sections()[0], Offers)


def test_two_that_bring_different_halves_of_the_unknown_both_get_on(house: House) -> None:
    a = house.terminal("a", Configuration(hardware={"model": "a"}, firmware={"radio": "9"}))
    b = house.terminal("b", Configuration(hardware={"model": "b"}, firmware={"radio": "9"}))
    a.log_on()
    b.log_on()
    (wanted_a,), (wanted_b,) = a.report(), b.report()
    assert wanted_b.sections == ["hardware"]
    assert b.send_sections(["hardware"]) == []
    assert isinstance(a.send_sections(wanted_a.sections)[0], Offers)
    assert isinstance(b.new()[0], Offers)


def test_a_large_inventory_travels_in_parts(house: House) -> None:
    server = house.terminal("server-1", LARGE)
    assert isinstance(server.whole_logon()[0], Offers)
    assert sum(isinstance(m, SectionRequest) for _, m in server.seen) == 1
    assert server.sent > 5


def test_the_outcome_is_on_the_disk_before_the_offers_go_out(house: House) -> None:
    house.terminal("phone-1").whole_logon()
    phone = house.terminal("phone-2")
    phone.log_on()
    house.store.held = []
    assert phone.report() == []
    assert len(outcomes(house)) == 1
    house.store.let_go()
    assert isinstance(phone.new()[0], Offers)
    assert len(outcomes(house)) == 2


def test_the_record_says_what_was_shown_and_what_changed(house: House) -> None:
    phone = house.terminal("phone-1")
    phone.whole_logon()
    phone.transport.loseConnection()
    again = house.again(phone)
    again.made_of = UPDATED
    again.whole_logon()
    last = house.store.rows(
        "SELECT trigger, outcome, changed, shown, previous_code, sections_fetched, subscriber_id FROM interrogation"
        " ORDER BY rowid DESC LIMIT 1"
    )
    assert last == [("logon", "answered", "catalogue_items", "offer-0@1 offer-1@1", PHONE.code(), 1, "user-phone-1")]
    ((code, unanswered),) = house.store.rows("SELECT code, unanswered FROM terminal_session")
    assert (code, unanswered) == (UPDATED.code(), 0)
    assert house.store.rows("SELECT COUNT(*) FROM event WHERE kind = 'interrogated'") == [(2,)]


def test_a_menu_that_is_too_long_for_a_frame_comes_in_pages(make_house: MakeHouse) -> None:
    offering = PlainOffering(0)
    offering.entries = [msgspec.Raw(msgspec.msgpack.encode(offer(f"offer-{n}", "x" * 3000))) for n in range(60)]
    house = make_house(offering=offering)
    pages = house.terminal("phone-1").whole_logon()
    assert [(page.page, page.pages) for page in pages] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [entry.offer for page in pages for entry in page.offers] == [f"offer-{n}" for n in range(60)]
    assert len({page.menu for page in pages}) == 1


def test_a_terminal_that_does_not_answer_is_asked_again_then_marked(make_house: MakeHouse) -> None:
    house = make_house(link={"answer_timeout": 2}, interrogation={"retries": 2})
    phone = house.terminal("phone-1")
    phone.log_on()
    house.wait(5)
    assert phone.new() == [Inquiry("logon"), Inquiry("logon")]
    assert outcomes(house) == []
    house.wait(2)
    assert outcomes(house) == [("logon", "no_answer", "")]
    assert house.store.rows("SELECT unanswered FROM terminal_session") == [(1,)]
    assert not phone.transport.closed
    (late,) = phone.report()
    assert (late.code, late.closing) == ("late", False)


def test_a_terminal_may_bring_only_so_many_new_codes_a_day(make_house: MakeHouse) -> None:
    house = make_house(link={"new_codes_per_day": 2})
    phone = house.terminal("phone-1")
    for number in range(3):
        house.clock.advance(timedelta(seconds=1))
        phone = house.again(phone)
        phone.made_of = Configuration(hardware={"model": f"m{number}"})
        got = phone.whole_logon()
    assert [message.code for message in got] == ["too_many_codes"]
    assert not phone.transport.closed
    assert outcomes(house)[-1][1] == "refused"
    restarted = make_house(link={"new_codes_per_day": 2})
    link = restarted.again(phone)
    restarted.clock.set(house.clock.now())
    assert link.whole_logon()[0].code == "too_many_codes"
    restarted.clock.advance(timedelta(microseconds=DAY))
    assert isinstance(restarted.again(link).whole_logon()[0], Offers)


def test_an_error_of_the_terminal_in_answer_to_an_inquiry_is_recorded(house: House) -> None:
    phone = house.terminal("phone-1")
    phone.log_on()
    envelope, _ = phone.last(Inquiry)
    phone.send(Error("busy", "an upgrade is under way"), envelope.exchange, envelope.id)
    ((outcome, reason),) = house.store.rows("SELECT outcome, reason FROM interrogation")
    assert outcome == "refused"
    assert "an upgrade is under way" in reason


def test_a_false_code_is_refused_and_the_link_closed(house: House) -> None:
    phone = house.terminal("phone-1")
    phone.log_on()
    envelope, _ = phone.last(Inquiry)
    phone.send(ConfigurationReport(bytes(32), dict(PHONE.digests())), envelope.exchange, envelope.id)
    assert phone.new()[-1].code == "bad_configuration"
    assert phone.transport.closed
    assert outcomes(house) == [("logon", "refused", "")]


# Triggers that are no logon.


@pytest.mark.requirement("S3")
def test_connected_terminals_are_asked_at_intervals_without_a_logon(make_house: MakeHouse) -> None:
    house = make_house(interrogation={"interval": 3600, "jitter": 60})
    phone = house.terminal("phone-1")
    phone.whole_logon()
    house.clock.advance(timedelta(seconds=3599))
    house.wait(1)
    assert phone.new() == []
    house.clock.advance(timedelta(seconds=61))
    house.wait(1)
    assert phone.new() == [Inquiry("interval")]
    assert isinstance(phone.report()[0], Offers)
    house.wait(2)
    assert phone.new() == []
    assert [row[0] for row in outcomes(house)] == ["logon", "interval"]
    ((due,),) = house.store.rows("SELECT next_due_at FROM terminal_session")
    assert due >= house.clock.micros() + 3600 * 1_000_000
    assert house.after == [("phone-1", "logon"), ("phone-1", "interval")]


@pytest.mark.requirement("S3")
def test_connected_terminals_are_asked_at_calendar_times_each_at_its_offset(make_house: MakeHouse) -> None:
    calendar = [{"name": "nightly", "at": "03:00"}]
    house = make_house(interrogation={"interval": 0, "jitter": 600, "calendar": calendar})
    phones = [house.terminal(f"phone-{number}") for number in range(20)]
    for phone in phones:
        phone.whole_logon()
    due = START.replace(hour=1, minute=0) + timedelta(days=1)  # 03:00 in Berlin
    house.clock.set(due - timedelta(seconds=1))
    house.wait(1)
    assert all(phone.new() == [] for phone in phones)
    house.clock.set(due + timedelta(seconds=300))
    house.wait(1)
    asked = [phone for phone in phones if phone.new() == [Inquiry("calendar")]]
    assert 0 < len(asked) < 20
    house.clock.set(due + timedelta(seconds=600))
    house.wait(1)
    assert all(phone.new() == [Inquiry("calendar")] for phone in phones if phone not in asked)
    ((last, following),) = house.store.rows("SELECT last_due_at, next_due_at FROM interrogation_plan")
    assert following - last == DAY


@pytest.mark.parametrize(("missed", "asked"), [("run", [Inquiry("calendar")]), ("skip", [])])
def test_a_time_that_passed_while_the_server_was_down_follows_the_missed_run_rule(
    make_house: MakeHouse, missed: str, asked: list[Inquiry]
) -> None:
    plans = {"interval": 0, "jitter": 0, "calendar": [{"name": "nightly", "at": "03:00", "missed": missed}]}
    make_house(interrogation=plans)
    house = make_house(interrogation=plans, start=START + timedelta(days=3))
    phone = house.terminal("phone-1")
    phone.whole_logon()
    house.wait(1)
    assert phone.new() == asked


def order(house: House, terminal: str) -> None:
    with writing(house.store.engine).begin() as connection:
        add(connection, InterrogationOrder(id=f"order-{terminal}", terminal_id=terminal, ordered_at=house.clock.now()))


def test_orders_of_a_person_are_followed_and_marked(make_house: MakeHouse) -> None:
    house = make_house(link={"answer_timeout": 2}, interrogation={"retries": 0})
    phone, mute, away = house.terminal("phone-1"), house.terminal("phone-2"), house.terminal("phone-3")
    phone.whole_logon()
    mute.whole_logon()
    for terminal in ("phone-1", "phone-2", "phone-3"):
        order(house, terminal)
    house.wait(1)
    assert phone.new() == [Inquiry("manual")]
    phone.report()
    house.wait(5)
    assert mute.new() == [Inquiry("manual")]
    assert away.transport.closed is False
    rows = house.store.rows("SELECT terminal_id, state, interrogation_id IS NOT NULL FROM interrogation_order")
    assert sorted(rows) == [("phone-1", "done", 1), ("phone-2", "no_answer", 1), ("phone-3", "not_connected", 0)]


def test_a_terminal_that_is_on_line_elsewhere_is_left_to_that_process(house: House) -> None:
    house.terminal("phone-1").whole_logon()
    house.wait(2)
    with writing(house.store.engine).begin() as connection:
        connection.exec_driver_sql("UPDATE terminal_session SET node = 'node-2', session = 'other'")
    link = house.server.registry.get("phone-1")
    assert link is not None
    house.server.registry.remove(link)
    order(house, "phone-1")
    house.wait(5)
    assert house.store.rows("SELECT state FROM interrogation_order") == [("open",)]


@pytest.mark.requirement("S5")
def test_a_menu_on_its_way_does_not_hold_what_was_rejected_meanwhile(make_house: MakeHouse) -> None:
    house = make_house(desks={Reject: lambda visitor, message: succeed([Noted(message.offer)])})
    phone = house.terminal("phone-1")
    phone.whole_logon()
    house.server.interrogator.begin(phone.link, "interval")
    phone.link.flush()
    house.store.held = []
    phone.report()
    phone.send(Reject("offer-0", "offer-0@1"), exchange=1)
    assert phone.new() == [Noted("offer-0")]
    house.store.let_go()
    (menu,) = phone.new()
    assert [entry.offer for entry in menu.offers] == ["offer-1"]
