"""Logons are looked up and proved in a process of their own, and go on without it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from link_harness import SERVER_ID, START, enroll

from operator_server.link.prover import Answer, Ask, cut, framed
from operator_server.link.visitors import Proof, Stranger
from operator_server.offering.menus import LogonContext
from operator_server.store.engine import open_engine, sqlite_url, writing
from operator_server.store.schema import metadata
from signalling.clock import to_micros
from signalling.proof import logon_statement

NONCE = bytes(range(32))
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
NOW = to_micros(START)


@pytest.fixture
def url(tmp_path: Path) -> str:
    address = sqlite_url(tmp_path / "test.sqlite")
    engine = open_engine(address)
    metadata.create_all(engine)
    with writing(engine).begin() as connection:
        enroll(connection, "phone-1", KEY)
    engine.dispose()
    return address


def proof(key: Ed25519PrivateKey = KEY, terminal: str = "phone-1") -> Proof:
    statement = logon_statement(NONCE, terminal, SERVER_ID, "none", b"")
    return Proof(statement, key.sign(statement))


class Prover:
    """The process, spoken to as the link does."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, "-m", "operator_server.link.prover"]
        self.process: Any = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._write(url.encode())
        self._received = bytearray()

    def _write(self, *payloads: bytes) -> None:
        self.process.stdin.write(b"".join(framed(each) for each in payloads))
        self.process.stdin.flush()

    def ask(self, *asks: Ask) -> list[Answer]:
        self._write(*(msgspec.msgpack.encode(each) for each in asks))
        answers: list[Answer] = []
        while len(answers) < len(asks):
            self._received += self.process.stdout.read1(65536)
            for each in cut(self._received):
                answers += msgspec.msgpack.decode(each, type=list[Answer])
        return answers


@pytest.fixture
def prover(url: str) -> Iterator[Prover]:
    running = Prover(url)
    yield running
    running.process.stdin.close()
    assert running.process.wait(timeout=20) == 0, "the prover ends when its link does"


def test_who_logs_on_is_told_with_the_proof_checked(prover: Prover) -> None:
    (found,) = prover.ask(Ask("phone-1", NOW, proof()))
    assert isinstance(found, LogonContext)
    assert found.proven
    assert (found.visitor.subscriber, found.visitor.groups) == ("user-phone-1", frozenset({"staff"}))


def test_each_of_many_gets_its_own_answer(prover: Prover) -> None:
    forged = proof(Ed25519PrivateKey.generate())
    asks = [Ask("phone-1", NOW, proof()), Ask("phone-1", NOW, forged), Ask("nobody", NOW, proof()),
            Ask("phone-1", NOW, None)] * 10  # fmt: skip
    answers = prover.ask(*asks)
    for proven, refused, stranger, unasked in zip(*(answers[start::4] for start in range(4)), strict=True):
        assert isinstance(proven, LogonContext)
        assert proven.proven
        assert isinstance(refused, Stranger)
        assert refused.known
        assert isinstance(stranger, Stranger)
        assert not stranger.known
        assert isinstance(unasked, LogonContext)
        assert not unasked.proven


LINK = """
import json, os, signal, sys
from twisted.internet import reactor
from operator_server.link.proving import ProvingVisitors
from operator_server.link.visitors import StoreVisitors
from operator_server.store.store import Store
from signalling.clock import SettableClock, from_micros

url, now = sys.argv[1], int(sys.argv[2])
clock = SettableClock(from_micros(now))
store = Store(url, reactor)
visitors = ProvingVisitors(url, clock, reactor, StoreVisitors(store, clock, reactor))
visitors.start()
said, killed = [], []

def when_ready(do):
    prover = visitors._prover
    if prover is not None and prover.ready and prover not in killed:
        do()
    else:
        reactor.callLater(0.02, when_ready, do)

def kill():
    os.kill(visitors._prover.transport.pid, signal.SIGKILL)
    for _ in range(3):
        visitors.read("phone-1", None, lambda found: said.append(found.visitor.terminal))
    reactor.callLater(0.5, lambda: visitors.read("phone-1", None, lambda found: said.append(found.visitor.terminal)))
    killed.append(visitors._prover)
    when_ready(lambda: visitors.read("phone-1", None, stop))

def stop(found):
    said.append(found.visitor.terminal)
    visitors.stop()
    reactor.callLater(0.5, reactor.stop)

# Before the prover is ready, and by it.
visitors.read("phone-1", None, lambda found: said.append(found.visitor.terminal))
when_ready(lambda: visitors.read("phone-1", None, lambda found: (said.append(found.visitor.terminal), kill())))
reactor.run()
store.close()
print(json.dumps(said))
"""


def test_a_prover_that_dies_costs_no_logon_and_is_started_again(url: str) -> None:
    done = subprocess.run([sys.executable, "-c", LINK, url, str(NOW)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["phone-1"] * 7
