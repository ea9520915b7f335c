"""The comparison unit (claims 9 and 19): what a terminal's code says is installed, held against what is valid.

Pure: releases and entitlements come in as plain mappings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Validity = Literal["valid", "expired", "revoked"]
Authorization = Literal["authorized", "not_authorized", "ended"]


@dataclass(frozen=True)
class ReleaseValidity:
    """What the validation storage unit knows of one release."""

    status: str
    valid_until: datetime | None = None
    reason: str = ""

    def at(self, now: datetime) -> Validity:
        """Valid, expired or revoked at this instant."""
        if self.status == "revoked":
            return "revoked"
        if self.valid_until is not None and now >= self.valid_until:
            return "expired"
        return "valid"


@dataclass(frozen=True)
class Finding:
    """One installed item that the user must hear about."""

    product: str
    release: str
    state: Validity | Authorization
    reason: str


def compare(
    items: Mapping[str, str],
    releases: Mapping[tuple[str, str], ReleaseValidity],
    entitled: Collection[str],
    now: datetime,
) -> list[Finding]:
    """Findings on the catalogue items of a configuration.

    ``items``: product to installed version; ``entitled``: products that the subscriber has an agreement on. An item
    of which nothing was ever published is not ours to judge.
    """
    ours = {product for product, _ in releases}
    findings: list[Finding] = []
    for product, version in sorted(items.items()):
        if product not in ours:
            continue
        known = releases.get((product, version))
        validity = "revoked" if known is None else known.at(now)
        if validity != "valid":
            reason = "this release was never published" if known is None else known.reason
            findings.append(Finding(product, version, validity, reason))
        elif product not in entitled:
            findings.append(Finding(product, version, "not_authorized", "no agreement covers it"))
    return findings
