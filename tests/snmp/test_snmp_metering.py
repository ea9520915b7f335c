"""Readings of a device become charges as any terminal's reports do, each octet once, gaps shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from counting_samples import AGREED, SETTINGS, SIGNING, House, add_customer, add_installation, charges
from sqlalchemy import Connection, select, update

from charging.ledger.verify import verify
from operator_server.desk import Visitor
from operator_server.snmp.counters import Reading
from operator_server.snmp.metering import PURPOSE, DeviceMetering
from operator_server.snmp.polling import Counter
from operator_server.store.accounting import CounterGap, CounterReportRow
from operator_server.store.dealings import Installation
from operator_server.store.devices import Device, DeviceCounterReading, DeviceCredential, DeviceSample
from operator_server.store.parties import Terminal
from operator_server.store.rows import add, table
from signalling.messages import CounterOutcome, Signed
from signalling.proof import check, public_bytes

OID = (1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 6, 2)
UNIT = 1_000
VISITOR = Visitor("T-1", "acc-1", "acc-1", frozenset(), "en", b"", takes_packages=False)


class Gateway:
    """A device whose octets are the use of an installation, a thousand a use."""

    def __init__(self, connection: Connection) -> None:
        self.house = House()
        self.connection = connection
        add_customer(connection)
        add(
            connection,
            Terminal(id="T-1", enrolled_at=AGREED),
            DeviceCredential(name="c", version="v2c", sealed=b"", created_at=AGREED),
            Device(terminal_id="T-1", host="192.0.2.1", credential="c"),
        )
        add_installation(connection, self.house.version, state="installed")
        connection.execute(update(table(Installation)).values(installed_at=AGREED))
        self.metering = DeviceMetering(self.house.tariffs, self.house.grants, SIGNING, SETTINGS.operator.zone)
        self.polls = 0

    def read(self, raw: int, *, minutes: int, bits: int = 64, speed: int | None = None) -> list[CounterOutcome]:
        """A poll that found ``raw`` so long after the agreement."""
        at = AGREED + timedelta(minutes=minutes)
        counter = Counter("uses", OID, bits, "uses", UNIT, 2)
        self.polls += 1
        readings = {"1.3.6.1.2.1.31.1.1.1.6.2": (counter, Reading(raw, at, bits, speed=speed))}
        return self.metering.take(self.connection, VISITOR, f"poll-{self.polls}", readings, at)

    def charged(self) -> int:
        """Units charged."""
        return sum(charge.quantity for charge in charges(self.connection))


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    house = House()
    with house.writing() as connection:
        gateway = Gateway(connection)
        yield gateway
        assert verify(connection) == []


def test_use_is_charged_from_the_first_reading_on(gateway: Gateway) -> None:
    assert gateway.read(500_000_000, minutes=1) == []
    assert [each.status for each in gateway.read(500_002_500, minutes=6)] == ["accepted"]
    assert gateway.charged() == 2


def test_octets_short_of_a_unit_are_charged_with_those_that_follow(gateway: Gateway) -> None:
    for minutes, raw in enumerate([0, 900, 1_800, 2_700, 3_600], 1):
        gateway.read(raw, minutes=minutes)
    assert gateway.charged() == 3


def test_polls_without_use_report_nothing(gateway: Gateway) -> None:
    gateway.read(0, minutes=1)
    assert gateway.read(999, minutes=2) == []
    assert gateway.read(999, minutes=3) == []


def test_a_reset_charges_what_was_counted_after_it_and_nothing_twice(gateway: Gateway) -> None:
    gateway.read(0, minutes=1)
    gateway.read(50_000, minutes=2)
    gateway.read(7_000, minutes=3)
    assert gateway.charged() == 57
    [row] = gateway.connection.execute(select(table(DeviceCounterReading))).all()
    assert (row.epoch, row.accumulated_octets) == (1, "57000")


def test_an_interval_that_cannot_be_told_is_a_gap_shown_and_not_charged(gateway: Gateway) -> None:
    gateway.read(0, minutes=1, bits=32, speed=10_000_000)
    gateway.read(5_000, minutes=2, bits=32, speed=10_000_000)
    [outcome] = gateway.read(90_000, minutes=600, bits=32, speed=10_000_000)
    assert outcome.status == "gap"
    gateway.read(91_000, minutes=601, bits=32, speed=10_000_000)
    assert gateway.charged() == 6
    [gap] = gateway.connection.execute(select(table(CounterGap))).all()
    assert (gap.first_sequence, gap.last_sequence, gap.closed_at) == (2, 2, None)


def test_an_older_poll_that_comes_late_changes_nothing(gateway: Gateway) -> None:
    gateway.read(0, minutes=1)
    gateway.read(5_000, minutes=5)
    assert gateway.read(3_000, minutes=3) == []
    assert gateway.charged() == 5


def test_what_was_read_is_evidence_and_the_server_vouches_for_it(gateway: Gateway) -> None:
    gateway.read(0, minutes=1)
    gateway.read(5_000, minutes=2)
    [report] = gateway.connection.execute(select(table(CounterReportRow))).all()
    check(public_bytes(SIGNING), PURPOSE, Signed(report.document, report.signature))
    samples = gateway.connection.execute(select(table(DeviceSample)).order_by(table(DeviceSample).c.at)).all()
    assert [(each.raw, each.octets, each.verdict, each.poll_id) for each in samples] == [
        ("0", "0", "first", "poll-1"),
        ("5000", "5000", "counted", "poll-2"),
    ]


def test_nothing_is_reported_for_what_is_not_installed(gateway: Gateway) -> None:
    gateway.connection.execute(update(table(Installation)).values(removed_at=AGREED))
    gateway.read(0, minutes=1)
    assert gateway.read(9_000, minutes=2) == []
