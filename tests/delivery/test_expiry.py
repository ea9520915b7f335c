"""Expiry is judged by the terminal's clock, never by the machine's: python-tuf offers no way, so this pins ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from delivery_samples import START, House, make_repository, static_server

from operator_server.delivery.metadata import SignedMetadata
from signalling.clock import SettableClock
from terminal_sim.repository_client import FetchError


@pytest.mark.parametrize("year", [2001, 2090])
def test_metadata_is_good_in_a_year_that_the_machine_does_not_live_in(tmp_path: Path, year: int) -> None:
    now = datetime(year, 5, 1, tzinfo=UTC)
    house = House(tmp_path, SettableClock(now), make_repository(tmp_path, now), None)  # type: ignore[arg-type]  # no server is needed
    target = house.publish("tool/1.0/f", b"content")
    with static_server(house.served) as url:
        assert house.terminal(url).fetch(target).read_bytes() == b"content"


def test_expired_metadata_is_refused_until_it_is_signed_again(house: House) -> None:
    target = house.publish("tool/1.0/f", b"content")
    terminal = house.terminal()
    house.clock.set(START + timedelta(days=2) - timedelta(seconds=1))
    assert terminal.fetch(target).read_bytes() == b"content"
    house.clock.set(START + timedelta(days=2))
    with pytest.raises(FetchError) as error:
        terminal.fetch(target)
    assert error.value.code == "expired"
    house.repository.refresh_timestamp(house.clock.now())
    assert terminal.fetch(target).read_bytes() == b"content"


@pytest.mark.parametrize("days", [14, 90, 365, 730])
def test_every_role_expires_on_its_own(house: House, days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the timestamp fresh, the next role behind it that is past its time is what refuses."""
    target = house.publish("tool/1.0/f", b"content")
    late = START + timedelta(days=days, seconds=1)
    monkeypatch.setattr(SignedMetadata, "is_due", lambda _self, role, _signed, _now: role == "timestamp")
    house.repository.refresh_timestamp(late)
    house.clock.set(late)
    with pytest.raises(FetchError) as error:
        house.terminal().fetch(target)
    assert error.value.code == "expired"
