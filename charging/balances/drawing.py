"""Taking units from buckets: which first, and how many from each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as one user may draw on it: its own, or through ``share``. ``free``: units that can be taken.

    ``share_free``: units that the share still allows; ``None`` is no limit.
    """

    id: str
    free: int
    priority: int
    valid_from: datetime
    valid_until: datetime | None
    created_at: datetime
    share: str | None = None
    share_free: int | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """Units to take from a bucket."""

    bucket: str
    share: str | None
    amount: int


def order(bucket: Bucket) -> tuple[int, bool, datetime, datetime, bool, str, str]:
    """First the smallest explicit priority, then what expires first, then the oldest; one's own before a share."""
    never = bucket.valid_until is None
    return (
        bucket.priority,
        never,
        bucket.valid_until or bucket.created_at,
        bucket.created_at,
        bucket.share is not None,
        bucket.id,
        bucket.share or "",
    )


def draw(buckets: Iterable[Bucket], quantity: int, at: datetime) -> tuple[list[Drawn], int]:
    """What to take from which bucket for ``quantity`` units used at ``at``, and the units that no bucket covers."""
    left = quantity
    taken: dict[str, int] = {}
    drawn = []
    for bucket in sorted(buckets, key=order):
        if not left:
            break
        if at < bucket.valid_from or (bucket.valid_until is not None and at >= bucket.valid_until):
            continue
        free = bucket.free - taken.get(bucket.id, 0)
        if bucket.share_free is not None:
            free = min(free, bucket.share_free)
        amount = min(left, free)
        if amount > 0:
            drawn.append(Drawn(bucket.id, bucket.share, amount))
            taken[bucket.id] = taken.get(bucket.id, 0) + amount
            left -= amount
    return drawn, left
