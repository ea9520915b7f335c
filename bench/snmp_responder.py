"""A light SNMPv2c responder for the benchmarks: answers without understanding more than it must.

``python -m bench.snmp_responder``: prints its port, answers until its standard input ends.
"""

from __future__ import annotations

import os
import select
import socket
import sys

ROWS = 700
"""Rows of its software table."""

_SOFTWARE = bytes((0x2B, 6, 1, 2, 1, 25, 6, 3, 1, 2))
_COUNTER = b"\x46\x05\x01\x00\x00\x00\x00"
_END = b"\x82\x00"


def _length(size: int) -> bytes:
    return bytes((size,)) if size < 128 else b"\x82" + size.to_bytes(2, "big")


def _wrapped(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + _length(len(content)) + content


def _part(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag, content and what follows."""
    tag, size, at = data[at], data[at + 1], at + 2
    if size & 0x80:
        count = size & 0x7F
        size, at = int.from_bytes(data[at : at + count], "big"), at + count
    return tag, data[at : at + size], at + size


def _row_oid(row: int) -> bytes:
    return _SOFTWARE + (bytes((row,)) if row < 128 else bytes((0x80 | row >> 7, row & 0x7F)))


_TABLE = [
    _wrapped(0x30, _wrapped(6, _row_oid(row)) + _wrapped(4, b"lib-package-%d_1.%d-2_amd64" % (row, row)))
    for row in range(1, ROWS + 1)
]


def _following(oid: bytes, repetitions: int) -> bytes:
    if not oid.startswith(_SOFTWARE):
        return _wrapped(0x30, _wrapped(6, oid) + _END)
    row = 0
    for octet in oid[len(_SOFTWARE) :]:
        row = row << 7 | octet & 0x7F
    rows = _TABLE[row : row + repetitions]
    if len(rows) < repetitions:
        rows = [*rows, _wrapped(0x30, _wrapped(6, _row_oid(ROWS)) + _END)]
    return b"".join(rows)


def answer(message: bytes) -> bytes:
    """The response to a GET or a GETBULK of one column; every object that is asked for by GET is a counter."""
    _, content, _ = _part(message, 0)
    _, version, at = _part(content, 0)
    _, community, at = _part(content, at)
    kind, pdu, _ = _part(content, at)
    _, request, at = _part(pdu, 0)
    _, _, at = _part(pdu, at)
    _, repetitions, at = _part(pdu, at)
    _, wanted, _ = _part(pdu, at)
    found, at = b"", 0
    while at < len(wanted):
        _, binding, at = _part(wanted, at)
        _, oid, _ = _part(binding, 0)
        if kind == 0xA5:
            found += _following(oid, int.from_bytes(repetitions, "big"))
        else:
            found += _wrapped(0x30, _wrapped(6, oid) + _COUNTER)
    body = _wrapped(2, request) + b"\x02\x01\x00\x02\x01\x00" + _wrapped(0x30, found)
    return _wrapped(0x30, _wrapped(2, version) + _wrapped(4, community) + _wrapped(0xA2, body))


def main() -> None:
    """Answer on every address of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        listener.bind(("", 0))
        print(listener.getsockname()[1], flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready and not os.read(sys.stdin.fileno(), 1):
                return
            if listener in ready:
                data, peer = listener.recvfrom(65_535)
                listener.sendto(answer(data), peer)


if __name__ == "__main__":
    main()
