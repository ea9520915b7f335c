"""What an invoice says, and where two of them differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from operator_server.demo.reckoning import ReckoningError
from signalling.money import decimal_micros, format_micros


class LineKey(NamedTuple):
    """Which line of an invoice: ``kind`` is delivery, use or reversal; ``month`` that of the use or delivery."""

    agreement: str
    kind: str
    month: str


@dataclass(frozen=True)
class Line:
    """A line's units, those of them that are included, and its rounded net in micros."""

    quantity: int
    included: int
    net: int


@dataclass(frozen=True)
class Bill:
    """What an invoice says: its lines and its sums, in micros."""

    lines: Mapping[LineKey, Line]
    net: int
    tax: int
    total: int


class BillKey(NamedTuple):
    """Which invoice: that of an account, from the run over a period, in a currency."""

    account: str
    period: str
    currency: str


def read_invoice(account: str, period: str, data: Mapping[str, Any]) -> tuple[BillKey, Bill]:
    """An invoice as its JSON export has it."""
    found: dict[LineKey, Line] = {}
    for line in data["lines"]:
        counted = bool(line["unit"])
        net = decimal_micros(line["net"])
        kind = "use" if counted else "reversal" if line["quantity"] < 0 or net < 0 else "delivery"
        key = LineKey(line["agreement_id"], kind, line["period_from"][:7])
        if key in found:
            raise ReckoningError(f"invoice {data['number']}: two lines for {key}")
        found[key] = Line(line["quantity"], line["included"], net)
    sums = data["totals"]
    amounts = (decimal_micros(sums[name]) for name in ("net", "tax", "gross"))
    return BillKey(account, period, data["currency"]), Bill(found, *amounts)


def differences(expected: Mapping[BillKey, Bill], found: Mapping[BillKey, Bill]) -> list[str]:
    """In words, every point in which invoices are not what they must be."""
    texts: list[str] = []
    for key in sorted({*expected, *found}):
        where = f"{key.account} {key.period} {key.currency}"
        must, does = expected.get(key), found.get(key)
        if must is None or does is None:
            texts.append(f"{where}: {'there must be no invoice' if must is None else 'the invoice is missing'}")
            continue
        texts += _line_differences(where, key.currency, must, does)
        for name in ("net", "tax", "total"):
            wanted, is_ = getattr(must, name), getattr(does, name)
            if wanted != is_:
                texts.append(
                    f"{where}: {name} is {format_micros(is_, key.currency)}, must be"
                    f" {format_micros(wanted, key.currency)}"
                )
    return texts


def _line_differences(where: str, currency: str, must: Bill, does: Bill) -> list[str]:
    texts = []
    for line in sorted({*must.lines, *does.lines}):
        wanted, is_ = must.lines.get(line), does.lines.get(line)
        if wanted != is_:
            texts.append(
                f"{where}: agreement {line.agreement}, {line.kind} of {line.month}:"
                f" is {_words(is_, currency)}, must be {_words(wanted, currency)}"
            )
    return texts


def _words(line: Line | None, currency: str) -> str:
    if line is None:
        return "not there"
    return f"{line.quantity} ({line.included} included) at {format_micros(line.net, currency)}"
