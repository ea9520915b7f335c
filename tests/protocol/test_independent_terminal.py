"""A terminal written from docs/protocol.md alone completes the dialogue with the real server."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from independent_codec import frame
from independent_terminal import Closed, Link, Refused, Terminal
from protocol_server import Server


def types(link: Link) -> list[str]:
    """What the server sent."""
    return [message["type"] for message in link.seen]


@pytest.mark.requirement("S1")
@pytest.mark.requirement("S2")
def test_logon_and_interrogation(server: Server) -> None:
    terminal = server.terminal()
    # A model that no other test uses, so that its hardware is new to the server.
    terminal.sections["hardware"]["model"] = "independent-2"
    first = terminal.connect()
    assert types(first)[:4] == ["challenge", "welcome", "inquiry", "section_request"]
    assert first.menu
    first.close()

    second = terminal.connect()
    assert "section_request" not in types(second)
    second.close()

    terminal.sections["firmware"] = {"system": "5.2"}
    third = terminal.connect()
    asked = [message["body"]["sections"] for message in third.seen if message["type"] == "section_request"]
    assert asked == [["firmware"]]
    third.close()


@pytest.mark.requirement("S10")
@pytest.mark.requirement("S11")
@pytest.mark.requirement("S15")
def test_the_whole_method(server: Server) -> None:
    terminal = server.terminal()
    link = terminal.connect()

    quote, confirmation = link.negotiate("chess", "buy", counter=("per-use", 5_000_000))
    agreed = link.confirm(quote, confirmation)
    assert link.confirm(quote, confirmation) == agreed
    with pytest.raises(Refused) as no:
        link.order(agreed, digest=bytes(32))
    assert no.value.code == "wrong_hash"

    grant, wrap = link.order(agreed)
    content = link.fetch(grant, wrap)
    assert content == b"chess " * 50_000
    receipt = link.install(grant, content, counter="use")
    noted = link.ask("receipt", {"receipt": receipt})
    assert link.ask("receipt", {"receipt": receipt}) == noted == {"agreement": agreed["agreement"], "charge": "none"}

    link.use("chess", 12)
    with pytest.raises(PermissionError):
        link.use("chess", 10_000)
    report = terminal.report(terminal.items["chess"], [])
    statuses = []
    for _ in range(2):
        answer = link.ask("counter_reports", {"reports": [report]})
        statuses.append(answer["outcomes"][0]["status"])
        link.take_usage(answer["usage"])
    assert statuses == ["accepted", "duplicate"]
    link.use("chess", 10)

    status = link.ask("status_request", {})
    [installed] = status["installations"]
    assert (installed["product"], installed["validity"], installed["counters"]) == ("chess", "valid", {"use": 12})
    # Ten of the twelve uses are included; two cost 0.05 each.
    assert status["charges"][0]["unbilled"] == 100_000
    link.close()

    again = terminal.connect()
    assert "chess" not in again.menu
    assert [m["body"]["sections"] for m in again.seen if m["type"] == "section_request"] == [["catalogue_items"]]
    while "counter_noted" not in types(again):
        again.react(again.receive())
    assert again.ask("status_request", {})["installations"][0]["counters"] == {"use": 22}
    again.close()


@pytest.mark.requirement("S5")
def test_reject_later_and_a_delivery_that_is_paid_once(server: Server) -> None:
    terminal = server.terminal()
    link = terminal.connect()
    assert link.signal("reject", "chess", reason="no games")["until"] is not None
    assert link.signal("later", "ringtones-classic").get("until") is None
    quote, confirmation = link.negotiate("ringtones-classic", "buy")
    agreed = link.confirm(quote, confirmation)
    before = link.ask("status_request", {})["charges"][0]
    assert (before["unbilled"], before["reserved"] > 0) == (0, True)
    link.stream.close()

    link = terminal.connect()
    assert "chess" not in link.menu
    for _ in range(2):
        grant, wrap = link.order(agreed)
    content = link.fetch(grant, wrap)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert archive.extractfile("one.txt").read() == b"ding"
    noted = link.ask("receipt", {"receipt": link.install(grant, content)})
    assert noted["charge"] == "charged"
    assert link.ask("status_request", {})["charges"][0]["unbilled"] == before["unbilled"] + 1_990_000
    link.close()


def test_refusals_leave_the_link(server: Server) -> None:
    terminal = server.terminal()
    link = terminal.connect()
    quote, confirmation = link.negotiate("chess", "per-use")
    forged = {**confirmation, "signature": bytes(64)}
    for code, type_, body in (
        ("unknown_type", "sing", {}),
        ("unknown_offer", "request", {"offer": "no-such", "version": "1", "mode": "buy"}),
        ("offer_changed", "request", {"offer": "chess", "version": "1", "mode": "buy"}),
        ("mode_not_allowed", "request", {"offer": "chess", "version": link.menu["chess"]["version"], "mode": "x"}),
        ("unknown_quote", "decline", {"quote": "none"}),
        ("bad_document", "confirm", {"confirmation": forged}),
    ):
        with pytest.raises(Refused) as no:
            link.ask(type_, body)
        assert no.value.code == code
    assert link.confirm(quote, confirmation)
    assert link.ask("ping", {}, exchange=0) == {}
    link.close()


def test_faults_close_the_link(server: Server) -> None:
    terminal = server.terminal()

    def last_word(fault: Callable[[Link], object], *, logged_on: bool = True) -> str:
        link = terminal.connect() if logged_on else terminal.dial()
        fault(link)
        with pytest.raises(Closed) as closed:
            link.listen()
        return str(closed.value)

    assert "garbage" in last_word(lambda link: link.stream.sendall(frame(b"\xc1")))
    assert "bad_frame" in last_word(lambda link: link.stream.sendall(b"\xff\xff\xff\xff"))
    assert "malformed" in last_word(lambda link: link.send("request", {"offer": 1}, 99))
    assert "wrong_exchange" in last_word(lambda link: link.send("status_request", {}, 1000))
    assert "wrong_state" in last_word(lambda link: link.send("status_request", {}, 1), logged_on=False)
    newer = []
    assert "superseded" in last_word(lambda link: newer.append(terminal.connect()))
    newer[0].close()


@pytest.mark.parametrize("what", ["binding", "key", "name", "nonce"])
def test_a_proof_that_does_not_hold_is_refused(server: Server, what: str) -> None:
    terminal = server.terminal()
    link = terminal.dial()
    if what == "key":
        terminal.key = Terminal((server.folder / "bundle.json").read_bytes(), "x", {}).key
    elif what == "name":
        terminal.name = "T-unknown"
    elif what == "nonce":
        _replay(terminal, link)
    with pytest.raises(Closed, match="logon_refused"):
        link.log_on(data=bytes(32) if what == "binding" else None)


def _replay(terminal: Terminal, link: Link) -> None:
    """Make the link see another nonce than the server's, as a replayed proof would have been made for."""
    receive = link.receive

    def replaced() -> dict[str, object]:
        message = receive()
        if message["type"] == "challenge":
            message["body"]["nonce"] = hashlib.sha256(b"an older one").digest()
        return message

    link.receive = replaced  # type: ignore[method-assign]  # a test's tap


def test_a_session_may_follow_another_on_one_link(server: Server) -> None:
    link = server.terminal().connect()
    link.send("logoff", {})
    link.log_on()
    link.wait_for_menu()
    assert types(link).count("challenge") == 2
    link.close()


def test_the_terminal_imports_nothing_of_the_product() -> None:
    program = "import sys, independent_terminal; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "independent_codec" in loaded
    assert not loaded & {"signalling", "charging", "offers", "operator_server", "terminal_sim", "msgspec"}
