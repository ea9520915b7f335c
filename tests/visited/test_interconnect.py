"""The interconnect over real sockets: who is let in, what is refused and with which words, what is bounded."""

from __future__ import annotations

import json
import socket
import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from operator_samples import NOW
from twisted.internet.threads import blockingCallFromThread
from typer.testing import CliRunner
from visited_samples import HOME, VISITED, Lands, air_of

from operator_server.cli.main import app
from operator_server.store.accounting import Charge
from operator_server.visited import wire
from operator_server.visited.faults import HomeRefused, HomeUnreachable, VisitedError
from operator_server.visited.identity import identity_of, introduction, read_introduction
from operator_server.visited.interconnect import Interconnect
from operator_server.visited.listener import Listener
from operator_server.visited.partners import block_partner, partner_row, put_partner
from operator_server.visited.peer import RemotePeer
from operator_server.visited.records import Claim, claim_of
from signalling.codes import messages as m
from signalling.messages import Signed


def json_bytes(value: object) -> bytes:
    return json.dumps({"terminal": value, "wanted": value, "records": value}).encode()


def ask(
    lands: Lands, path: str, body: bytes, *, identity: Path | None, method: str = "POST", head: str = ""
) -> tuple[int, dict[str, Any]]:
    """What home answers to bytes, and to whoever has the key and certificate in this file."""
    row = lands.visited.change(lambda c: partner_row(c, HOME))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=row.certificate)
    if identity is not None:
        context.load_cert_chain(identity)
    port = int(row.url.rpartition(":")[2])
    length = head or f"Content-Length: {len(body)}\r\n"
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        context.wrap_socket(plain) as line,
    ):
        line.sendall(f"{method} {path} HTTP/1.1\r\nHost: home\r\nConnection: close\r\n{length}\r\n".encode() + body)
        answer = b""
        while data := line.recv(65536):
            answer += data
    top, _, told = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), json.loads(told)


def command(lands: Lands, *words: str) -> Result:
    """A command of the visited operator."""
    environment = {"TOLLGATE_CONFIG": str(lands.visited.folder / "configs"), "COLUMNS": "200"}
    return CliRunner().invoke(app, words, env=environment)


def north(lands: Lands) -> Path:
    return identity_of(lands.visited.operator).file


def test_both_sides_know_each_other_by_their_certificates(joined: Lands) -> None:
    assert joined.line().hello() == wire.Greeting(HOME, VISITED)


def test_who_shows_no_certificate_or_one_that_is_no_partners_is_refused_in_words(joined: Lands, tmp_path: Path) -> None:
    status, told = ask(joined, "/roaming/v1/hello", b"{}", identity=None)
    assert (status, told["code"]) == (401, "no_certificate")
    assert "client certificate" in told["reason"]
    # A new key of the same operator is a stranger until its introduction is taken.
    identity_of(joined.visited.operator, renew=True)
    status, told = ask(joined, "/roaming/v1/hello", b"{}", identity=north(joined))
    assert (status, told["code"]) == (403, "unknown_peer")
    with pytest.raises(HomeUnreachable, match=r"does not know our certificate .*tollgate visited introduction"):
        joined.line().hello()
    told = command(joined, "visited", "check", HOME)
    assert (told.exit_code, "does not know our certificate" in told.output) == (1, True)
    # A mobile that registers meanwhile is told that home cannot be reached, and is registered nowhere.
    mobile = joined.here()
    assert {each.code for each in air_of(mobile).heard_of(m.Refusal)} >= {"home_unreachable"}
    assert joined.visitors() == []
    joined.partner(joined.home, joined.visited)
    assert joined.line().hello().peer == VISITED
    told = command(joined, "visited", "check", HOME)
    assert (told.exit_code, f"knows us as {VISITED}" in told.output) == (0, True)


def test_whoever_is_at_the_address_without_homes_key_is_told_nothing(joined: Lands) -> None:
    row = joined.visited.change(lambda c: partner_row(c, HOME))
    own = identity_of(joined.visited.operator)
    mistaken = RemotePeer(HOME, row.url, own.certificate, own)
    with pytest.raises(HomeUnreachable, match="does not show the certificate of its introduction"):
        mistaken.hello()


def test_roaming_that_has_ended_is_refused_at_once(joined: Lands) -> None:
    joined.home.change(lambda c: block_partner(c, VISITED, NOW, actor="cli:test"))
    status, told = ask(joined, "/roaming/v1/hello", b"{}", identity=north(joined))
    assert (status, told["code"], told["reason"]) == (
        403, "unknown_network", f"network {VISITED}: roaming with it is blocked"
    )  # fmt: skip


