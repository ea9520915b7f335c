"""The objects that are read, by the names of their MIBs."""

from __future__ import annotations

Oid = tuple[int, ...]

SYSTEM = (1, 3, 6, 1, 2, 1, 1)
SYS_DESCR = (*SYSTEM, 1, 0)
SYS_OBJECT_ID = (*SYSTEM, 2, 0)

HOST = (1, 3, 6, 1, 2, 1, 25)
HR_SYSTEM_UPTIME = (*HOST, 1, 1, 0)
HR_MEMORY_SIZE = (*HOST, 2, 2, 0)
HR_DEVICE_ENTRY = (*HOST, 3, 2, 1)
HR_SW_INSTALLED_ENTRY = (*HOST, 6, 3, 1)
HR_DEVICE_TYPES = (*HOST, 3, 1)

ENT_PHYSICAL_ENTRY = (1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1)

IF_ENTRY = (1, 3, 6, 1, 2, 1, 2, 2, 1)
IF_SPEED = (*IF_ENTRY, 5)
IF_X_ENTRY = (1, 3, 6, 1, 2, 1, 31, 1, 1, 1)
IF_HIGH_SPEED = (*IF_X_ENTRY, 15)
IF_COUNTER_DISCONTINUITY_TIME = (*IF_X_ENTRY, 19)

COUNTERS: dict[str, tuple[Oid, int]] = {
    "ifHCInOctets": ((*IF_X_ENTRY, 6), 64),
    "ifHCOutOctets": ((*IF_X_ENTRY, 10), 64),
    "ifInOctets": ((*IF_ENTRY, 10), 32),
    "ifOutOctets": ((*IF_ENTRY, 16), 32),
}
"""Columns of IF-MIB (RFC 2863) that count octets, with their width in bits."""

# TOLLGATE-MIB, docs/mib/TOLLGATE-MIB.txt. 32473 is the enterprise number for examples (RFC 5612).
TOLLGATE = (1, 3, 6, 1, 4, 1, 32473, 7707)
TG_CONFIGURATION_CODE = (*TOLLGATE, 1, 1, 1, 0)
TG_MODEL = (*TOLLGATE, 1, 1, 2, 0)
TG_LAST_CHANGE = (*TOLLGATE, 1, 1, 3, 0)
TG_ITEM_ENTRY = (*TOLLGATE, 1, 2, 1, 1)

SNMP_TRAP_OID = (1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0)
COLD_START = (1, 3, 6, 1, 6, 3, 1, 1, 5, 1)
WARM_START = (1, 3, 6, 1, 6, 3, 1, 1, 5, 2)
LINK_UP = (1, 3, 6, 1, 6, 3, 1, 1, 5, 4)
"""RFC 3418 and 2863: what a device says when it has begun to run, or an interface has."""


def parse_oid(text: str) -> Oid:
    """The object identifier in dotted form. Raises ``ValueError``."""
    parts = text.strip().lstrip(".").split(".")
    if len(parts) < 3 or len(parts) > 128 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"{text!r} is not an object identifier such as 1.3.6.1.2.1.31.1.1.1.6.2")
    oid = tuple(map(int, parts))
    if oid[0] > 2 or oid[1] > 39 or max(oid) >= 2**32:
        raise ValueError(f"{text!r} is not an object identifier: a number in it is too large")
    return oid


def oid_text(oid: Oid) -> str:
    """The dotted form."""
    return ".".join(map(str, oid))
