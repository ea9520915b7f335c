"""The reject filter on the output of the offer memory (claims 3 and 17), as rules over plain records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from offers.index import Current
from offers.versions import compare


@dataclass(frozen=True, slots=True)
class RejectionRecord:
    """A reject signal as stored: of which offer, at which price and release, and when it ends (``None``: never)."""

    product: str
    offer: str
    offer_version: str
    price_digest: str
    release: str
    until: datetime | None
    rejected_at: datetime
    undone: bool = False


def stands(record: RejectionRecord, current: Mapping[str, Current], now: datetime) -> bool:
    """Whether a rejection still hides its product.

    It ends at its time or when support undoes it. A newer release or other prices of the offer that was rejected open
    it only if that offer, as it is now, says so; another offer of the product does not.
    """
    if record.undone or (record.until is not None and now >= record.until):
        return False
    now_offered = current.get(record.offer)
    if now_offered is None:
        return True
    policy = now_offered.offer.rejection
    if policy.on_new_price and now_offered.offer.price_at(now) != record.price_digest:
        return False
    if policy.on_new_release and now_offered.release is not None:
        return (compare(now_offered.release, record.release) or 0) <= 0
    return True


def hidden_products(
    records: Iterable[RejectionRecord], current: Mapping[str, Current], now: datetime
) -> frozenset[str]:
    """The products that are hidden from the subscriber whose records these are.

    ``current``: :attr:`offers.memory.OfferMemory.current`.
    """
    return frozenset(record.product for record in records if stands(record, current, now))