def test_what_is_no_call_too_large_or_beyond_its_limits_is_refused(joined: Lands) -> None:
    own = north(joined)

    def code(path: str, body: bytes, **more: Any) -> tuple[int, str]:
        status, told = ask(joined, path, body, identity=own, **more)
        assert told["reason"]
        return status, told["code"]

    assert code("/roaming/v1/accounts", b"{}") == (404, "unknown_call")
    assert code("/api/v1/accounts", b"{}") == (404, "unknown_call")
    assert code("/roaming/v1/hello", b"", method="GET") == (405, "bad_method")
    assert code("/roaming/v1/hello", b"[]") == (422, "bad_message")
    assert code("/roaming/v1/hello", b"\xff" * 100) == (422, "bad_message")
    assert code("/roaming/v1/hello", b'{"more": 1}') == (422, "bad_message")
    assert code("/roaming/v1/quotes", b"[" * 60_000) == (422, "bad_message")
    wanted = {"feature": "conference", "ef": 7, "amount": 1, "currency": "EUR"}
    for name, value in (("ef", 65), ("amount", -1), ("amount", 10**16), ("currency", "euro"), ("feature", "x" * 40)):
        body = json.dumps({"terminal": "T-1", "wanted": wanted | {name: value}}).encode()
        assert code("/roaming/v1/quotes", body) == (422, "bad_message"), name
    features = json.dumps({"terminal": "T-1", "features": ["x"] * 101}).encode()
    assert code("/roaming/v1/notices", features) == (422, "bad_message")
    # Of a body that is too large nothing is read, however its length is told.
    assert code("/roaming/v1/hello", b"", head="Content-Length: 99999999\r\n") == (413, "too_large")
    chunk = b"ffff\r\n" + b" " * 0xFFFF + b"\r\n"
    assert code("/roaming/v1/hello", chunk * 2, head="Transfer-Encoding: chunked\r\n") == (413, "too_large")


def test_a_partner_that_asks_without_end_has_to_wait_and_others_do_not(lands: Lands) -> None:
    settings = lands.home.operator.settings.roaming
    now = [0.0]
    home = Interconnect(lands.home.operator, lands.home.offers, lambda: now[0])
    fingerprint = identity_of(lands.visited.operator).fingerprint
    statuses = [
        home.answer(fingerprint, "/roaming/v1/hello", b"{}").status for _ in range(settings.requests_per_minute)
    ]
    assert statuses[0] == 200
    assert statuses[-1] == 429
    # Strangers have a measure of their own.
    assert home.answer("00" * 32, "/roaming/v1/hello", b"{}").status == 403
    now[0] = 60.0
    assert home.answer(fingerprint, "/roaming/v1/hello", b"{}").status == 200


def test_connections_beyond_the_most_are_closed(lands: Lands, running_reactor: Any) -> None:
    operator = lands.home.operator
    settings = operator.settings.roaming.model_copy(update={"port": 0, "max_connections": 2})
    listener = Listener(Interconnect(operator, lands.home.offers), identity_of(operator), settings, running_reactor)
    port = blockingCallFromThread(running_reactor, listener.start)
    with ExitStack() as lines:
        for _ in range(2):
            lines.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        with socket.create_connection(("127.0.0.1", port), 5) as third:
            assert third.recv(1) == b""
    blockingCallFromThread(running_reactor, listener.stop)


def test_a_partner_speaks_for_itself_alone(joined: Lands) -> None:
    mobile = joined.here()
    line, register = joined.line(), air_of(mobile).said[0]
    with pytest.raises(HomeRefused) as no:
        line.vouch(register)
    assert no.value.code == "replayed"
    joined.answers = [True]
    mobile.dial("*50#")
    [row] = joined.records()[0]
    with pytest.raises(HomeRefused) as no:
        line.settle(claim_of(row, "south.example"))
    assert no.value.code == "bad_record"


def test_a_feature_is_bought_over_the_interconnect_and_a_record_is_taken_once(joined: Lands) -> None:
    mobile = joined.here()
    joined.answers = [True]
    mobile.dial("*50#")
    assert mobile.active == {"conference"}
    [theirs], [ours] = joined.records()
    assert (theirs.id, theirs.digest, theirs.state) == (ours.id, ours.digest, "acknowledged")
    again = joined.line().settle(claim_of(theirs, VISITED))
    assert again.key == bytes.fromhex(joined.visitors()[0].paid["conference"])
    assert len(joined.home.rows(Charge)) == 1
    assert air_of(mobile).heard_of(m.FeatureKey)


def test_an_introduction_that_is_damaged_foreign_or_of_another_is_not_taken(lands: Lands, tmp_path: Path) -> None:
    told = introduction(lands.visited.operator, "https://north.example:7790/")
    assert told.url == "https://north.example:7790"
    file = tmp_path / "north.json"
    for text, named in (
        (b"{", "not an introduction"),
        (b'{"server": "x"}', "tollgate visited introduction"),
        (wire.encode(told).replace(b"https", b"http"), "https://HOST:PORT"),
        (wire.encode(told).replace(b"MII", b"XII", 1), "cannot be read as PEM"),
    ):
        file.write_bytes(text)
        with pytest.raises(VisitedError, match=named):
            read_introduction(file)
    file.write_bytes(wire.encode(told))
    read = read_introduction(file)
    assert read == told
    own = lands.home.operator.settings.operator.server_id

    def put(changed: Any) -> None:
        lands.home.change(lambda c: put_partner(c, changed, own, NOW, actor="cli:test"))

    with pytest.raises(VisitedError, match=f"shows the certificate of {VISITED}"):
        put(msgspec.structs.replace(read, network="south.example"))
    with pytest.raises(VisitedError, match="is this operator itself"):
        put(msgspec.structs.replace(read, network=HOME))


VALUES = st.recursive(st.none() | st.integers() | st.text(max_size=9), st.lists)


@given(st.binary(max_size=300) | VALUES.map(json_bytes))
def test_bytes_that_are_no_call_are_refused_as_such(data: bytes) -> None:
    for kind in (Signed, wire.Asking, wire.Declining, Claim, wire.Notice, wire.StatementWanted, wire.Disputes):
        with pytest.raises(VisitedError, match=f"not a {kind.__name__}"):
            wire.decode(data, kind)
