"""The database of tones: what can be bought, found by letter, by kind and by age."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from operator_server.store.feed import record
from operator_server.store.rows import add, table
from operator_server.store.tones import ToneRow
from signalling.card.dialogue import Grouping
from signalling.tones import Tone, ToneError, format_rtttl, parse_rtttl

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,47}\Z", re.ASCII)
OTHER = "0-9"


class ToneUnknown(LookupError):
    """There is no such tone; the text says what to do."""


def tone_id(title: str) -> str:
    """The product of a tone that names none: its title in what identifiers may hold."""
    return "tone-" + (re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "untitled")


def import_tone(
    connection: Connection, text: str, now: datetime, *, product: str = "", kinds: Collection[str] = ()
) -> str:
    """Keep a tone, or another tune or kinds for one that is known; its product. Raises :class:`ToneError`."""
    tone = parse_rtttl(text)
    product = product or tone_id(tone.title)
    if not _ID.match(product):
        raise ToneError(f"product {product!r}: 1 to 48 of a-z 0-9 . _ - are needed, the first a letter or digit")
    names = sorted({kind.strip().lower() for kind in kinds if kind.strip()})
    if any(len(name) > 30 for name in names):
        raise ToneError("a kind has at most 30 characters")
    tones = table(ToneRow)
    values: dict[str, Any] = {"title": tone.title, "kinds": names, "rtttl": format_rtttl(tone)}
    if not connection.execute(update(tones).where(tones.c.id == product).values(**values)).rowcount:
        add(connection, ToneRow(id=product, added_at=now, **values))
        record(connection, now, "tone_added", product=product)
    return product


def find_tone(connection: Connection, product: str) -> Any:
    """The tone's row; ``None`` where there is none."""
    tones = table(ToneRow)
    return connection.execute(select(tones).where(tones.c.id == product)).first()


def require_tone(connection: Connection, product: str) -> Any:
    """The tone's row. Raises :class:`ToneUnknown`."""
    row = find_tone(connection, product)
    if row is None:
        raise ToneUnknown(f"tone {product} is not known; `tollgate tone list` shows those that are")
    return row


def tune_of(row: Any) -> Tone:
    """The tone itself."""
    return parse_rtttl(row.rtttl)


def all_tones(connection: Connection, products: Collection[str] | None = None) -> list[Any]:
    """The tones, those of these products alone, by title."""
    tones = table(ToneRow)
    rows = connection.execute(select(tones)).all()
    kept = rows if products is None else [row for row in rows if row.id in products]
    return sorted(kept, key=lambda row: (row.title.lower(), row.id))


def letter_of(title: str) -> str:
    """What a title stands under: its first letter, or :data:`OTHER`."""
    first = title[:1].upper()
    return first if first.isalpha() else OTHER


def groups(rows: Iterable[Any], by: Grouping) -> list[str]:
    """The letters or kinds that there are tones of."""
    if by == "letter":
        return sorted({letter_of(row.title) for row in rows})
    return sorted({kind for row in rows for kind in row.kinds})


def narrowed(rows: Sequence[Any], by: Grouping, key: str) -> list[Any]:
    """The tones of a letter or a kind by title; or all, the newest first."""
    if by == "letter":
        return [row for row in rows if letter_of(row.title) == key]
    if by == "kind":
        return [row for row in rows if key in row.kinds]
    return sorted(rows, key=lambda row: row.added_at, reverse=True)
