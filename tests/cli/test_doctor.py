"""``tollgate doctor`` finds what is wrong, says how to mend it, and changes nothing."""

from __future__ import annotations

import json
from collections import namedtuple
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from operator_samples import House

from operator_server import doctor
from operator_server.store.accounting import BillRun
from operator_server.store.feed import record
from operator_server.store.rows import add
from operator_server.store.store import transact

if TYPE_CHECKING:
    from conftest import Tollgate

Usage = namedtuple("Usage", "total used free")


def found(tollgate: Tollgate, code: int, area: str) -> list[dict[str, Any]]:
    told = json.loads(tollgate("doctor", "--json", code=code).stdout)
    assert told["code"] == code
    return [each for each in told["findings"] if each["area"] == area and each["level"] != "good"]


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch, house: House) -> None:
    house.operator.repository.refresh_timestamp(house.clock.now())
    monkeypatch.setattr("operator_server.doctor.shutil.disk_usage", lambda folder: Usage(1 << 40, 0, 1 << 39))


def test_a_well_operator_is_told_so(tollgate: Tollgate, house: House) -> None:
    output = tollgate("doctor").output
    assert "bad" not in output
    for area in ("configuration", "database", "keys", "certificates", "repository", "disk", "clock", "work"):
        assert f"{area}: " in output


def test_a_fault_of_the_configuration_is_told_with_its_place(tollgate: Tollgate) -> None:
    (tollgate.config / "operator.toml").write_text("[operator]\nserver_id = 5\n", encoding="utf-8")
    [fault] = found(tollgate, 2, "configuration")
    assert "server_id" in fault["text"]
    assert "docs/configuration.md" in fault["mend"]


def test_a_key_that_others_can_read_is_to_be_mended(tollgate: Tollgate, house: House) -> None:
    key = next(path for path in (house.operator.data / "keys").rglob("*") if doctor._is_private(path))
    key.chmod(0o644)
    [fault] = found(tollgate, 2, "keys")
    assert f"chmod 600 {key}" in fault["mend"]


def test_an_older_schema_is_told_and_left_alone(tollgate: Tollgate, house: House) -> None:
    with house.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0003'")
    for _ in range(2):
        [fault] = found(tollgate, 2, "database")
        assert "tollgate db upgrade" in fault["mend"]


def test_metadata_that_ends_is_told_before_and_after(tollgate: Tollgate, house: House) -> None:
    days = house.operator.settings.delivery.timestamp_days
    clock = house.folder / "clock"
    from signalling.clock import SharedClock

    SharedClock(clock, start=house.clock.now() + timedelta(days=days) * 0.9)
    assert any("timestamp" in each["text"] for each in found(tollgate, 1, "repository"))
    SharedClock(clock, start=house.clock.now() + timedelta(days=days + 1))
    assert any("timestamp ended" in each["text"] for each in found(tollgate, 2, "repository"))


def test_a_clock_behind_the_books_is_told(tollgate: Tollgate, house: House) -> None:
    later = house.clock.now() + timedelta(hours=1)
    transact(house.engine, lambda c: record(c, later, "terminal.logon", terminal="T-1"))
    [fault] = found(tollgate, 2, "clock")
    assert "ahead of the clock" in fault["text"]


def test_work_that_sticks_is_told(tollgate: Tollgate, house: House) -> None:
    before = house.clock.now() - timedelta(hours=3)
    run = BillRun(id="R-9", period="2026-09", until_at=before, started_at=before)
    transact(house.engine, lambda c: add(c, run))
    [fault] = found(tollgate, 1, "jobs")
    assert "tollgate bill run" in fault["mend"]


def test_little_room_is_told(tollgate: Tollgate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operator_server.doctor.shutil.disk_usage", lambda folder: Usage(1 << 40, 0, 1 << 20))
    [fault] = found(tollgate, 2, "disk")
    assert "0.0 GiB" in fault["text"]


@pytest.mark.parametrize(
    ("lost", "area", "mend"),
    [
        ("keys/server_ed25519.pem", "keys", "restore it from the back-up before a server starts"),
        ("keys/content_kek.bin", "keys", "restore it from the back-up before a server starts"),
        ("keys/tls_authority.pem", "certificates", "restore it from the back-up"),
        ("keys/repository/bins.pem", "repository", "tollgate release rotate-key bins"),
        ("repository/metadata/timestamp.json", "repository", "restore it from the back-up"),
    ],
)
def test_a_file_that_is_gone_is_told_before_a_start_makes_another(
    tollgate: Tollgate, house: House, lost: str, area: str, mend: str
) -> None:
    (house.operator.data / lost).unlink()
    assert [each["level"] for each in found(tollgate, 2, area) if mend in each["mend"]] == ["bad"]
    assert not (house.operator.data / lost).exists()


@pytest.mark.parametrize(
    ("broken", "area"),
    [
        ("keys/tls_server.pem", "certificates"),
        ("keys/content_kek.bin", "keys"),
        ("repository/metadata/timestamp.json", "repository"),
        ("tollgate.sqlite", "database"),
    ],
)
def test_a_file_that_is_damaged_is_told_in_one_line(tollgate: Tollgate, house: House, broken: str, area: str) -> None:
    house.engine.dispose()
    (house.operator.data / broken).write_bytes(b"damaged " * 1000)
    faults = [each for each in found(tollgate, 2, area) if each["level"] == "bad"]
    assert faults
    assert all("\n" not in each["text"] and each["mend"] for each in faults)


def test_a_template_that_cannot_be_used_is_told(tollgate: Tollgate) -> None:
    (tollgate.config / "templates").mkdir()
    (tollgate.config / "templates" / "reminder.en.txt").write_text("Hello")
    [fault] = found(tollgate, 2, "configuration")
    assert "reminder.en.txt" in fault["text"]


def test_a_content_key_that_is_not_the_databases_is_told(tollgate: Tollgate, house: House) -> None:
    vault = house.operator.vault
    vault.replace()
    [fault] = found(tollgate, 1, "keys")
    assert fault["mend"] == "tollgate key rotate content"
    vault.forget()
    [fault] = found(tollgate, 2, "keys")
    assert "which is not here" in fault["text"]
