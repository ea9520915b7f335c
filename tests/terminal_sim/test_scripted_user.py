"""Scripted users decide the same by the same seed."""

from __future__ import annotations

import random

import pytest

from signalling.messages import ModeTerms
from terminal_sim.profiles import Behaviour
from terminal_sim.user import ScriptedUser

BY_USE = ModeTerms("m", "per_use", "", "", "EUR", 0, "S", 1900, unit="use", counter="use")


@pytest.mark.parametrize("span", [3, 1_000, 65_537, 86_400_000_000, 86_400_000_001])
def test_how_long_a_session_took_changes_nothing_of_what_follows(span: int) -> None:
    def lived(end: int) -> tuple[list[int], list[float]]:
        chance = random.Random("7 user 1")
        user = ScriptedUser(Behaviour(uses_a_day=20, units_a_use={"use": (1, 9)}), chance)
        uses = user.uses(0, end, BY_USE, days=1.0)
        assert all(0 < instant <= end for instant, _ in uses)
        return [units for _, units in uses], [chance.random() for _ in range(5)]

    assert lived(span) == lived(50_000)
