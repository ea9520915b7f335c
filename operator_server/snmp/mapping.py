"""From what a device answers to a configuration, by the same rules as any terminal's.

========================  ==================================================================================
hardware                  ``model``, ``manufacturer``, ``object_id``, ``architecture``, ``memory_mib``,
                          ``processor``, ``processors``, ``network_interfaces``, ``displays``
firmware                  ``system`` (of sysDescr), ENTITY-MIB: ``component`` and ``component.software``
base_software             package to version, of hrSWInstalled; Debian's ``package_version_arch`` is taken apart
catalogue_items           product to version, of TOLLGATE-MIB and of what was activated for this device
========================  ==================================================================================

Nothing that names one device is taken: no serial number, host name, contact, location, address, date or free space.
A device may answer anything: keys and values are cleaned, with loss, so that the result is always a valid
configuration; what had to be left out is told in notes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from operator_server.snmp.objects import HR_DEVICE_TYPES
from operator_server.snmp.walk import Oid, Value
from signalling.configuration import MAX_ENTRIES, MAX_VALUE_BYTES, Configuration, quantised_mib

Rows = Mapping[Oid, Mapping[int, Value]]

PROCESSOR, NETWORK, DISPLAY = 3, 4, 10
CHASSIS = 3
"""entPhysicalClass of RFC 6933."""

MAX_SECTION = 3 * 1024 * 1024
_MAX_KEY = 120
_HARDWARE_ADDRESS = re.compile(r"(?i)(?<![0-9a-f:-])([0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![0-9a-f:-])")
_ADDRESS = re.compile(
    r"(?<![\d.])(10(\.\d{1,3}){3}|(127|169\.254|172\.(1[6-9]|2\d|3[01])|192\.168|192\.0\.2)(\.\d{1,3}){1,3})(?![\d.])"
)
"""Addresses of private networks; others cannot be told from versions."""

_DEBIAN = re.compile(r"(?P<name>[a-z0-9][a-z0-9+.-]+)_(?P<version>[A-Za-z0-9.+~:-]+)_(?P<arch>[a-z0-9-]+)\Z")
_RPM = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9+._-]*)-(?P<version>[A-Za-z0-9.+~^]+-[A-Za-z0-9.+~^]+?)"
    r"(\.(noarch|x86_64|aarch64|i[3-6]86|armv7hl|ppc64le|s390x))?\Z"
)
_UNAME = re.compile(r"(?P<system>[A-Za-z][A-Za-z0-9_-]*) \S+ (?P<release>\d\S*) .*?(?P<machine>\S+)\s*\Z")


@dataclass(frozen=True, slots=True)
class Answers:
    """What a device answered: scalars as they came, tables by row index and column."""

    description: Value = None
    object_id: Value = None
    memory_kib: Value = None
    model: Value = None
    devices: Rows = field(default_factory=dict)
    software: Rows = field(default_factory=dict)
    entities: Rows = field(default_factory=dict)
    items: Rows = field(default_factory=dict)
    activated: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Mapped:
    """The configuration and what had to be left out of it."""

    configuration: Configuration
    notes: list[str]


def map_configuration(answers: Answers) -> Mapped:
    """The configuration of a device; never an error, whatever it answered."""
    notes: list[str] = []
    hardware = _Section("hardware", notes)
    firmware = _Section("firmware", notes)
    software = _Section("base_software", notes)
    items = _Section("catalogue_items", notes)
    _system(answers, hardware, firmware)
    _devices(answers.devices, hardware)
    _entities(answers.entities, hardware, firmware)
    _software(answers.software, software)
    for product, version in answers.activated.items():
        items.put(product, version)
    for row in answers.items.values():
        items.put(text(row.get(2)), text(row.get(3)))
    for section in (hardware, firmware, software, items):
        section.tell()
    return Mapped(Configuration(hardware.entries, firmware.entries, software.entries, items.entries), notes)


class _Section:
    """A section in the making: what does not fit is counted, not taken."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.entries: dict[str, str] = {}
        self._notes = notes
        self._left_out = 0
        self._bytes = 0

    def put(self, key: str, value: str, *, replace: bool = True) -> None:
        """Take an entry, cleaned; one without a key or value is left out."""
        key, value = clean_key(key), clean_value(value)
        if not key or not value:
            self._left_out += 1
            return
        if key in self.entries:
            if replace:
                self.entries[key] = value
            return
        self._bytes += len(key) + len(value.encode()) + 8
        if len(self.entries) >= MAX_ENTRIES or self._bytes > MAX_SECTION:
            self._left_out += 1
            return
        self.entries[key] = value

    def tell(self) -> None:
        """Say what was left out."""
        if self._left_out:
            self._notes.append(f"{self.name}: {self._left_out} entries without a usable name or value are left out")


