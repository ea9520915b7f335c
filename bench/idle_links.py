"""Memory of an idle link, at 5,000 of them: terminals that have logged on, got their offers and say nothing more.

The load is a process of its own, so that only the server's memory is seen. The value is what the server's resident
memory grew by, a link; the kernel's socket buffers are not in it. Over TLS some 5 KiB of it are the key that OpenSSL
keeps of a hybrid key exchange (X25519MLKEM768); with P-256 a link takes 27.5 KiB.
"""

from __future__ import annotations

import resource
import socket
import statistics
import tempfile
from pathlib import Path
from typing import Any, Literal

from OpenSSL import SSL

from bench.link_servers import CONFIGURATION, SERVER_ID, prepare, terminal_key, terminal_name
from bench.logon import Server
from bench.measure import result
from bench.report import Target
from signalling.configuration import SECTIONS
from signalling.envelope import decode, encode
from signalling.framing import FrameReader, frame
from signalling.messages import (
    Challenge,
    ConfigurationReport,
    Inquiry,
    Logon,
    Message,
    Offers,
    SectionPart,
    SectionRequest,
    decode_from_server,
)
from signalling.proof import EXPORTER_LABEL, logon_statement

LINKS = 5000
WARM = 200
ROUNDS = 3

TARGETS = {
    "memory per idle link, plain": Target("value", "<=", 5.0),
    "memory per idle link, TLS": Target("value", "<=", 32.0),
}


class Quiet:
    """A terminal that goes through one logon and then keeps its link."""

    def __init__(self, number: int, port: int, context: SSL.Context | None) -> None:
        self._number = number
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._link: Any = self._socket
        if context is not None:
            self._link = SSL.Connection(context, self._socket)
            self._link.set_connect_state()
            self._link.do_handshake()
        self._sent = 0
        self._log_on(FrameReader(), tls=context is not None)

    def _send(self, message: Message, exchange: int = 0, re: int | None = None) -> None:
        self._sent += 1
        self._link.sendall(frame(encode(message, id=self._sent, exchange=exchange, re=re)))

    def _log_on(self, reader: FrameReader, *, tls: bool) -> None:
        while True:
            for payload in reader.feed(self._link.recv(65536)):
                envelope = decode(payload)
                message = decode_from_server(envelope)
                if isinstance(message, Challenge):
                    self._send(self._proof(message, tls))
                elif isinstance(message, Inquiry):
                    report = ConfigurationReport(CONFIGURATION.code(), dict(CONFIGURATION.digests()))
                    self._send(report, envelope.exchange, envelope.id)
                elif isinstance(message, SectionRequest):
                    canonical = CONFIGURATION.canonical()
                    for name in SECTIONS:
                        self._send(SectionPart(name, 1, 1, canonical[name]), envelope.exchange, envelope.id)
                elif isinstance(message, Offers):
                    return

    def _proof(self, challenge: Challenge, tls: bool) -> Logon:
        name = terminal_name(self._number)
        binding: Literal["tls-exporter", "none"] = "tls-exporter" if tls else "none"
        data = self._link.export_keying_material(EXPORTER_LABEL, 32, None) if tls else b""
        statement = logon_statement(challenge.nonce, name, SERVER_ID, binding, data)
        return Logon(name, binding, terminal_key(self._number).sign(statement))

    def close(self) -> None:
        """Drop the link."""
        self._socket.close()


def client_context() -> SSL.Context:
    """TLS of the load; whom it speaks to does not matter here."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


def _kibibytes_a_link(folder: Path, *, tls: bool) -> float:
    server = Server("real", str(folder), *(["tls"] if tls else []))
    try:
        context = client_context() if tls else None
        # The first links bring in what a process needs once.
        for number in range(WARM):
            Quiet(number, server.port, context).close()
        before = server.memory()
        links = [Quiet(number, server.port, context) for number in range(LINKS)]
        grown = server.memory() - before
        for link in links:
            link.close()
        return grown / LINKS / 1024
    finally:
        server.close()


def run() -> list[dict[str, Any]]:
    """The figures, medians of three servers each."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 2 * LINKS + 1000), most))
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, LINKS)
        for tls, name in ((False, "memory per idle link, plain"), (True, "memory per idle link, TLS")):
            values = [_kibibytes_a_link(folder, tls=tls) for _ in range(ROUNDS)]
            rows.append(result(name, statistics.median(values), "KiB"))
    return rows


if __name__ == "__main__":
    from bench.measure import show

    show(run())
