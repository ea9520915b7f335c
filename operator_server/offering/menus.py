"""A terminal's menu, and what it depends on beside the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from operator_server.desk import Visitor


class ActiveRejection(msgspec.Struct, frozen=True, array_like=True):
    """A rejection that holds now; ``until`` in microseconds, absent for never."""

    product: str
    offer: str
    offer_version: str
    price_digest: str
    release: str
    until: int | None


class LogonContext(msgspec.Struct, frozen=True, array_like=True, tag="context"):
    """A terminal that may be logged on, and what its menu depends on. ``proven``: its proof is checked."""

    visitor: Visitor
    rejections: tuple[ActiveRejection, ...]
    previous_code: bytes | None
    proven: bool = False


@dataclass(frozen=True, slots=True)
class Menu:
    """Offers for one terminal, in order: encoded ``OfferEntry`` maps, and what of them is recorded as shown."""

    entries: Sequence[msgspec.Raw]
    shown: str
