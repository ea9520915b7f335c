"""An invoice as data: JSON with everything, CSV with a row per line; its charges as CSV or lines of JSON.

Amounts are decimal text, never numbers.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from signalling.money import format_micros

from .model import Invoice

_CSV_COLUMNS = (
    "invoice",
    "line_id",
    "offer",
    "description",
    "charging_mode",
    "agreement_id",
    "period_from",
    "period_to",
    "counter_name",
    "counter_from",
    "counter_to",
    "quantity",
    "included",
    "unit",
    "unit_price",
    "net_exact",
    "net",
    "currency",
    "tax_category",
    "tax_rate_bp",
    "tax_reason",
    "gross",
    "kind",
    "subscriber",
    "charge_ids",
)


class ChargeDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A charge of an invoice, with what it can be traced by.

    ``net_micros`` is exact. ``report_id``: the counter report that shows ``counter_to``, signed by the terminal and
    kept as received; ``agreement_id``: what both parties signed; ``tariff_version``: by what it was rated;
    ``transfer_id``: its transfer in the ledger; ``reverses_id``: the charge that it takes back.
    """

    invoice: str
    line_id: str
    charge_id: str
    kind: str
    offer: str
    subscriber: str
    agreement_id: str
    installation: str
    counter: str
    epoch: int | None
    counter_from: int | None
    counter_to: int | None
    quantity: int
    included: int
    unit: str
    effective_at: datetime
    recorded_at: datetime
    service_from: datetime | None
    service_to: datetime | None
    net_micros: int
    currency: str
    tax_category: str
    tax_rate_bp: int
    tariff_version: str
    transfer_id: str
    reverses_id: str
    report_id: str


def details_to_json(details: Iterable[ChargeDetail]) -> Iterator[bytes]:
    """A line of JSON for each charge."""
    for detail in details:
        yield msgspec.json.encode(_amounts_as_text(msgspec.to_builtins(detail), detail.currency)) + b"\n"


def details_to_csv(details: Iterable[ChargeDetail]) -> Iterator[bytes]:
    """A header and a row for each charge, RFC 4180."""
    out = io.StringIO(newline="")
    columns = [name.removesuffix("_micros") for name in ChargeDetail.__struct_fields__]
    writer = csv.DictWriter(out, columns)
    writer.writeheader()
    for detail in details:
        writer.writerow(_amounts_as_text(msgspec.to_builtins(detail), detail.currency))
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()
    yield out.getvalue().encode()


def to_data(invoice: Invoice) -> dict[str, Any]:
    """The invoice as plain values: dates in ISO 8601, every ``..._micros`` as decimal text in major units.

    A line carries its invoiced amount as ``net`` and the ledger's as ``net_exact``.
    """
    data: dict[str, Any] = _amounts_as_text(msgspec.to_builtins(invoice), invoice.currency)
    nets = data["totals"].pop("lines")
    for line, net in zip(data["lines"], nets, strict=True):
        line["net_exact"] = net["exact"]
        line["net"] = net["net"]
    return data


def to_json(invoice: Invoice) -> bytes:
    """:func:`to_data` as indented UTF-8 JSON."""
    return msgspec.json.format(msgspec.json.encode(to_data(invoice)), indent=2)


def to_csv(invoice: Invoice) -> str:
    """A header and one row per line, RFC 4180. ``charge_ids`` are separated by spaces."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, _CSV_COLUMNS, extrasaction="raise")
    writer.writeheader()
    for line in to_data(invoice)["lines"]:
        line["charge_ids"] = " ".join(line["charge_ids"])
        writer.writerow({"invoice": invoice.number, "currency": invoice.currency, **line})
    return out.getvalue()


def _amounts_as_text(data: dict[str, Any], currency: str) -> dict[str, Any]:
    names, amounts = _named(tuple(data))
    text: dict[str, Any] = dict(zip(names, data.values(), strict=True))
    for name in amounts:
        if text[name] is not None:
            text[name] = format_micros(text[name], currency)
    for name, item in text.items():
        kind = type(item)
        if kind is dict:
            text[name] = _amounts_as_text(item, currency)
        elif (kind is list or kind is tuple) and item and type(item[0]) is dict and not _is_plain(item[0]):
            text[name] = [_amounts_as_text(each, currency) for each in item]
        elif kind is tuple:
            text[name] = list(item)
    return text


def _is_plain(data: dict[str, Any]) -> bool:
    """Whether this and all like it hold neither amounts nor parts."""
    return not any(
        name.endswith("_micros") or value is None or isinstance(value, dict | list | tuple)
        for name, value in data.items()
    )


@lru_cache(maxsize=64)
def _named(keys: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names without ``_micros``, and those of amounts."""
    amounts = tuple(key.removesuffix("_micros") for key in keys if key.endswith("_micros"))
    return tuple(key.removesuffix("_micros") for key in keys), amounts
