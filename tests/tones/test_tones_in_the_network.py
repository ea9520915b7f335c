"""Tones by way of the home register and the nodes that serve a phone, over sockets: by short message and in USSD."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from card_samples import NUMBER
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from operator_samples import NOW
from tone_network import Network, free_port
from tone_samples import TUNES, ToneHouse
from typer.testing import CliRunner
from web_samples import Site, furnish_people

from operator_server.cards import channel
from operator_server.cli.main import app
from operator_server.nodes.gateway import ATTEMPTS, TRY_AGAIN
from operator_server.nodes.locations import location_of, set_busy, update_location
from operator_server.store.accounting import Charge
from operator_server.store.cards import CardPacketRow
from operator_server.store.dealings import Agreement
from operator_server.store.tones import DeliveryReport, ToneDelivery
from operator_server.tones import shop
from signalling.card import sms, ussd
from signalling.card.text import to_septets
from signalling.tones import parse_rtttl
from signalling.tones.messages import pack
from terminal_sim.handset import MODERN, Key, without
from terminal_sim.node import Node

BACH = parse_rtttl(TUNES["tone-bach"][0])
MakeNetwork = Callable[..., Network]


def kept(network: Network) -> bool:
    rows = network.house.rows(ToneDelivery)
    return bool(rows) and rows[0].state == "kept"


def packet(house: ToneHouse, kind: str = "KeepTone") -> CardPacketRow:
    rows: list[CardPacketRow] = house.rows(CardPacketRow, kind=kind)
    assert len(rows) == 1
    return rows[0]


def parts(row: CardPacketRow) -> list[bytes]:
    return [part.encode() for part in channel.parts(row.packet, row.counter)]


def brought(network: Network, word: str) -> list[bytes]:
    """The bytes that came to the phone over its radio, of short messages (MT) or USSD strings of the network (MTU)."""
    found = [line.split(" ")[-1] for line in network.heard if line.startswith(f"{word} ")]
    data = [bytes.fromhex(each) for each in found]
    return data if word == "MTU" else [sms.decode_deliver(each).content.encode() for each in data]


@pytest.mark.requirement("E1")
@pytest.mark.requirement("E2")
@pytest.mark.requirement("E3")
@pytest.mark.requirement("E7")
@pytest.mark.parametrize("way", ["ussd", "sms"])
def test_a_tone_is_chosen_by_text_alone_and_agreed_on_the_cards_screen(network: Network, way: str) -> None:
    say = network.dial if way == "ussd" else network.write
    assert say("*100#" if way == "ussd" else "tones") == "Tones\n1 By letter\n2 By kind\n3 New\n4 Receive as\n0 Back"
    assert say("1") == "Tones\n1 A\n2 B\n0 Back"
    assert say("2") == "B\n1 Bach\n2 Bolero\n0 Back"
    assert say("0") == "Tones\n1 A\n2 B\n0 Back"
    say("2")
    assert say("1").splitlines()[1].startswith("1 Once: ")
    assert say("1") == "Please confirm on your screen."
    network.agree()
    network.wait(lambda: kept(network))
    [agreement] = network.house.rows(Agreement, terminal_id="SIM-1")
    assert (agreement.product, agreement.state, agreement.evidence_kind) == ("tone-bach", "installed", "card_mac")
    assert network.slots() == {"tone-bach": ("1", pack(BACH))}


@pytest.mark.requirement("E10")
@pytest.mark.requirement("E15")
@pytest.mark.requirement("E16")
def test_a_tone_comes_in_ussd_sessions_through_home_and_node_byte_for_byte(network: Network) -> None:
    network.house.change(lambda c: shop.set_wish(c, "SIM-1", way="ussd"))
    network.heard.clear()
    sent: list[bytes] = []
    home, take = network.role.home, network.role.home.ussd

    def told(link: object, message: object) -> object:
        sent.append(message.data)  # type: ignore[attr-defined]  # a message that carries some
        return take(link, message)  # type: ignore[arg-type]  # as it came

    home.ussd = told  # type: ignore[assignment,method-assign]  # a test's tap
    network.choose_bach()
    network.agree()
    network.wait(lambda: kept(network))
    assert network.slots() == {"tone-bach": ("1", pack(BACH))}
    row = packet(network.house)
    # To the phone: what the store holds. To the home register: what the phone said; and its answer as it was coded.
    assert all(part in brought(network, "MTU") for part in parts(row))
    assert not brought(network, "MT")
    assert sent == [bytes.fromhex(line.split(" ")[-1]) for line in network.spoken if line.startswith("USSD ")]
    answers = [bytes.fromhex(line.split(" ")[-1]) for line in network.heard if line.startswith("USSD ")]
    assert [ussd.encode_ussd(text)[1] for text in network.texts] == answers
    ways = {(each.way, each.outcome, each.node) for each in network.reports() if each.packet_id == row.id}
    assert ways == {("ussd", "delivered", "north")}


@pytest.mark.requirement("E11")
@pytest.mark.requirement("E12")
@pytest.mark.parametrize("way", ["sms", "ussd"])
def test_delivery_follows_a_phone_that_moves(network: Network, way: str) -> None:
    network.house.change(lambda c: shop.set_wish(c, "SIM-1", way=way))
    network.choose_bach()
    network.see("Bach.")
    network.move("south")
    assert network.until(lambda: NUMBER not in network.nodes["north"].phones)
    north = len(network.steps("north"))
    network.agree()
    network.wait(lambda: kept(network))
    assert not any("over" in line for line in network.steps("north")[north:])
    of_tone = [each.node for each in network.reports() if each.packet_id == packet(network.house).id]
    assert set(of_tone) == {"south"}


@pytest.mark.requirement("E11")
@pytest.mark.requirement("E12")
def test_what_waits_for_a_phone_goes_where_it_turns_up(network: Network) -> None:
    network.choose_bach()
    network.see("Bach.")
    network.run(lambda: network.air.radio.transport.loseConnection())  # type: ignore[union-attr]  # it is connected
    network.wait(lambda: not network.air.node)
    network.tell("Later.")
    network.wait(lambda: [each.outcome for each in network.reports("Tell")] == ["absent"])
    network.move("south")
    network.wait(lambda: len(network.reports("Tell")) > 1)
    assert [(each.outcome, each.node) for each in network.reports("Tell")] == [
        ("absent", "north"),
        ("delivered", "south"),
    ]


@pytest.mark.requirement("E13")
def test_messages_go_over_a_control_channel_and_never_over_one_for_speech(network: Network) -> None:
    # The phone is at rest, so that a connection has to be set up.
    network.wait(lambda: not network.air.channel)
    network.tell("News.")
    network.wait(lambda: network.reports("Tell"))
    [report] = network.reports("Tell")
    assert (report.steps, report.channel) == ("page,connect,deliver", "SDCCH")
    assert {each.channel for each in network.reports()} == {"SDCCH"}
    assert "CHANNEL TCH" not in network.heard


@pytest.mark.requirement("E14")
@pytest.mark.parametrize("connection", ["session", "call"])
def test_a_busy_phone_gets_no_second_set_up(make_network: MakeNetwork, connection: str) -> None:
    # A call that is played in real time lasts longer than the test.
    network = make_network(voice_frame_ms=20)
    if connection == "session":
        network.dial("*100#")
    else:
        _call_of_a_tone(network)
    network.wait(lambda: _busy(network))
    before, paged = len(network.reports("Tell")), network.heard.count("PAGE")
    network.tell("News.")
    network.wait(lambda: len(network.reports("Tell")) > before)
    report = network.reports("Tell")[-1]
    assert (report.outcome, report.steps) == ("delivered", "deliver")
    assert report.channel == ("SDCCH" if connection == "session" else "SACCH")
    assert network.heard.count("PAGE") == paged


def _busy(network: Network) -> bool:
    with network.house.engine.connect() as connection:
        return bool(location_of(connection, NUMBER).busy)


def _call_of_a_tone(network: Network) -> None:
    network.house.change(lambda c: shop.set_wish(c, "SIM-1", form="audio"))
    network.choose_bach()
    network.agree()
    network.see("Call to record Bach?")
    network.press("")
    network.run(lambda: network.handset.enter(""))
    network.wait(lambda: network.handset.in_call)


@pytest.mark.requirement("E14")
@pytest.mark.requirement("E18")
def test_what_a_phone_cannot_take_now_waits_and_is_tried_again(network: Network) -> None:
    network.air.takes = False
    network.tell("News.")
    network.wait(lambda: [each.outcome for each in network.reports("Tell")] == ["busy"])
    row = packet(network.house, "Tell")
    assert row.state == "waiting"
    assert TRY_AGAIN <= row.due_at - row.created_at < 2 * TRY_AGAIN
    network.air.takes = True
    network.run(network.role.home.soon)
    network.house.clock.advance(TRY_AGAIN)
    network.see("News.")
    network.wait(lambda: [each.outcome for each in network.reports("Tell")] == ["busy", "delivered"])
    network.wait(lambda: packet(network.house, "Tell").state == "received")


@pytest.mark.requirement("E18")
def test_a_message_that_never_arrives_is_reported_each_time_and_fails(network: Network) -> None:
    network.run(lambda: network.air.radio.transport.loseConnection())  # type: ignore[union-attr]  # it is connected
    network.wait(lambda: NUMBER not in network.nodes["north"].phones)
    network.tell("News.")
    for attempt in range(1, ATTEMPTS + 1):
        network.run(network.role.home.soon)
        network.wait(lambda attempt=attempt: packet(network.house, "Tell").attempts == attempt)  # type: ignore[misc]  # bound to this turn
        network.house.clock.advance(TRY_AGAIN)
    row = packet(network.house, "Tell")
    assert (row.state, row.reason) == ("failed", "the serving node reports: absent, the phone is not here")
    assert [(each.outcome, each.node) for each in network.reports("Tell")] == [("absent", "north")] * ATTEMPTS


@pytest.mark.requirement("E9")
@pytest.mark.requirement("E17")
@pytest.mark.requirement("E18")
def test_the_operator_reads_the_reports_of_each_message(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    network.choose_bach()
    network.agree()
    network.wait(lambda: kept(network))
    network.wait(lambda: packet(network.house).state == "received")
    monkeypatch.setenv("TOLLGATE_CONFIG", str(network.house.folder / "configs"))
    told = CliRunner().invoke(app, ["tone", "reports", "--terminal", "SIM-1", "--json"])
    assert told.exit_code == 0, told.output
    shown = [each for each in json.loads(told.output) if each["what"] == "KeepTone"]
    assert {(each["node"], each["outcome"], each["way"], each["channel"]) for each in shown} == {
        ("north", "delivered", "sms", "SDCCH")
    }
    assert CliRunner().invoke(app, ["tone", "reports", "--terminal", "SIM-9"]).output.startswith("Nothing")
    # The phone says of each message that it has it; the node hands that on; the home register keeps it.
    came = [line.split(" ")[1] for line in network.heard if line.startswith("MT ")]
    assert came == [line.split(" ")[1] for line in network.spoken if line.startswith("DONE ")]
    assert len(network.house.rows(DeliveryReport)) == len(came)
    of_tone = [each for each in network.reports() if each.packet_id == packet(network.house).id]
    assert [each.outcome for each in of_tone] == ["delivered"] * len(parts(packet(network.house)))
    [agreement] = network.house.rows(Agreement, terminal_id="SIM-1")
    assert [each.net for each in network.house.rows(Charge, agreement_id=agreement.id)] == [1_000_000]


@pytest.mark.requirement("E17")
def test_programs_read_the_reports_by_the_api(network: Network) -> None:
    network.choose_bach()
    network.agree()
    network.wait(lambda: kept(network))
    furnish_people(network.house)
    reader = Site(network.house).by("operator")
    [tone] = reader.get("/api/v1/terminals/SIM-1/tones").json()["items"]
    assert (tone["tone"], tone["form"], tone["state"]) == ("tone-bach", "smart", "kept")
    told = reader.get("/api/v1/terminals/SIM-1/delivery-reports?limit=100").json()["items"]
    reports = {(each.node, each.outcome, each.channel) for each in network.reports("KeepTone")}
    assert {(each["node"], each["outcome"], each["channel"]) for each in told} == reports
    assert reader.get("/api/v1/terminals/T-1/tones").status_code == 404


@pytest.mark.requirement("S17")
def test_a_phone_without_short_messages_has_the_dialogue_by_ussd(make_network: MakeNetwork) -> None:
    network = make_network(profile=without(MODERN, ["send-short-message", "sms-pp-download"]))
    network.run(network.handset.open_menu)
    network.choose("Tones", "By letter", "B", "Bach", "Once")
    network.agree()
    network.wait(lambda: kept(network))
    assert network.slots() == {"tone-bach": ("1", pack(BACH))}
    assert not any(line.startswith("MO ") for line in network.spoken)
    assert not brought(network, "MT")
    assert {each.way for each in network.reports()} == {"ussd"}


def test_a_phone_that_takes_no_ussd_is_reached_by_short_messages(make_network: MakeNetwork) -> None:
    network = make_network(profile=without(MODERN, ["send-short-message", "ussd-download"]))
    network.run(network.handset.open_menu)
    network.choose("Tones", "By letter")
    network.wait(lambda: network.shows == ["A", "B"])
    assert not any(line.startswith("MO ") for line in network.spoken)
    assert [each.outcome for each in network.reports("ShowGroups")] == ["failed", "delivered"]
    assert [each.way for each in network.reports("ShowGroups")] == ["ussd", "sms"]


@pytest.mark.requirement("S17")
def test_a_phone_that_can_send_nothing_says_so_and_keeps_silent(make_network: MakeNetwork) -> None:
    network = make_network(profile=without(MODERN, ["send-short-message", "send-ussd"]))
    for line in ("Offers", "Tones"):
        network.run(network.handset.open_menu)
        network.choose(line)
        network.see("This phone cannot send messages of the card.")
        network.press(Key.OK)
    assert network.spoken == [f"ATTACH {NUMBER}"]


def test_a_node_without_the_secret_is_not_let_in(make_network: MakeNetwork) -> None:
    network = make_network()
    network.operator.settings.nodes.secret = type(network.operator.settings.nodes.secret)("of our nodes")
    stranger = network.open("west", "another")
    assert "secret" in stranger.home.refusal
    assert network.open("east", "of our nodes").home.attached


def test_nodes_attach_by_tls_and_to_no_other_than_the_operator(make_network: MakeNetwork) -> None:
    network = make_network(tls=True)
    assert network.dial("*100#").startswith("Tones")
    plain = Node("plain", network.reactor)
    network.run(lambda: plain.home.attach(f"127.0.0.1:{network.port}"))
    heard, other = list[str](), certificate_of_another()
    stranger = Node("stranger", network.reactor, log=heard.append)
    network.run(lambda: stranger.home.attach(f"localhost:{network.port}", other))
    network.wait(lambda: any("certificate" in line for line in heard))
    assert not stranger.home.attached
    assert not plain.home.attached
    network.run(lambda: [*stranger.close(), *plain.close()] and None)


def certificate_of_another() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "another")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_messages_that_the_home_register_did_not_hear_come_when_it_is_back(network: Network) -> None:
    network.run(lambda: network.nodes["north"].home._side.transport.abortConnection())  # type: ignore[union-attr]  # it is connected
    network.wait(lambda: not network.nodes["north"].home.attached)
    assert network.write("TONES").startswith("Tones")


@pytest.mark.parametrize("payload", [b"", b"\x00\x00\x00\x01\xc0", b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"])
def test_nonsense_at_the_nodes_port_ends_its_own_connection_alone(network: Network, payload: bytes) -> None:
    with socket.create_connection(("127.0.0.1", network.port), timeout=5) as line:
        line.sendall(payload or b"\x00\x00\x00\x00")
        with contextlib.suppress(ConnectionResetError):
            assert line.recv(100) == b""
    assert network.dial("*100#").startswith("Tones")


def test_the_register_says_who_served_a_phone_before(house: ToneHouse) -> None:
    assert house.change(lambda c: update_location(c, "+491", "north", NOW)) == ""
    house.change(lambda c: set_busy(c, "+491", True, NOW))
    assert house.change(lambda c: update_location(c, "+491", "south", NOW + timedelta(hours=1))) == "north"
    row = house.change(lambda c: location_of(c, "+491"))
    assert (row.node, row.busy) == ("south", False)
    with pytest.raises(LookupError, match="registered at no node"):
        house.change(lambda c: set_busy(c, "+490", True, NOW))


def test_a_text_that_means_nothing_brings_the_same_screen_again(network: Network) -> None:
    first = network.dial("*100#")
    assert [network.dial(each) for each in ("7", "x", " ", "99")] == [first] * 4
    assert network.dial("0") == "Goodbye"
    assert network.dial("*123#") == "?"


def test_no_screen_is_longer_than_one_message_and_none_hides_a_line(house: ToneHouse, network: Network) -> None:
    from operator_server.tones.registry import import_tone

    kinds = [f"kind {number} {'of many words ' * 2}"[:30].strip() for number in range(20)]
    house.change(lambda c: import_tone(c, TUNES["tone-bach"][0], NOW, product="tone-bach", kinds=kinds))
    network.dial("*100#")
    seen = []
    screen = network.dial("2")
    while True:
        assert len(to_septets(screen)) <= 160
        seen += [line[2:] for line in screen.splitlines()[1:] if line[0] in "12345678"]
        if "9 More" not in screen:
            break
        screen = network.dial("9")
    assert sorted(seen) == sorted([*kinds, "classical", "dance", "novelty"])


def test_a_port_of_another_computer_needs_tls_and_a_secret() -> None:
    from operator_server.settings import NodesSettings

    with pytest.raises(ValueError, match="TOLLGATE_NODES__SECRET"):
        NodesSettings(host="0.0.0.0", port=free_port())
