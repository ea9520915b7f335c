"""Whole fleets: terminals with scripted users in one reactor, repeatable by a seed.

Keys are derived from the seed, so that a fleet can be enrolled before it runs; they protect nothing.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults

from signalling.clock import Clock
from signalling.configuration import Configuration
from terminal_sim import journal as lines
from terminal_sim.client import LinkLost
from terminal_sim.delivery import DeliveryPaused
from terminal_sim.journal import FileJournal
from terminal_sim.profiles import FaultRates, Profile, draw
from terminal_sim.simulated import Counts, SimulatedTerminal
from terminal_sim.state import State, in_memory
from terminal_sim.trust import Identity, Trust
from terminal_sim.user import ScriptedFaults, ScriptedUser


def fleet_identity(seed: int, number: int) -> Identity:
    """The name and key of the fleet's terminal ``number`` (from 1); the same for the same seed."""
    terminal = f"F{seed}-{number:05d}"
    secret = hashlib.sha256(f"tollgate fleet key 1 {terminal}".encode()).digest()
    return Identity(terminal, Ed25519PrivateKey.from_private_bytes(secret))


def make_fleet(
    count: int,
    profiles: Sequence[Profile],
    seed: int,
    trust: Trust,
    clock: Clock,
    reactor: Any,
    *,
    folder: Path,
    keep: bool = False,
    honest: bool = False,
    hosts: Sequence[Configuration] = (),
) -> list[SimulatedTerminal]:
    """``count`` terminals. ``folder`` takes their downloads and, with ``keep``, their journals, which are gone on with.

    ``hosts``: configurations that the first terminals have in place of a drawn one. ``honest``: without faults.
    """
    return [
        _make_terminal(
            number,
            profiles,
            seed,
            trust,
            clock,
            reactor,
            folder=folder,
            keep=keep,
            honest=honest,
            configuration=hosts[number - 1] if number <= len(hosts) else None,
        )
        for number in range(1, count + 1)
    ]


def _make_terminal(
    number: int,
    profiles: Sequence[Profile],
    seed: int,
    trust: Trust,
    clock: Clock,
    reactor: Any,
    *,
    folder: Path,
    keep: bool = False,
    honest: bool = False,
    configuration: Configuration | None = None,
) -> SimulatedTerminal:
    """The fleet's terminal ``number``; see :func:`make_fleet`."""
    chance = random.Random(f"{seed} profile {number}")
    profile = draw(profiles, chance)
    drawn = profile.configuration(chance)
    identity = fleet_identity(seed, number)
    own = folder / identity.terminal
    state = _state(identity, trust, configuration or drawn, own, clock.micros(), keep)
    faults = ScriptedFaults(profile.faults, random.Random(f"{seed} faults {number}"))
    user = ScriptedUser(profile.user, random.Random(f"{seed} user {number}"))
    return SimulatedTerminal(
        state, user, clock, reactor, faults=None if honest or profile.faults == FaultRates() else faults
    )


def _state(identity: Identity, trust: Trust, configuration: Configuration, folder: Path, now: int, keep: bool) -> State:
    if not keep:
        return in_memory(identity, trust, configuration, folder, now)
    folder.mkdir(parents=True, exist_ok=True)
    state = State(identity, trust, FileJournal(folder / "journal.jsonl", durability="none"), folder)
    if state.latest == 0:
        state.record(lines.Configured(at=now, configuration=configuration))
    return state


def total(fleet: Sequence[SimulatedTerminal]) -> Counts:
    """The sums over a fleet."""
    sums = Counts()
    for terminal in fleet:
        sums += terminal.counts
    return sums


def run_sessions(
    fleet: Sequence[SimulatedTerminal], parallel: int, *, honest: bool = False, done: Any = lambda terminal, error: None
) -> Deferred[list[Any]]:
    """One session of every terminal, ``parallel`` at a time; ``done`` is told each terminal and None or its error."""
    places = DeferredSemaphore(parallel)

    def finished(result: Any, terminal: SimulatedTerminal) -> None:
        done(terminal, result.value if hasattr(result, "trap") and result.trap(LinkLost, DeliveryPaused) else None)

    def one(terminal: SimulatedTerminal) -> Deferred[Any]:
        return terminal.session(honest=honest).addBoth(finished, terminal)

    return gatherResults([places.run(one, terminal) for terminal in fleet], consumeErrors=True)


def enrolment(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Terminal id and public key in hexadecimal, for the enrolment of a fleet."""
    for number in range(1, count + 1):
        identity = fleet_identity(seed, number)
        yield identity.terminal, identity.public_key.hex()
