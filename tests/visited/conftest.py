"""Two operators and a roamer; where a test asks for it, the home operator listens for partners."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import blockingCallFromThread

sys.path.insert(0, str(Path(__file__).parent.parent / "negotiation"))

from operator_fixtures import furnished
from operator_samples import House
from visited_samples import Lands

from operator_server.visited.identity import identity_of
from operator_server.visited.interconnect import Interconnect
from operator_server.visited.listener import Listener

__all__ = ["furnished"]


@pytest.fixture
def lands(furnished: Path, tmp_path: Path) -> Iterator[Lands]:
    lands = Lands(furnished, tmp_path)
    yield lands
    lands.home.engine.dispose()
    lands.visited.engine.dispose()


@pytest.fixture
def joined(lands: Lands, running_reactor: Any) -> Iterator[Lands]:
    """Both listen, and know where; the base station reaches home over TLS."""
    listeners = []
    for house, other in ((lands.home, lands.visited), (lands.visited, lands.home)):
        listener, port = listening(house, running_reactor)
        listeners.append(listener)
        lands.partner(other, house, f"https://localhost:{port}")
    lands.over_tls()
    yield lands
    for each in listeners:
        blockingCallFromThread(running_reactor, each.stop)


def listening(house: House, running: Any) -> tuple[Listener, int]:
    """A listener of an operator on a free port."""
    operator = house.operator
    settings = operator.settings.roaming.model_copy(update={"port": 0})
    listener = Listener(Interconnect(operator, house.offers), identity_of(operator), settings, running)
    return listener, blockingCallFromThread(running, listener.start)
