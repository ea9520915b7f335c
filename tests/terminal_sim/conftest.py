"""A terminal and a fake server, joined without any socket."""

from __future__ import annotations

from pathlib import Path

import pytest
from terminal_fakes import CONFIGURATION, FakeServer, Pair, make_trust

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
