"""A terminal and a fake server, joined without any socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from terminal_fakes import CONFIGURATION, FakeServer, Pair, make_trust
from terminal_listening import Listening

from terminal_sim import state as states
from terminal_sim.trust import Identity


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def pair(server: FakeServer, tmp_path: Path) -> Pair:
    identity = Identity.new("T-1")
    server.terminals["T-1"] = identity.public_key
    return Pair(server, states.in_memory(identity, make_trust(server), CONFIGURATION, tmp_path, server.now))


@pytest.fixture
def listening(server: FakeServer, running_reactor: Any) -> Iterator[Listening]:
    listening = Listening(server)
    yield listening
    listening.close()
