"""The link over real sockets and TLS: channel bindings, a proof that is relayed, limits before the logon."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from link_harness import PHONE, SERVER_ID, START, PlainOffering, enroll, parts_of, settings
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.threads import blockingCallFromThread

from operator_server.keys import OperatorKeys, load_or_create_keys
from operator_server.link.machine import LOGON_REFUSED
from operator_server.link.server import LinkServer
from operator_server.link.tls import LinkTls
from operator_server.store.engine import sqlite_url, writing
from operator_server.store.schema import metadata
from operator_server.store.store import Store
from signalling.clock import SettableClock
from signalling.envelope import decode, encode
from signalling.framing import FrameReader, frame
from signalling.messages import (
    Challenge,
    ConfigurationReport,
    Inquiry,
    Logon,
    Message,
    Notice,
    Offers,
    SectionRequest,
    Welcome,
    decode_from_server,
)
from signalling.proof import EXPORTER_LABEL, logon_statement


class TlsHouse:
    """A link server on a port of its own, with one enrolled terminal."""

    def __init__(self, path: Path, **link: Any) -> None:
        self.keys: OperatorKeys = load_or_create_keys(path / "keys", SERVER_ID, ["localhost"], START)
        self.store = Store(sqlite_url(path / "test.sqlite"), reactor)
        metadata.create_all(self.store.engine)
        self.terminal_key = Ed25519PrivateKey.generate()
        with writing(self.store.engine).begin() as connection:
            enroll(connection, "phone-1", self.terminal_key)
        self.server = LinkServer(
            settings(link={"tls": True, **link}),
            self.store,
            SettableClock(START),
            PlainOffering(),
            {},
            reactor=reactor,
            node="node-1",
            tls=LinkTls(self.keys.certificate, self.keys.private_key, link.get("key_exchange", ("X25519", "P-256"))),
        )
        self.port = blockingCallFromThread(reactor, self.server.listen)

    def stop(self) -> None:
        blockingCallFromThread(reactor, self.server.stop)
        self.store.close()


@pytest.fixture
def make_tls_house(tmp_path: Path, running_reactor: Any) -> Iterator[Callable[..., TlsHouse]]:
    houses: list[TlsHouse] = []

    def make(**link: Any) -> TlsHouse:
        houses.append(TlsHouse(tmp_path, **link))
        return houses[-1]

    yield make
    for house in houses:
        house.stop()


class Device:
    """A terminal over TLS; ``authority`` is the certificate it trusts."""

    def __init__(self, port: int, authority: Path, version: int = SSL.TLS1_3_VERSION) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.load_verify_locations(str(authority))
        context.set_verify(SSL.VERIFY_PEER, lambda connection, certificate, error, depth, ok: bool(ok))
        context.set_max_proto_version(version)
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.settimeout(None)
        self.tls = SSL.Connection(context, self.socket)
        self.tls.set_connect_state()
        self.tls.do_handshake()
        self._reader = FrameReader()
        self._ready: list[bytes] = []
        self._sent = 0

    def receive(self) -> tuple[Any, Any]:
        while not self._ready:
            self._ready = self._reader.feed(self.tls.recv(65536))
        envelope = decode(self._ready.pop(0))
        return envelope, decode_from_server(envelope)

    def send(self, message: Message, exchange: int = 0, re: int | None = None) -> None:
        self._sent += 1
        self.tls.sendall(frame(encode(message, id=self._sent, exchange=exchange, re=re)))

    def data(self, binding: str) -> bytes:
        if binding == "tls-exporter":
            return self.tls.export_keying_material(EXPORTER_LABEL, 32, None)
        certificate = self.tls.get_peer_certificate(as_cryptography=True)
        return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()

    def proof(self, key: Ed25519PrivateKey, challenge: Challenge, binding: Any) -> Logon:
        data = self.data(binding)
        return Logon(
            "phone-1", binding, key.sign(logon_statement(challenge.nonce, "phone-1", SERVER_ID, binding, data))
        )


@pytest.mark.parametrize("binding", ["tls-exporter", "tls-server-end-point"])
@pytest.mark.requirement("S1")
def test_the_whole_dialogue_over_tls(make_tls_house: Callable[..., TlsHouse], binding: str) -> None:
    house = make_tls_house()
    device = Device(house.port, house.keys.authority)
    challenge = device.receive()[1]
    device.send(device.proof(house.terminal_key, challenge, binding))
    assert isinstance(device.receive()[1], Welcome)
    envelope, inquiry = device.receive()
    assert inquiry == Inquiry("logon")
    device.send(ConfigurationReport(PHONE.code(), dict(PHONE.digests())), envelope.exchange, envelope.id)
    envelope, request = device.receive()
    assert isinstance(request, SectionRequest)
    for part in parts_of(PHONE, request.sections):
        device.send(part, envelope.exchange, envelope.id)
    assert isinstance(device.receive()[1], Offers)


def test_a_binding_that_the_operator_does_not_take_is_refused(make_tls_house: Callable[..., TlsHouse]) -> None:
    house = make_tls_house(channel_bindings=["tls-exporter"])
    device = Device(house.port, house.keys.authority)
    device.send(device.proof(house.terminal_key, device.receive()[1], "tls-server-end-point"))
    assert device.receive()[1] == LOGON_REFUSED


def test_a_closing_error_ends_the_link_at_once(make_tls_house: Callable[..., TlsHouse]) -> None:
    house = make_tls_house()
    device = Device(house.port, house.keys.authority)
    device.receive()
    device.tls.sendall(bytes(4))
    closing = device.receive()[1]
    assert closing.code == "bad_frame"
    assert closing.closing
    began = time.monotonic()
    with pytest.raises(SSL.ZeroReturnError):
        device.tls.recv(1)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("binding", ["tls-exporter", "tls-server-end-point"])
def test_a_proof_that_is_relayed_through_another_channel_is_refused(
    make_tls_house: Callable[..., TlsHouse], tmp_path: Path, binding: str
) -> None:
    house = make_tls_house()
    false = load_or_create_keys(tmp_path / "false", SERVER_ID, ["localhost"], START)
    middle = Device(house.port, house.keys.authority)
    challenge = middle.receive()[1]
    # The man in the middle has a certificate that this terminal, badly set up, trusts; it passes our nonce on.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        signed: list[Logon] = []
        context = LinkTls(false.certificate, false.private_key).context

        def victim() -> None:
            device = Device(listener.getsockname()[1], false.authority)
            signed.append(device.proof(house.terminal_key, challenge, binding))
            device.socket.close()

        thread = threading.Thread(target=victim)
        thread.start()
        accepted, _ = listener.accept()
        tls = SSL.Connection(context, accepted)
        tls.set_accept_state()
        tls.do_handshake()
        thread.join(10)
        accepted.close()
    middle.send(signed[0])
    assert middle.receive()[1] == LOGON_REFUSED


def test_older_tls_is_refused(make_tls_house: Callable[..., TlsHouse]) -> None:
    house = make_tls_house()
    with pytest.raises(SSL.Error):
        Device(house.port, house.keys.authority, SSL.TLS1_2_VERSION)


def test_a_connection_that_never_shakes_hands_is_closed(
    make_tls_house: Callable[..., TlsHouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operator_server.link.server.CLOSING_SECONDS", 0)
    house = make_tls_house(handshake_timeout=1)
    began = time.monotonic()
    with suppress(ConnectionResetError), socket.create_connection(("127.0.0.1", house.port), timeout=15) as connection:
        while connection.recv(4096):
            pass
    assert time.monotonic() - began < 14


def test_beyond_the_limit_of_an_address_a_connection_is_closed_at_once(make_tls_house: Callable[..., TlsHouse]) -> None:
    house = make_tls_house(max_links_per_address=1)
    first = Device(house.port, house.keys.authority)
    with socket.create_connection(("127.0.0.1", house.port), timeout=10) as second:
        assert second.recv(1) == b""
    assert isinstance(first.receive()[1], Challenge)


def test_a_peer_that_does_not_read_is_cut_off(make_tls_house: Callable[..., TlsHouse]) -> None:
    house = make_tls_house()
    device = Device(house.port, house.keys.authority)
    device.send(device.proof(house.terminal_key, device.receive()[1], "tls-exporter"))
    assert isinstance(device.receive()[1], Welcome)
    notice = Notice("n", "offer", "x" * 4000)

    def flood() -> bool:
        return all(house.server.send("phone-1", notice) for _ in range(500))

    for _ in range(40):
        if not blockingCallFromThread(reactor, flood):
            break
        time.sleep(0.05)
    else:
        pytest.fail("the server keeps on buffering")


@pytest.mark.parametrize("groups", [["X25519"], ["P-256"], ["X25519MLKEM768", "X25519"]])
def test_the_key_exchange_is_the_one_that_is_configured(
    make_tls_house: Callable[..., TlsHouse], groups: list[str]
) -> None:
    """pyOpenSSL names key exchange groups only in private; this holds that name to what the link makes of it."""
    house = make_tls_house(key_exchange=groups)
    device = Device(house.port, house.keys.authority)
    assert device.tls.get_group_name() in {groups[0], groups[0].lower(), {"P-256": "secp256r1"}.get(groups[0])}
