"""The dialogue as a whole: challenge, logon, inquiry, sections, offers."""

from __future__ import annotations

from pathlib import Path

import pytest
from link_harness import PHONE, House

from signalling.messages import Challenge, Inquiry, Offers, SectionRequest, Welcome


@pytest.mark.requirement("S1")
def test_the_server_asks_a_terminal_that_logs_on_and_knows_what_it_is_made_of(tmp_path: Path) -> None:
    house = House(tmp_path)
    phone = house.terminal("phone-1")
    assert [type(message) for message in phone.new()] == [Challenge]
    assert [type(message) for message in phone.log_on()] == [Welcome, Inquiry]
    (request,) = phone.report()
    assert isinstance(request, SectionRequest)
    (offers,) = phone.send_sections()
    assert isinstance(offers, Offers)
    assert house.offering.learned == {PHONE.code(): PHONE}
    assert house.store.rows("SELECT terminal_id, outcome, code FROM interrogation") == [
        ("phone-1", "answered", PHONE.code())
    ]
    assert house.after == [("phone-1", "logon")]
