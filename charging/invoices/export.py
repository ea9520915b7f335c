"""An invoice as data: JSON with everything, CSV with a row per line. Amounts are decimal text, never numbers."""

from __future__ import annotations

import csv
import io
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


def _amounts_as_text(value: Any, currency: str) -> Any:
    if isinstance(value, dict):
        return {
            key.removesuffix("_micros"): format_micros(item, currency)
            if key.endswith("_micros") and item is not None
            else _amounts_as_text(item, currency)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_amounts_as_text(item, currency) for item in value]
    return value
