"""The chart of accounts: what finance calls the ledger's kinds of account; and revenue that is not earned yet."""

from __future__ import annotations

from collections.abc import Mapping

DEFAULT_CODES = {
    "bad_debt": "2400",
    "cash": "1200",
    "deferred": "0990",
    "fees": "8609",
    "prepaid": "1718",
    "pseudo_prepaid": "1719",
    "receivable": "1400",
    "revenue": "8400",
    "roaming_cost": "3100",
    "roaming_payable": "1602",
    "roaming_receivable": "1402",
    "roaming_revenue": "8410",
    "rounding": "8999",
    "suspense": "1590",
    "tax": "1770",
    "unbilled": "1410",
}
"""Codes in the manner of the German SKR 03; an operator sets those of its own chart."""

OTHER = "9999"
"""The code of a kind that nobody named."""


def code_of(kind: str, own: Mapping[str, str]) -> str:
    """The code of a kind of ledger account; ``tax:S`` takes its own code, else that of ``tax``."""
    family = kind.partition(":")[0]
    for codes, name in ((own, kind), (own, family), (DEFAULT_CODES, kind), (DEFAULT_CODES, family)):
        if name in codes:
            return codes[name]
    return OTHER


def deferred(net: int, service_from: int, service_to: int, at: int) -> int:
    """The part of ``net`` micros that is for the time after ``at``; instants in microseconds, ``service_to`` exclusive.

    Rounded toward zero, so that what a charge and its reversal defer is nothing together.
    """
    if service_to <= service_from or at >= service_to:
        return 0
    part = abs(net) * (service_to - max(service_from, at)) // (service_to - service_from)
    return part if net >= 0 else -part
