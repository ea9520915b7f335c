"""What is wrong in the operator's files: every fault by name, so that one run of ``tollgate check`` shows them all."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

SHOWN = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: the file, the key in it (``mode[0].amount``), the value found there as text, and why it cannot be."""

    file: str
    key: str
    value: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.key, self.value, self.reason) if part)


def shown(value: Any) -> str:
    """A value as it stands in a problem: its ``repr``, cut when long; nothing for tables and lists of tables."""
    if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
        return ""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown word: ``did you mean 'title'?``, or which words there are."""
    words = sorted(set(known))
    close = difflib.get_close_matches(word, words, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known here: {', '.join(words)}" if words else "nothing is known here"
