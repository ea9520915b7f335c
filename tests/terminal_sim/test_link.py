"""The thin shell: real TLS on loopback, the channel binding, broken links, resumed work."""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from terminal_fakes import CONFIGURATION, FakeServer, entry, make_trust
from terminal_listening import Listening, certificate
from twisted.internet import reactor
from twisted.internet.threads import blockingCallFromThread

from signalling.clock import SettableClock, from_micros
from terminal_sim import state as states
from terminal_sim.client import Client, LinkLost
from terminal_sim.link import connect
from terminal_sim.state import State
from terminal_sim.trust import Identity


def terminal(server: FakeServer, listening: Listening, folder: Path, **trust: Any) -> State:
    identity = Identity.new("T-1")
    server.terminals["T-1"] = identity.public_key
    bundle = make_trust(
        server, **{"port": listening.port.getHost().port, "tls": True, "ca_pem": listening.pem, **trust}
    )
    return states.in_memory(identity, bundle, CONFIGURATION, folder, server.now)


def go(state: State, server: FakeServer, **options: Any) -> Client:
    clock = SettableClock(from_micros(server.now))
    return blockingCallFromThread(reactor, lambda: connect(state, clock, reactor, **options))


def call(wish: Any, *arguments: Any, **options: Any) -> Any:
    return blockingCallFromThread(reactor, lambda: wish(*arguments, **options))


def test_over_tls_the_whole_dialogue_runs(server: FakeServer, listening: Listening, tmp_path: Path) -> None:
    server.offers = [entry()]
    state = terminal(server, listening, tmp_path)
    client = go(state, server)
    line = client.dialogue.menu.line(1)
    quotation = call(client.request, line, "use")
    agreement = call(client.confirm, line, quotation)
    assert call(client.finish, agreement).step == "done"
    assert call(client.status).charges[0].currency == "EUR"
    call(client.close)
    assert server.receipts[agreement.id].outcome == "installed"


def test_a_proof_made_for_another_channel_does_not_hold(
    server: FakeServer, running_reactor: Any, tmp_path: Path
) -> None:
    listening = Listening(server, relay=True)
    with pytest.raises(LinkLost):
        go(terminal(server, listening, tmp_path), server)
    listening.close()


def test_a_server_with_another_certificate_is_not_spoken_to(
    server: FakeServer, listening: Listening, tmp_path: Path
) -> None:
    other, _ = certificate()
    with pytest.raises(LinkLost):
        go(terminal(server, listening, tmp_path, ca_pem=other), server)


def test_nobody_there_is_told(server: FakeServer, listening: Listening, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(LinkLost, match="cannot connect"):
        go(terminal(server, listening, tmp_path, port=port), server)


class CutOnce:
    def __init__(self, kind: str) -> None:
        self.left = [kind]

    def cut_after(self, sent: str) -> bool:
        return sent in self.left and not self.left.remove(sent)  # type: ignore[func-returns-value]  # remove, once

    def forget(self, received: str) -> bool:
        return received in self.left and not self.left.remove(received)  # type: ignore[func-returns-value]  # remove, once

    def repeat(self, sent: str) -> bool:
        return False


@pytest.mark.requirement("S11")
@pytest.mark.parametrize(
    "where", ["confirm", "delivery_request", "receipt", "agreed", "delivery_grant", "receipt_noted"]
)
def test_a_link_that_breaks_anywhere_is_gone_on_with_on_the_next(
    server: FakeServer, listening: Listening, tmp_path: Path, where: str
) -> None:
    server.offers = [entry()]
    state = terminal(server, listening, tmp_path)
    client = go(state, server, faults=CutOnce(where))
    line = client.dialogue.menu.line(1)
    quotation = call(client.request, line, "use")

    def take() -> Any:
        deferred = client.confirm(line, quotation)
        return deferred.addCallback(client.finish)

    with pytest.raises(LinkLost):
        call(take)
    call(client.close)
    client = go(state, server)
    for agreement in list(state.open_agreements()):
        call(client.finish, agreement)
    call(client.close)
    (agreement,) = state.agreements.values()
    assert (agreement.step, agreement.charge) == ("done", "charged")
    assert len(server.agreements) == len(server.receipts) == 1


def test_a_grant_that_expired_is_asked_for_once_more_and_then_given_up(
    server: FakeServer, listening: Listening, tmp_path: Path
) -> None:
    server.offers = [entry()]
    server.grant_extra = {"target": "a/1/a", "sha256": bytes(32), "length": 1}
    state = terminal(server, listening, tmp_path)
    client = go(state, server)
    line = client.dialogue.menu.line(1)
    agreement = call(client.confirm, line, call(client.request, line, "use"))
    client._clock.advance(timedelta(days=8))  # type: ignore[attr-defined]  # the tests' own clock
    assert call(client.finish, agreement).outcome == "failed"
    assert (agreement.charge, line.mark) == ("reversed", "failed")
    assert agreement.reason.startswith("grant_expired")
    call(client.close)
