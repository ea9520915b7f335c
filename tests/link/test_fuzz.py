"""Mutated input for the link codec, the machine and the exchanges: only their own errors, and nobody else's link."""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from link_harness import PHONE, House, parts_of
from twisted.logger import globalLogPublisher

from operator_server.link.machine import Faulted, Left, LinkMachine, State
from signalling.configuration import SECTIONS, ConfigurationError, decode_section
from signalling.envelope import BodyError, EnvelopeError, UnknownType, decode, encode
from signalling.framing import FrameError, FrameReader, frame
from signalling.messages import (
    Bye,
    CardData,
    Challenge,
    ConfigurationReport,
    Confirm,
    CounterProposal,
    CounterReports,
    Error,
    Logoff,
    Logon,
    NoticeRead,
    Ping,
    Pong,
    Reject,
    Request,
    SectionPart,
    Signed,
    StatusRequest,
    Welcome,
    decode_from_server,
    decode_from_terminal,
)

SEED = 20261001
SIGNED = Signed(b"\x81\xa1a\x01", bytes(64))
REPORT = ConfigurationReport(PHONE.code(), dict(PHONE.digests()))
MESSAGES = [
    Logon("phone-1", "none", bytes(64), ["de", "en"], "sim 1"),
    Logoff(), Error("a", "b"), Ping(), Pong(), Bye("x"), REPORT, *parts_of(PHONE, SECTIONS),
    Request("a", "a@1", "free"), Reject("a", "a@1", "no"), CounterProposal("q", "m", 5), Confirm(SIGNED),
    CounterReports([SIGNED, SIGNED]), NoticeRead(["n"]), StatusRequest(),
    CardData("8949", b"\x02\x70\x00"),
]  # fmt: skip
INTERESTING = [
    b"\x00", b"\xff", b"\xc0", b"\xc1", b"\xdf\xff\xff\xff\xff", b"\xdd\x7f\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff", b"\x93" * 40, b"\x81" * 300, struct.pack(">BQ", 0xCF, 2**64 - 1), b"\xa0",
    b"\xd9\x05\xff\xfe\xfd\xfc\xfb",
]  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The bytes with one to four changes."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and at < len(changed):
            changed[at] = chance.randrange(256)
        elif kind == 2:
            changed[at:at] = chance.choice(INTERESTING)
        elif kind == 3:
            del changed[at : at + chance.randint(1, 8)]
        elif kind == 4:
            piece = chance.choice(INTERESTING)
            changed[at : at + len(piece)] = piece
        else:
            source = chance.randrange(len(changed) + 1)
            changed[at:at] = changed[source : source + chance.randint(1, 16)]
    return bytes(changed)


def payloads() -> list[bytes]:
    return [encode(message, id=7, exchange=2 if message is REPORT else 3, re=None) for message in MESSAGES]


def test_the_codec_raises_only_its_own_errors() -> None:
    chance, samples = random.Random(SEED), payloads()
    for _ in range(60_000):
        payload = mutated(chance.choice(samples), chance)
        try:
            envelope = decode(payload)
        except EnvelopeError:
            continue
        for read in (decode_from_terminal, decode_from_server):
            with suppress(UnknownType, BodyError):
                read(envelope)


def test_the_frame_reader_raises_only_its_own_error_and_keeps_no_more_than_a_frame() -> None:
    chance = random.Random(SEED + 1)
    stream = b"".join(frame(payload) for payload in payloads())
    for _ in range(2_000):
        reader, data = FrameReader(), mutated(stream, chance)
        try:
            while data:
                cut = chance.randint(1, 400)
                reader.feed(data[:cut])
                data = data[cut:]
        except FrameError:
            pass


def test_sections_raise_only_their_own_error() -> None:
    chance = random.Random(SEED + 2)
    canonical = PHONE.canonical()
    for _ in range(20_000):
        name = chance.choice(SECTIONS)
        with suppress(ConfigurationError):
            decode_section(name, mutated(canonical[name], chance))


def ready(state: State) -> LinkMachine:
    machine = LinkMachine(10**6, 10**6)
    machine.challenge("tollgate.test", bytes(32), 1)
    if state is not State.CHALLENGED:
        machine.receive(frame(encode(MESSAGES[0], id=1)), 0.0)
    if state is State.LOGGED_ON:
        machine.accept(Welcome("s", 1, 300, 50))
        machine.begin()
    machine.output()
    return machine


def test_the_machine_answers_everything_with_events_and_closes_on_every_fault() -> None:
    chance, samples = random.Random(SEED + 3), payloads()
    for _ in range(40_000):
        machine = ready(chance.choice([State.CHALLENGED, State.PROVING, State.LOGGED_ON]))
        payload = mutated(chance.choice(samples), chance)
        data = frame(payload) if len(payload) > 0 and chance.random() < 0.9 else mutated(frame(payload or b"x"), chance)
        events = machine.receive(data, 1.0)
        faulted = any(isinstance(event, Faulted) for event in events)
        if faulted:
            assert machine.state is State.CLOSED
            last = decode_from_server(decode(FrameReader().feed(machine.output())[-1]))
            assert last.closing
        assert faulted or machine.state is not State.CLOSED or isinstance(events[-1], Left)


@pytest.mark.slow
def test_exchanges_stand_up_to_mutated_dialogues_and_other_links_notice_nothing(tmp_path: Path) -> None:
    failures: list[Any] = []
    globalLogPublisher.addObserver(lambda event: failures.append(event) if "log_failure" in event else None)
    house = House(tmp_path, link={"new_codes_per_day": 10**6, "max_links_per_address": 10**6})
    bystander, fuzzed = house.terminal("bystander"), house.terminal("phone-1")
    bystander.whole_logon()
    chance = random.Random(SEED + 4)
    for turn in range(4_000):
        peer = house.again(fuzzed)
        for message in _dialogue(peer, chance):
            peer.sent += 1
            payload = encode(message, id=peer.sent, exchange=_exchange(message))
            peer.raw(frame(mutated(payload, chance)) if chance.random() < 0.4 else frame(payload))
        if not peer.transport.closed:
            peer.transport.loseConnection()
        if turn % 500 == 0:
            bystander.send(Ping())
            assert bystander.new() == [Pong()]
    assert not house.server.interrogator._open
    assert failures == []
    bystander.send(Ping())
    assert bystander.new() == [Pong()]


def _exchange(message: Any) -> int:
    if isinstance(message, (ConfigurationReport, SectionPart)):
        return 2
    return 0 if isinstance(message, (Logon, Logoff)) else 3


def _dialogue(peer: Any, chance: random.Random) -> list[Any]:
    made_of = PHONE if chance.random() < 0.5 else type(PHONE)(hardware={"model": f"m{chance.randrange(50)}"})
    report = ConfigurationReport(made_of.code(), dict(made_of.digests()))
    messages: list[Any] = [peer.proof(peer.last(Challenge)[1]), report, *parts_of(made_of, SECTIONS)]
    if chance.random() < 0.3:
        chance.shuffle(messages)
    return messages
