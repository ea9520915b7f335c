"""Scripted users: repeatable by seed, and whatever misbehaves, the two sides end with the same books."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from terminal_fakes import FakeServer, entry, make_trust
from terminal_listening import Listening
from twisted.internet import reactor
from twisted.internet.threads import blockingCallFromThread

from signalling.clock import SettableClock, from_micros
from terminal_sim import journal as lines
from terminal_sim.fleet import enrolment, fleet_identity, make_fleet, run_sessions, total
from terminal_sim.profiles import Behaviour, FaultRates, Profile, read_profiles
from terminal_sim.simulated import SimulatedTerminal

USER = Behaviour(take=0.6, reject=0.2, counter_proposal=0.3, uses_a_day=3, modes={"per_use": 3, "one_off": 1})
WILD = FaultRates(cut_link=0.15, forget_answer=0.15, repeat_report=0.5, report_late=0.3, reset_counter=0.1)


def live_a_week(
    server: FakeServer, listening: Listening, folder: Path, faults: FaultRates, count: int = 8
) -> list[SimulatedTerminal]:
    server.offers = [entry("a", "a"), entry("b", "b", needs=["a"]), entry("c", "c")]
    server.ceiling = 1_000_000
    server.ask_counters = True
    server.terminals = {name: bytes.fromhex(key) for name, key in enrolment(count, 7)}
    profile = Profile(name="p", hardware={"model": "m"}, user=USER, faults=faults)
    clock = SettableClock(from_micros(server.now))
    trust = make_trust(server, port=listening.port.getHost().port)
    fleet = make_fleet(count, [profile], 7, trust, clock, reactor, folder=folder)
    for day in range(7):
        clock.advance(timedelta(days=1))
        server.now = clock.micros()

        def one_day(honest: bool = day == 6) -> Any:
            for terminal in fleet:
                terminal.live(clock.micros())
            return run_sessions(fleet, 4, honest=honest)

        blockingCallFromThread(reactor, one_day)
    return fleet


@pytest.fixture
def plain(server: FakeServer, running_reactor: Any) -> Any:
    listening = Listening(server, tls=False)
    yield listening
    listening.close()


def test_a_fleet_that_misbehaves_agrees_with_the_server_in_the_end(
    server: FakeServer, plain: Listening, tmp_path: Path
) -> None:
    fleet = live_a_week(server, plain, tmp_path, WILD)
    counts = total(fleet)
    assert counts.links_cut
    assert counts.answers_forgotten
    assert counts.reports_repeated
    assert counts.uses > 50
    assert not counts.complaints, counts.refusals
    agreements = {a.id for terminal in fleet for a in terminal.state.agreements.values()}
    assert agreements == set(server.agreements) == set(server.receipts)
    reported: dict[tuple[str, int], int] = {}
    for document in server.reports.values():
        report = msgspec.msgpack.decode(document)
        key = (report["installation"], report["epoch"])
        reported[key] = max(reported.get(key, 0), report["value"])
    used: dict[tuple[str, int], int] = {}
    resets = 0
    for terminal in fleet:
        for line in terminal.state.journal.load():
            resets += isinstance(line, lines.CounterReset)
            if isinstance(line, lines.Used):
                used[line.installation, line.epoch] = used.get((line.installation, line.epoch), 0) + line.units
    assert resets
    assert {key: value for key, value in reported.items() if value} == used


def journals(fleet: list[SimulatedTerminal]) -> list[list[str]]:
    """What users did, without the ids that are made at random."""
    return [[f"{type(line).__name__} {line.at}" for line in terminal.state.journal.load()] for terminal in fleet]


def test_the_same_seed_gives_the_same_life(server: FakeServer, plain: Listening, tmp_path: Path) -> None:
    first = journals(live_a_week(server, plain, tmp_path / "1", FaultRates(), 4))
    server.now -= 7 * 86_400_000_000
    again = journals(live_a_week(server, plain, tmp_path / "2", FaultRates(), 4))
    assert first == again


def test_a_terminal_that_stays_answers_and_decides_on_new_menus(
    server: FakeServer, plain: Listening, tmp_path: Path
) -> None:
    (terminal,) = live_a_week(server, plain, tmp_path, FaultRates(), 1)
    links = []
    made = server.link
    server.link = lambda binding=b"": links.append(made(binding)) or links[-1]  # type: ignore[method-assign,assignment,func-returns-value]  # a test's tap
    blockingCallFromThread(reactor, terminal.stay)
    before = terminal.counts.interrogations["interval"]
    from signalling.messages import Inquiry

    def ask() -> None:
        links[-1].begin(Inquiry(trigger="interval"))

    reactor.callFromThread(ask)
    reactor.callFromThread(terminal.client._transport.write, b"")
    blockingCallFromThread(reactor, terminal.client.status)
    blockingCallFromThread(reactor, terminal.client.status)
    assert terminal.counts.interrogations["interval"] == before + 1
    blockingCallFromThread(reactor, terminal.leave)


def test_keys_follow_from_the_seed() -> None:
    assert dict(enrolment(3, 7)) == dict(enrolment(3, 7))
    assert dict(enrolment(3, 7)).keys() != dict(enrolment(3, 8)).keys()
    assert fleet_identity(7, 2).public_key.hex() == dict(enrolment(3, 7))["F7-00002"]


def test_the_profiles_that_come_with_the_project_give_dozens_of_configurations(tmp_path: Path) -> None:
    profiles = read_profiles(Path(__file__).parents[2] / "configs" / "terminals")
    clock = SettableClock(from_micros(0))
    fleet = make_fleet(300, profiles, 7, make_trust(FakeServer()), clock, reactor, folder=tmp_path)
    codes = {terminal.state.configuration().code() for terminal in fleet}
    assert 24 < len(codes) < 100
    memories = {int(terminal.state.base.hardware["memory_mib"]) for terminal in fleet}
    assert min(memories) == 64
    assert max(memories) == 16384
