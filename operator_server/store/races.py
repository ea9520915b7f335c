"""Transactions that another process got into the way of, on PostgreSQL; done again they find what the other one did."""

from __future__ import annotations

import random
import time
from typing import Any

from sqlalchemy.exc import DBAPIError

TRIES = 6
"""How often a transaction is done before whoever asked for it is told that it cannot be done now."""

_LOST = frozenset({"40001", "40P01", "23505"})
"""A serialization failure, a deadlock, and a row of that name which was written after it was looked for."""
_PAUSE = 0.01


class Overtaken(RuntimeError):
    """What a transaction decided on was changed by another one before it had the locks."""


def lost_race(result: Any) -> bool:
    """Whether this is an error that the same transaction, done again, may well not meet."""
    if isinstance(result, Overtaken):
        return True
    return isinstance(result, DBAPIError) and getattr(result.orig, "sqlstate", None) in _LOST


def let_others_go_on(attempt: int) -> None:
    """Wait a moment before the next try: two that try again at the same time would meet again."""
    time.sleep(random.uniform(0, _PAUSE * 2**attempt))
