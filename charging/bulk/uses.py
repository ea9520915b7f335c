"""What is known of uses before they are rated by columns, the query that rates them, and why there may be none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

LEFT = ("cost", "due", "billed", "units", "exact", "line", "settled")
"""What a use leaves: its cost; what is due for it before amount off and cap; units billed, and chargeable ones; their
exact cost; the line's exact cost; and micros due of the session, or of the line where rounding is by line."""


class BulkError(ValueError):
    """A file that cannot be rated; the text says what is wrong with it."""


class NotByColumns(BulkError):
    """A tariff, or a file's figures, that only the path record by record can rate; the text says why."""


@dataclass(frozen=True, slots=True)
class Uses:
    """What is known of the uses before they are rated: how many, the largest, and from when to when (aware UTC)."""

    count: int
    largest: int
    first: datetime | None
    last: datetime | None
    least: int = 0
    """The smallest quantity."""
    plus: bool = True
    """Whether destinations usually begin with ``+``."""
    carried: tuple[int, int, int] | None = None
    """Where uses go on from a state: the largest of what their accounts have used, owe and have on the line."""


@dataclass(frozen=True, slots=True)
class RatingQuery:
    """``setup`` makes the tables that ``costs`` joins. ``costs``: row, account and cost (micros) of each use.

    The cost is null where the tariff has no price for the destination, which ``lacking`` says can be. ``{source}``
    stands for the uses' table. Where uses go on from a state, ``costs`` has :data:`LEFT` instead of the account, and
    the table also ``used_before``, ``due_before`` and ``line_before`` if ``counts`` says so.
    """

    setup: Sequence[str]
    costs: str
    lacking: bool
    counts: bool
