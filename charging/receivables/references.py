"""References of payments: reading them out of what payers and banks make of them.

A payer types ``Rechnung R 2026 000001``, a bank breaks lines and drops hyphens; a creditor reference of ISO 11649
(``RF45R2026000001``) carries check digits.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from stdnum import iso11649

_SEPARATED = r"[\s\-./_]*"
_FEWEST_DIGITS = 6
_MOST_DIGITS = 9


def plain(text: str) -> str:
    """Letters and digits of ``text``, as capitals."""
    return "".join(letter for letter in text.upper() if letter.isascii() and letter.isalnum())


def creditor_reference(number: str) -> str:
    """The ISO 11649 reference of an invoice number; ``ValueError`` for one of more than 21 letters and digits."""
    body = plain(number)
    if not 0 < len(body) <= 21:
        raise ValueError(f"{number!r}: 1 to 21 letters and digits fit into a creditor reference")
    value = int("".join(str(int(letter, 36)) for letter in f"{body}RF00"))
    return f"RF{98 - value % 97:02d}{body}"


def referred_number(reference: str) -> str | None:
    """The letters and digits in a creditor reference of ISO 11649; ``None`` where its check digits do not hold."""
    text = plain(reference)
    return text[4:] if iso11649.is_valid(text) else None


def numbers_in(text: str, series: Collection[str]) -> Iterator[str]:
    """Numbers that ``text`` may mean, plain, of the series (``R-2026``), in the order in which they stand.

    A number has six digits or more after its series. Where other digits follow at once, shorter readings come too:
    the caller knows which numbers there are.
    """
    found: list[tuple[int, int, str]] = []
    capitals = text.upper()
    for name in sorted({plain(each) for each in series} - {""}):
        pattern = rf"(?<![A-Z0-9]){_SEPARATED.join(name)}{_SEPARATED}((?:\d\s?){{{_FEWEST_DIGITS},{_MOST_DIGITS}}})"
        for match in re.finditer(pattern, capitals):
            digits = "".join(match[1].split())
            for length in range(_FEWEST_DIGITS, len(digits) + 1):
                found.append((match.start(), -length, name + digits[:length]))
    for word in re.finditer(r"RF\d\d[A-Z0-9 ]{1,25}", capitals):
        body = plain(word[0])
        readings = (referred_number(body[:length]) for length in range(len(body), 4, -1))
        found += [(word.start(), -len(each), each) for each in readings if each]
    yield from dict.fromkeys(number for _, _, number in sorted(found))
