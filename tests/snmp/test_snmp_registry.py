"""Making devices and credentials known: checked, and no secret shown anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from snmp_operator import PollingHouse
from sqlalchemy import Connection
from typer.testing import CliRunner

from operator_server.cli.main import app
from operator_server.snmp.credentials import (
    Community,
    CredentialError,
    User,
    open_credential,
    remove_credential,
    store_credential,
)
from operator_server.snmp.registry import (
    Change,
    CounterSetting,
    DeviceError,
    change_device,
    parse_counter,
    pause_device,
)
from operator_server.store.devices import DeviceCounterReading, DeviceCredential
from operator_server.store.parties import Event, TerminalKey
from operator_server.store.rows import add

CONFIG = """
[operator]
server_id = "op.example"
name = "Operator"
address = ["Street 1"]
country = "DE"
[store]
data = "{data}"
"""
SECRETS = "auth-secret-1\npriv-secret-2\n"
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    (tmp_path / "operator.toml").write_text(CONFIG.format(data=tmp_path / "var"))
    monkeypatch.setenv("TOLLGATE_CONFIG", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "400")
    runner = CliRunner()

    def command(*arguments: str, code: int = 0, stdin: str = "") -> str:
        result = runner.invoke(app, list(arguments), input=stdin)
        assert result.exit_code == code, result.output
        return result.output

    command("account", "create", "A-1", "--name", "Somebody")
    return command


def test_a_counter_is_named_by_its_object_and_unit() -> None:
    assert parse_counter("mib=ifHCInOctets.2") == CounterSetting("mib", "1.3.6.1.2.1.31.1.1.1.6.2", "mib", 2**20, 2, 64)
    assert parse_counter("volume=1.3.6.1.2.1.2.2.1.10.7/1000").bits == 32
    assert parse_counter("pages=1.3.6.1.4.1.99999.1.0/1").if_index is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mib", "write counter=object/octets"),
        ("mib=ifHCInOctets", "needs the number of an interface"),
        ("volume=ifHCInOctets.2", "how many octets make a volume"),
        ("mib=ifInBananas.2", "not an object identifier"),
        ("mib=1.3.6.99999999999", "too large"),
        ("mib=ifHCInOctets.2/0", "how many octets"),
    ],
)
def test_a_counter_that_cannot_be_is_told(text: str, told: str) -> None:
    with pytest.raises(DeviceError, match=told):
        parse_counter(text)


def test_credentials_are_sealed_for_their_name_and_can_be_replaced(tmp_path: Path) -> None:
    house = PollingHouse(tmp_path)
    house.credential("routers", Community("first-secret"))
    with pytest.raises(CredentialError, match="exists already"):
        house.credential("routers", Community("second-secret"))
    now = house.clock.now()
    user = User("reader", "auth-secret-1", "priv-secret-2")
    house.write(lambda c: store_credential(c, house.vault, "routers", user, now, replace=True))
    [row] = house.rows(DeviceCredential)
    assert row.version == "v3"
    assert b"secret" not in row.sealed
    assert open_credential(house.vault, "routers", row.sealed) == user
    house.device("gw-1", 161, "routers")
    with pytest.raises(CredentialError, match="1 device"):
        house.write(lambda c: remove_credential(c, "routers"))


def test_a_credential_shows_no_secret_when_it_is_printed() -> None:
    assert "secret" not in repr(Community("a-secret")) + repr(User("reader", "auth-secret-1", "priv-secret-2"))


@pytest.mark.parametrize("user", [User("reader", "short", "priv-secret"), User("reader", "auth-secret", "short")])
def test_passphrases_that_the_standard_forbids_are_refused_without_being_told(tmp_path: Path, user: User) -> None:
    with pytest.raises(CredentialError, match="shorter than 8") as caught:
        PollingHouse(tmp_path).credential("routers", user)
    assert "short'" not in str(caught.value)


def test_a_device_is_added_listed_and_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text(SECRETS)
    run("device", "credential", "add", "routers", "--user", "reader", "--secret-file", str(tmp_path / "secrets"))
    added = run(
        "device", "add", "gw-1", "--host", "192.0.2.1", "--credential", "routers", "--subscriber", "A-1",
        "--counter", "mib=ifHCInOctets.2", "--contact", "erika@example.org",
    )  # fmt: skip
    assert "gw-1 is a device at 192.0.2.1:161" in added
    shown = run("device", "show", "gw-1") + run("device", "list", "--json") + run("device", "credential", "list")
    assert "subscriber: A-1" in shown
    assert "1.3.6.1.2.1.31.1.1.1.6.2" in shown
    assert "secret" not in shown


def test_a_community_comes_from_standard_input(run: Run) -> None:
    assert "clear text" in run("device", "credential", "add", "old", stdin="hidden-word\n")
    assert "hidden-word" not in run("device", "credential", "list", "--json")
    assert "1 line(s) are needed" in run("device", "credential", "add", "none", stdin="\n", code=1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--credential", "none", "--subscriber", "A-1"), "credential 'none': there is none"),
        (("--credential", "old", "--subscriber", "A-9"), "subscriber A-9: there is none"),
        (("--credential", "old", "--subscriber", "A-1", "--port", "0"), "port 0"),
        (("--credential", "old", "--subscriber", "A-1", "--language", "German"), "language"),
        (
            (
                "--credential", "old", "--subscriber", "A-1",
                "--counter", "mib=ifHCInOctets.2", "--counter", "mib=ifHCInOctets.2",
            ),
            "named twice",
        ),
    ],
)  # fmt: skip
def test_a_device_that_cannot_be_is_told(run: Run, options: tuple[str, ...], told: str) -> None:
    run("device", "credential", "add", "old", stdin="hidden-word\n")
    assert told in run("device", "add", "gw-1", "--host", "192.0.2.1", *options, code=1)


def test_a_device_is_paused_and_resumed(run: Run) -> None:
    run("device", "credential", "add", "old", stdin="hidden-word\n")
    run("device", "add", "gw-1", "--host", "192.0.2.1", "--credential", "old", "--subscriber", "A-1")
    run("device", "pause", "gw-1")
    assert "state: paused" in run("device", "show", "gw-1")
    run("device", "resume", "gw-1")
    assert "state: active" in run("device", "show", "gw-1")
    assert "there is none" in run("device", "show", "gw-9", code=1)


def test_a_device_is_changed(run: Run) -> None:
    run("device", "credential", "add", "old", stdin="hidden-word\n")
    run("device", "credential", "add", "new", stdin="other-word\n")
    run("account", "create", "A-2", "--name", "Somebody else")
    run("device", "add", "gw-1", "--host", "192.0.2.1", "--credential", "old", "--subscriber", "A-1")
    run(
        "device", "change", "gw-1", "--host", "192.0.2.2", "--port", "1161", "--credential", "new", "--subscriber",
        "A-2", "--counter", "mib=ifHCInOctets.3", "--contact", "new@example.org", "--poll-seconds", "60",
    )  # fmt: skip
    shown = json.loads(run("device", "show", "gw-1", "--json"))
    assert (shown["address"], shown["credential"], shown["subscriber"]) == ("192.0.2.2:1161", "new", "A-2")
    assert (shown["contact"], shown["poll_seconds"], len(shown["counters"])) == ("new@example.org", 60, 1)
    run("device", "change", "gw-1", "--no-counters")
    assert json.loads(run("device", "show", "gw-1", "--json"))["counters"] == []
    run("device", "credential", "remove", "old")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "nothing is to be changed"),
        (("--credential", "none"), "credential 'none': there is none"),
        (("--host", "a b"), "neither a name nor an address"),
        (("--subscriber", "A-9"), "A-9"),
        (("--counter", "mib=ifHCInOctets.3", "--no-counters"), "one of them"),
    ],
)
def test_a_change_that_cannot_be_is_told_and_changes_nothing(run: Run, options: tuple[str, ...], told: str) -> None:
    run("device", "credential", "add", "old", stdin="hidden-word\n")
    run("device", "add", "gw-1", "--host", "192.0.2.1", "--credential", "old", "--subscriber", "A-1")
    before = run("device", "show", "gw-1", "--json")
    assert told in run("device", "change", "gw-1", *options, code=1)
    assert run("device", "show", "gw-1", "--json") == before
    assert "there is none" in run("device", "change", "gw-9", "--port", "1", code=1)


def test_counting_begins_anew_at_another_address_unless_the_device_is_the_same(tmp_path: Path) -> None:
    house = PollingHouse(tmp_path)
    house.credential("routers", Community("a-secret"))
    house.device("gw-1", 161, "routers", "mib=ifHCInOctets.1", "mib=ifHCOutOctets.1")
    now = house.clock.now()

    def read(connection: Connection) -> None:
        for oid in ("1.3.6.1.2.1.31.1.1.1.6.1", "1.3.6.1.2.1.31.1.1.1.10.1"):
            add(connection, DeviceCounterReading(terminal_id="gw-1", oid=oid, counter="mib", last_raw="5", last_at=now))

    def change(wanted: Change) -> list[str]:
        house.write(lambda c: change_device(c, "gw-1", wanted, now))
        return [row.oid for row in house.rows(DeviceCounterReading)]

    house.write(read)
    assert len(change(Change(credential="routers"))) == 2
    assert len(change(Change(host="192.0.2.2", same_device=True))) == 2
    assert change(Change(counters=[parse_counter("mib=ifHCOutOctets.1")])) == ["1.3.6.1.2.1.31.1.1.1.10.1"]
    assert change(Change(host="192.0.2.3")) == []


def test_a_changed_device_is_interrogated_at_once_and_a_paused_one_stays_paused(tmp_path: Path) -> None:
    house = PollingHouse(tmp_path)
    house.credential("routers", Community("a-secret"))
    house.device("gw-1", 161, "routers")
    house.device("gw-2", 161, "routers")
    now = house.clock.now() + timedelta(hours=1)
    house.write(lambda c: pause_device(c, "gw-2", now, paused=True))
    for terminal in ("gw-1", "gw-2"):
        house.write(lambda c, terminal=terminal: change_device(c, terminal, Change(port=1161), now))  # type: ignore[misc]  # bound to this turn
    assert (house.shown("gw-1").next_poll_at, house.shown("gw-1").trigger) == (now, "logon")
    assert (house.shown("gw-2").next_poll_at, house.shown("gw-2").state) == (None, "paused")
    assert [row.data for row in house.rows(Event) if row.kind == "device_changed"] == [{"changed": ["port"]}] * 2


def test_a_device_has_no_key_of_ours(tmp_path: Path) -> None:
    house = PollingHouse(tmp_path)
    house.credential("routers", Community("a-secret"))
    house.device("gw-1", 161, "routers")
    assert house.rows(TerminalKey) == []
    assert "a-secret" not in str(house.rows(Event))