def text(value: Value) -> str:
    """A value as text: octets as UTF-8, what is not as Latin-1; anything else is no text."""
    if not isinstance(value, bytes):
        return ""
    raw = value.rstrip(b"\0")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def clean_key(key: str) -> str:
    """A key in the alphabet of configurations; empty when nothing of it is left."""
    kept = re.sub(r"[^A-Za-z0-9_.+:/~@-]+", "-", key.strip()[:400]).lstrip("-_.+:/~@")[:_MAX_KEY].rstrip("-")
    return kept[:1].lower() + kept[1:]


def clean_value(value: str) -> str:
    """A value without control characters, at most 256 bytes."""
    plain = "".join(" " if _is_control(letter) else letter for letter in value[:1024])
    plain = " ".join(plain.split())
    return plain.encode("utf-8", "ignore")[:MAX_VALUE_BYTES].decode("utf-8", "ignore").strip()


def _without_addresses(description: str) -> str:
    """A description without the addresses of one device."""
    return _ADDRESS.sub("", _HARDWARE_ADDRESS.sub("", description[:1024]))


def _is_control(letter: str) -> bool:
    point = ord(letter)
    return point < 0x20 or 0x7F <= point <= 0x9F or 0xD800 <= point <= 0xDFFF


def _number(value: Value, least: int, most: int) -> int | None:
    return value if isinstance(value, int) and least <= value <= most else None


def _system(answers: Answers, hardware: _Section, firmware: _Section) -> None:
    if isinstance(answers.object_id, tuple):
        hardware.put("object_id", ".".join(map(str, answers.object_id[:32])))
    described = text(answers.description)
    uname = _UNAME.match(described[:1024])
    if uname:
        # Linux and its relatives: system, host name, release, build with a date, machine.
        firmware.put("system", f"{uname['system']} {uname['release']}")
        hardware.put("architecture", uname["machine"])
    elif described:
        firmware.put("system", _without_addresses(described))
    if text(answers.model):
        hardware.put("model", text(answers.model))
    memory = _number(answers.memory_kib, 1, 2**40)
    if memory is not None:
        hardware.put("memory_mib", str(quantised_mib(memory // 1024)))


def _devices(rows: Rows, hardware: _Section) -> None:
    processors: list[str] = []
    networks = displays = 0
    for row in rows.values():
        kind = row.get(2)
        if not isinstance(kind, tuple) or kind[: len(HR_DEVICE_TYPES)] != HR_DEVICE_TYPES:
            continue
        number = kind[len(HR_DEVICE_TYPES)] if len(kind) > len(HR_DEVICE_TYPES) else 0
        if number == PROCESSOR:
            processors.append(text(row.get(3)))
        elif number == NETWORK:
            networks += 1
        elif number == DISPLAY:
            displays += 1
    if processors:
        hardware.put("processors", str(len(processors)))
        if clean_value(processors[0]):
            hardware.put("processor", _without_addresses(processors[0]))
    if networks:
        hardware.put("network_interfaces", str(networks))
    if displays:
        hardware.put("displays", str(displays))


def _entities(rows: Rows, hardware: _Section, firmware: _Section) -> None:
    """ENTITY-MIB: .5 class, .7 name, .2 description, .8 hardware, .9 firmware, .10 software, .12 maker, .13 model."""
    for index, row in sorted(rows.items()):
        if row.get(5) == CHASSIS and "manufacturer" not in hardware.entries:
            for key, column in (("model", 13), ("manufacturer", 12), ("hardware_revision", 8)):
                if clean_value(text(row.get(column))):
                    hardware.put(key, text(row.get(column)), replace=key != "model")
        name = clean_key(text(row.get(7))) or clean_key(text(row.get(2))) or f"entity-{index[-1] if index else 0}"
        if clean_value(text(row.get(9))):
            firmware.put(name, text(row.get(9)))
        if clean_value(text(row.get(10))):
            firmware.put(f"{name}.software", text(row.get(10)))


def _software(rows: Rows, software: _Section) -> None:
    for row in rows.values():
        name = text(row.get(2))
        if name.strip():
            package, version = package_and_version(name)
            software.put(package, version)
        else:
            software.put("", "")


def package_and_version(installed: str) -> tuple[str, str]:
    """hrSWInstalledName taken apart: ``package_version_arch`` of Debian and ``name-version-release`` of RPM.

    Anything else is a package of its own whose version is ``installed``.
    """
    name = installed.strip()[:400]
    found = _DEBIAN.match(name) or _RPM.match(name)
    if found:
        return found["name"], found["version"]
    package, _, version = name.rpartition(" ")
    if package and version[:1].isdigit():
        return package, version
    return name, "installed"
