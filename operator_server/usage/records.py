"""A usage record: what another system counted, and how it is read from what that system wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from signalling.clock import to_micros

FIELDS = ("source", "id", "subscriber", "tariff", "quantity", "at", "destination")
REJECTED_LINE, REJECTED_REASON, REJECTED_TEXT = "rejectedline", "rejectedreason", "rejectedtext"
"""What a rejects file adds to a record; an import does not look at it."""

MAX_QUANTITY = 10**15
_WHOLE = re.compile(r"[0-9]{1,16}\Z")
_NUMBER = re.compile(r"\+?[0-9]{1,32}\Z")
_LONGEST = 255
_encode = msgspec.msgpack.Encoder().encode


class BadRecord(ValueError):
    """A record that is refused; the text says which field, which value and why."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """``quantity`` units of what ``tariff`` counts, used by ``subscriber`` at ``at`` (aware UTC; ``micros``).

    ``(source, id)`` names it once and for all. ``destination``: a called number, or empty. ``digest``: SHA-256 of the
    content; the same record in another form has the same. ``operation``: the ledger's name of the use.
    """

    source: str
    id: str
    subscriber: str
    tariff: str
    quantity: int
    micros: int
    destination: str
    digest: bytes
    operation: str
    at: datetime


def read_record(fields: Mapping[str, Any], default_source: str = "") -> Record:
    """The record in the fields of a CSV row, a Parquet row, a JSON object or a CloudEvent. Raises :class:`BadRecord`.

    ``account`` may stand for ``subscriber``: an account's id is that of its first subscriber.
    """
    if "specversion" in fields:
        fields = _cloud_event(fields)
    content = (
        source := _text(fields, "source", default_source),
        id := _text(fields, "id"),
        _text(fields, "subscriber" if fields.get("subscriber") not in (None, "") else "account"),
        _text(fields, "tariff"),
        _quantity(fields.get("quantity")),
        micros := to_micros(at := _instant(fields.get("at"))),
        _destination(fields.get("destination")),
    )
    return Record(*content, sha256(_encode(content)).digest(), _operation(source, id, micros), at)


def _operation(source: str, id: str, micros: int) -> str:
    """It begins with the time, so that those of one day lie together."""
    named = sha256(f"{source}\n{id}".encode()).hexdigest()
    return f"{max(0, micros):016x}{named[:40]}"


def _cloud_event(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Source, id, time and subject of a CloudEvent (1.0), and what its data say."""
    if event["specversion"] != "1.0":
        raise BadRecord(f"specversion {event['specversion']!r}: only CloudEvents 1.0 are read")
    data = event.get("data")
    if not isinstance(data, dict):
        raise BadRecord("data: a JSON object with tariff and quantity is needed")
    given = {"at": event.get("time"), "subscriber": event.get("subject"), **data}
    return {**given, "source": event.get("source"), "id": event.get("id")}


def _text(fields: Mapping[str, Any], name: str, default: str = "") -> str:
    value = fields.get(name)
    if type(value) is str and 0 < len(value) <= _LONGEST and value.isprintable():
        return value
    if value in (None, ""):
        if not default:
            raise BadRecord(f"{'subscriber' if name == 'account' else name}: missing")
        return default
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRecord(f"{name}: {value!r} is no text")
    text = str(value)
    if len(text) > _LONGEST or not text.isprintable():
        raise BadRecord(f"{name}: {text[:40]!r} is longer than {_LONGEST} characters or holds what cannot be printed")
    return text


def _quantity(value: Any) -> int:
    if type(value) is int and 0 <= value <= MAX_QUANTITY:
        return value
    if isinstance(value, str) and _WHOLE.match(value):
        value = int(value)
    if value in (None, ""):
        raise BadRecord("quantity: missing")
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadRecord(f"quantity: {value!r} is not a whole number of units, 0 or more")
    if value > MAX_QUANTITY:
        raise BadRecord(f"quantity: {value} is more than {MAX_QUANTITY}")
    return value


def _instant(value: Any) -> datetime:
    if isinstance(value, str) and value:
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise BadRecord(f"at: {value!r} is no time such as 2026-10-05T09:30:00Z") from None
    if not isinstance(value, datetime):
        raise BadRecord("at: missing" if value in (None, "") else f"at: {value!r} is no time")
    if value.tzinfo is None:
        raise BadRecord(f"at: {value.isoformat()} needs its distance from UTC, such as Z or +02:00")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise BadRecord(f"at: {value.isoformat()} is out of range") from None


def _destination(value: Any) -> str:
    if value in (None, ""):
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not _NUMBER.match(value):
        raise BadRecord(f"destination: {value!r} is no number; digits with or without '+' are")
    return value
