"""The prover: a process beside the link that looks up who logs on and checks the proofs.

Checking a signature takes longer than all else of a logon. In a thread it would hand the interpreter to and fro with
the reactor at each signature, which costs more than it saves; here it has an interpreter of its own.

The link writes frames to the prover's standard input and reads frames from its standard output: a length of four
bytes, big-endian, then MessagePack. The first frame in is the URL of the database, which may hold a password and so is
no argument. Each further one is an :class:`Ask`; frames out are lists of answers, in the order of the asks; the first,
which is empty, says that the prover is ready. At the end of its input the process ends. It writes nothing to the
database.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from collections.abc import Iterator
from itertools import islice

import msgspec
from sqlalchemy import Connection

from operator_server.link.process import settle_process
from operator_server.link.visitors import Proof, Stranger, checked, read_visitors
from operator_server.offering.menus import LogonContext
from operator_server.store.engine import open_engine

LOOKED_UP_AT_ONCE = 16
FEW = 4
SHARED = 8
"""So many that have come together are each answered as soon as their proof is checked; the more share an answer, since
a frame costs the link more than one of them waits."""

LENGTH = struct.Struct(">I")
_MOST_BYTES = 64 * 1024


class Ask(msgspec.Struct, array_like=True):
    """Who is ``terminal`` at ``now`` (microseconds), and does the proof hold? Without a proof none is checked."""

    terminal: str
    now: int
    proof: Proof | None


Answer = LogonContext | Stranger

_decode = msgspec.msgpack.Decoder(Ask).decode
_encode = msgspec.msgpack.Encoder().encode


def answers(connection: Connection, asked: list[Ask]) -> Iterator[Answer]:
    """The answer to each, in order, as of the last one's instant; the next proof is checked when it is asked for."""
    terminals = list({each.terminal for each in asked})
    found = dict(zip(terminals, read_visitors(connection, terminals, asked[-1].now), strict=True))
    for each in asked:
        yield found[each.terminal] if each.proof is None else checked(found[each.terminal], each.proof)


def cut(buffer: bytearray) -> list[bytes]:
    """Take the frames that are complete off the front of the buffer."""
    frames: list[bytes] = []
    offset = 0
    while len(buffer) - offset >= LENGTH.size:
        end = offset + LENGTH.size + LENGTH.unpack_from(buffer, offset)[0]
        if len(buffer) < end:
            break
        frames.append(bytes(buffer[offset + LENGTH.size : end]))
        offset = end
    del buffer[:offset]
    return frames


def framed(payload: bytes) -> bytes:
    """The payload with its length before it."""
    return LENGTH.pack(len(payload)) + payload


def _frames(source: int) -> Iterator[list[bytes]]:
    """What has come since the last time, until the input ends; waits for at least one frame."""
    buffer = bytearray()
    while data := os.read(source, _MOST_BYTES):
        buffer += data
        if frames := cut(buffer):
            yield frames


def _write(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def main() -> None:
    """Answer until the link is gone."""
    # A terminal's interrupt is meant for the link, which ends this process by closing its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, target = sys.stdin.fileno(), sys.stdout.fileno()
    incoming = _frames(source)
    url, *early = next(incoming, [b""])
    if not url:
        return
    engine = open_engine(url.decode())
    # On PostgreSQL a statement of its own is a snapshot too, without a transaction that stays open.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        settle_process()
        _write(target, framed(_encode([])))
        for frames in _all(early, incoming):
            for start in range(0, len(frames), LOOKED_UP_AT_ONCE):
                asked = [_decode(each) for each in frames[start : start + LOOKED_UP_AT_ONCE]]
                together = 1 if len(frames) <= FEW else SHARED
                found = answers(connection, asked)
                while some := list(islice(found, together)):
                    _write(target, framed(_encode(some)))


def _all(early: list[bytes], incoming: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
    if early:
        yield early
    yield from incoming


if __name__ == "__main__":
    main()
