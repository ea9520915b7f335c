"""From what a device answers to a configuration that is valid whatever the answer, and names no single device."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_server.snmp.mapping import Answers, clean_key, clean_value, map_configuration, package_and_version
from operator_server.snmp.objects import HR_DEVICE_TYPES

LINUX = b"Linux gw-kiel-17 6.1.0-18-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01) x86_64"


def test_a_linux_host_becomes_hardware_firmware_and_software() -> None:
    mapped = map_configuration(
        Answers(
            description=LINUX,
            object_id=(1, 3, 6, 1, 4, 1, 8072, 3, 2, 10),
            memory_kib=8_052_484,
            devices={
                (1,): {2: (*HR_DEVICE_TYPES, 3), 3: b"GenuineIntel: Core i5"},
                (2,): {2: (*HR_DEVICE_TYPES, 3), 3: b"GenuineIntel: Core i5"},
                (3,): {2: (*HR_DEVICE_TYPES, 4), 3: b"network interface eth0"},
            },
            software={(1,): {2: b"openssl_3.0.11-1~deb12u2_amd64"}, (2,): {2: b"libc6_2.36-9+deb12u4_amd64"}},
        )
    )
    configuration = mapped.configuration
    assert configuration.hardware == {
        "object_id": "1.3.6.1.4.1.8072.3.2.10",
        "architecture": "x86_64",
        "memory_mib": "8192",
        "processors": "2",
        "processor": "GenuineIntel: Core i5",
        "network_interfaces": "1",
    }
    assert configuration.firmware == {"system": "Linux 6.1.0-18-amd64"}
    assert configuration.base_software == {"openssl": "3.0.11-1~deb12u2", "libc6": "2.36-9+deb12u4"}
    assert mapped.notes == []


def test_devices_of_one_kind_share_a_code_whatever_their_names_serials_and_dates() -> None:
    def kind(host: bytes, serial: bytes, memory: int) -> bytes:
        answers = Answers(
            description=LINUX.replace(b"gw-kiel-17", host),
            memory_kib=memory,
            entities={(1,): {5: 3, 7: b"chassis", 9: b"2.1", 11: serial, 12: b"Nordwerk", 13: b"GW-10"}},
        )
        return map_configuration(answers).configuration.code()

    assert kind(b"gw-kiel-17", b"SN-1", 8_052_484) == kind(b"gw-bonn-2", b"SN-2", 8_100_000)


def test_entities_and_catalogue_items_are_taken() -> None:
    mapped = map_configuration(
        Answers(
            entities={
                (1,): {5: 3, 7: b"chassis", 8: b"rev B", 12: b"Nordwerk", 13: b"GW-10"},
                (2,): {5: 9, 2: b"modem module", 9: b"4.2.1", 10: b"7.0"},
            },
            items={(1,): {2: b"chess", 3: b"1.2"}},
            activated={"chess": "1.0", "roaming": "1"},
        )
    )
    configuration = mapped.configuration
    assert configuration.hardware == {"model": "GW-10", "manufacturer": "Nordwerk", "hardware_revision": "rev B"}
    assert configuration.firmware == {"modem-module": "4.2.1", "modem-module.software": "7.0"}
    assert configuration.catalogue_items == {"chess": "1.2", "roaming": "1"}


@pytest.mark.parametrize(
    ("installed", "package", "version"),
    [
        ("openssl_3.0.11-1~deb12u2_amd64", "openssl", "3.0.11-1~deb12u2"),
        ("libstdc++6_12.2.0-14_arm64", "libstdc++6", "12.2.0-14"),
        ("g++_4:12.2.0-3_amd64", "g++", "4:12.2.0-3"),
        ("bash-5.1.8-6.el9.x86_64", "bash", "5.1.8-6.el9"),
        ("Router Firmware 7.1", "Router Firmware", "7.1"),
        ("busybox", "busybox", "installed"),
    ],
)
def test_names_of_packages_are_taken_apart(installed: str, package: str, version: str) -> None:
    assert package_and_version(installed) == (package, version)
    software = map_configuration(Answers(software={(1,): {2: installed.encode()}})).configuration.base_software
    assert software == {clean_key(package): version}
    assert clean_key(package).lower() == package.lower().replace(" ", "-")


def test_addresses_in_a_description_are_left_out() -> None:
    described = Answers(description=b"Gateway 00:11:22:aa:bb:cc at 192.168.2.17, firmware 4.2.1.7")
    assert map_configuration(described).configuration.firmware == {"system": "Gateway at , firmware 4.2.1.7"}


def test_what_cannot_be_used_is_told() -> None:
    mapped = map_configuration(Answers(software={(1,): {2: b"\0\0"}, (2,): {2: 7}, (3,): {2: b"***"}}))
    assert mapped.configuration.base_software == {}
    assert mapped.notes == ["base_software: 3 entries without a usable name or value are left out"]


odd = st.one_of(
    st.none(), st.integers(-(2**70), 2**70), st.binary(max_size=400), st.lists(st.integers(0, 2**32)).map(tuple)
)
rows = st.dictionaries(
    st.lists(st.integers(0, 9), max_size=3).map(tuple),
    st.dictionaries(st.integers(1, 14), odd, max_size=6),
    max_size=6,
)


@given(
    st.builds(
        Answers,
        description=odd, object_id=odd, memory_kib=odd, model=odd,
        devices=rows, software=rows, entities=rows, items=rows,
        activated=st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=3),
    )
)  # fmt: skip
def test_whatever_a_device_answers_the_configuration_is_valid(answers: Answers) -> None:
    assert len(map_configuration(answers).configuration.code()) == 32


@given(st.text(max_size=500))
def test_cleaning_once_is_enough(text: str) -> None:
    assert clean_key(clean_key(text)) == clean_key(text)
    assert clean_value(clean_value(text)) == clean_value(text)
