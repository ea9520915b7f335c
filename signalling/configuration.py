"""The configuration code: a content address of a terminal's hardware and software (claims 1 and 21).

A configuration is four *sections*, each a map from a key to a value, both text. The code is a digest over the digests
of the sections, so a server that knows a section's digest needs nothing more. Equal configurations give equal codes;
serial numbers, host names, dates and free space are kept out, and amounts of memory are quantised, so that terminals
of one kind share one code. A code is a claim of the terminal, not an attestation.

Canonical form of a section (what is digested and what travels)::

    "TGS1"  then, for each entry in ascending order of the key's UTF-8 bytes:
    u32 length of key | key | u32 length of value | value          (lengths big-endian)

    section digest     = SHA-256( u32 length of section name | section name | canonical form )
    configuration code = SHA-256( "TGC1" | for the sections in the order of SECTIONS:
                                  u32 length of section name | section name | section digest )
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

SectionName = Literal["hardware", "firmware", "base_software", "catalogue_items"]
SECTIONS: tuple[SectionName, ...] = get_args(SectionName)

MAX_SECTION_BYTES = 4 * 1024 * 1024
MAX_ENTRIES = 50_000
MAX_KEY_BYTES = 128
MAX_VALUE_BYTES = 256

_MAGIC = b"TGS1"
_CODE_MAGIC = b"TGC1"
_U32 = struct.Struct(">I")
_KEY = re.compile(r"[a-z0-9][A-Za-z0-9_.+:/~@-]*\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PERSONAL = frozenset(
    {
        "serial",
        "serial_number",
        "imei",
        "imsi",
        "iccid",
        "mac",
        "mac_address",
        "host_name",
        "hostname",
        "date",
        "time",
    }
)


class ConfigurationError(ValueError):
    """A section that is not in canonical form; the text names the entry and the rule."""


class Configuration(msgspec.Struct, frozen=True):
    """What a terminal is made of. Each section maps a key to a value.

    ``hardware``: facts such as ``model``, ``manufacturer``, ``architecture``, ``memory_mib``, ``display``.
    ``firmware``: component to version. ``base_software``: package to version, not installed by us.
    ``catalogue_items``: product to version, installed by us.
    """

    hardware: dict[str, str] = {}
    firmware: dict[str, str] = {}
    base_software: dict[str, str] = {}
    catalogue_items: dict[str, str] = {}

    def section(self, name: SectionName) -> dict[str, str]:
        """The entries of one section."""
        entries: dict[str, str] = getattr(self, name)
        return entries

    def canonical(self) -> dict[SectionName, bytes]:
        """The canonical form of each section. Raises :class:`ConfigurationError`."""
        return {name: encode_section(name, self.section(name)) for name in SECTIONS}

    def digests(self) -> dict[SectionName, bytes]:
        """The digest of each section, 32 bytes."""
        return {name: section_digest(name, data) for name, data in self.canonical().items()}

    def code(self) -> bytes:
        """The configuration code, 32 bytes."""
        return configuration_code(self.digests())


def quantised_mib(mib: int) -> int:
    """The nearest of 1, 2, 3, 4, 6, 8, 12, 16, ... (2**n and 3 * 2**n); halfway goes up.

    Two devices sold as 8 GiB report different totals; quantised they have the same configuration.
    """
    if mib <= 1:
        return max(mib, 0)
    power = 1 << (mib.bit_length() - 1)
    candidates = (power, power * 3 // 2 if power > 1 else 2, power * 2)
    return min(candidates, key=lambda candidate: (abs(candidate - mib), -candidate))


def _check_entry(section: SectionName, key: str, value: str) -> None:
    if not _KEY.match(key) or len(key) > MAX_KEY_BYTES:
        raise ConfigurationError(
            f"{section}: key {key[:60]!r} is not 1 to {MAX_KEY_BYTES} of "
            "a-z A-Z 0-9 _ . + : / ~ @ - starting in a-z 0-9"
        )
    if len(value) > MAX_VALUE_BYTES or len(value.encode("utf-8", "surrogatepass")) > MAX_VALUE_BYTES:
        raise ConfigurationError(f"{section}: the value of {key!r} is longer than {MAX_VALUE_BYTES} bytes")
    if _CONTROL.search(value):
        raise ConfigurationError(f"{section}: the value of {key!r} holds a control character")
    if section == "hardware":
        if key in _PERSONAL or key.startswith("free_"):
            raise ConfigurationError(f"hardware: {key!r} names one device, not a kind of device; leave it out")
        if key.endswith("_mib"):
            if not value.isascii() or not value.isdigit() or str(int(value)) != value:
                raise ConfigurationError(f"hardware: {key!r} must be a whole number of MiB, not {value!r}")
            if quantised_mib(int(value)) != int(value):
                raise ConfigurationError(
                    f"hardware: {key!r} must be quantised: {quantised_mib(int(value))} in place of {value}"
                )


def encode_section(name: SectionName, entries: Mapping[str, str]) -> bytes:
    """The canonical form of one section. Raises :class:`ConfigurationError` for entries that have none."""
    if len(entries) > MAX_ENTRIES:
        raise ConfigurationError(f"{name}: {len(entries)} entries, at most {MAX_ENTRIES}")
    parts = [_MAGIC]
    pack = _U32.pack
    for key in sorted(entries):
        value = entries[key]
        _check_entry(name, key, value)
        raw = value.encode()
        parts += (pack(len(key)), key.encode("ascii"), pack(len(raw)), raw)
    data = b"".join(parts)
    if len(data) > MAX_SECTION_BYTES:
        raise ConfigurationError(f"{name}: {len(data)} bytes, at most {MAX_SECTION_BYTES}")
    return data


def decode_section(name: SectionName, data: bytes) -> dict[str, str]:
    """The entries of a canonical form, checked whole. Raises :class:`ConfigurationError`."""
    if len(data) > MAX_SECTION_BYTES:
        raise ConfigurationError(f"{name}: {len(data)} bytes, at most {MAX_SECTION_BYTES}")
    if not data.startswith(_MAGIC):
        raise ConfigurationError(f"{name}: does not start with {_MAGIC.decode()}")
    entries: dict[str, str] = {}
    offset, end, last = len(_MAGIC), len(data), ""
    while offset < end:
        key, offset = _read_text(name, data, offset, MAX_KEY_BYTES)
        value, offset = _read_text(name, data, offset, MAX_VALUE_BYTES)
        if key <= last and entries:
            raise ConfigurationError(f"{name}: key {key!r} after {last!r}; keys ascend and none comes twice")
        _check_entry(name, key, value)
        if len(entries) >= MAX_ENTRIES:
            raise ConfigurationError(f"{name}: more than {MAX_ENTRIES} entries")
        entries[key] = value
        last = key
    return entries


def _read_text(name: str, data: bytes, offset: int, limit: int) -> tuple[str, int]:
    if offset + 4 > len(data):
        raise ConfigurationError(f"{name}: ends within a length at byte {offset}")
    length = _U32.unpack_from(data, offset)[0]
    offset += 4
    if length > limit or offset + length > len(data):
        raise ConfigurationError(f"{name}: a text of {length} bytes at byte {offset} does not fit")
    try:
        return data[offset : offset + length].decode(), offset + length
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name}: the text at byte {offset} is not UTF-8") from None


def _prefixed(name: str) -> bytes:
    raw = name.encode("ascii")
    return _U32.pack(len(raw)) + raw


_NAME_PREFIX: dict[SectionName, bytes] = {name: _prefixed(name) for name in SECTIONS}


def section_digest(name: SectionName, canonical: bytes) -> bytes:
    """SHA-256 over the section's name and canonical form."""
    return hashlib.sha256(_NAME_PREFIX[name] + canonical).digest()


def configuration_code(digests: Mapping[SectionName, bytes]) -> bytes:
    """The code over the four section digests.

    Raises :class:`ConfigurationError` when one is missing or not 32 bytes.
    """
    parts = [_CODE_MAGIC]
    for name in SECTIONS:
        digest = digests.get(name)
        if digest is None or len(digest) != 32:
            raise ConfigurationError(f"the digest of section {name!r} is missing or not 32 bytes")
        parts += (_NAME_PREFIX[name], digest)
    return hashlib.sha256(b"".join(parts)).digest()
