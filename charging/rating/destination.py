"""Destinations: which price applies to a called number, by its longest known prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Destinations(Generic[T]):
    """What belongs to a number: that of the longest prefix it begins with. Prefixes are digits, without ``+``."""

    __slots__ = ("_lengths", "_prefixes")

    def __init__(self, prefixes: Mapping[str, T]) -> None:
        self._prefixes = dict(prefixes)
        self._lengths = sorted({len(prefix) for prefix in prefixes}, reverse=True)

    def match(self, number: str) -> tuple[str, T] | None:
        """The longest prefix of ``number`` (a leading ``+`` does not count) and what belongs to it."""
        digits = number.removeprefix("+")
        for length in self._lengths:
            prefix = digits[:length]
            if len(prefix) == length and prefix in self._prefixes:
                return prefix, self._prefixes[prefix]
        return None

    def values(self) -> list[T]:
        """What belongs to the prefixes, each value as often as it has prefixes."""
        return list(self._prefixes.values())
