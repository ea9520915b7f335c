"""What each invoice must say, from the terminals' own journals and the operator's TOML files alone.

A second opinion: nothing here comes from ``charging`` or from code that uses it. The rules as the agreement puts them:

1. A delivery that was granted costs the price of its mode in the catalogue; a failure that was acknowledged as
   reversed takes the same amount back.
2. A counter report charges, epoch by epoch, what its value exceeds all values reported before. Samples at cut-over
   instants split that into months: what a sample counts was used before its instant; the rest by the report's.
3. The use of an agreement in a month costs what its tariff asks for the month's units together; a later part of the
   month costs the difference.
4. What is acknowledged after a bill run goes onto the next invoice, under the month in which it was used.
5. Each line is rounded to the minor unit, half away from zero; tax is computed once for each category and rate on the
   sum of its rounded lines. Who is outside the EU, or owes the tax himself in another country of it, pays none.
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from signalling.clock import from_micros
from signalling.documents import CounterReport, decode_document
from signalling.money import decimal_micros, format_micros, minor_unit
from terminal_sim import journal as lines
from terminal_sim.journal import AnyEntry

_PERCENT = 100
_TAKEN = ("accepted", "gap", "reset")


class ReckoningError(ValueError):
    """Something the calculator does not know how to reckon; the text says what and where."""


class Run(NamedTuple):
    """A bill run: its month, the instant up to which it bills, and when it ran (microseconds)."""

    period: str
    until: int
    at: int


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


@dataclass(frozen=True)
class Tariff:
    """A version of a per-use tariff, as its file writes it. Amounts are micros."""

    tax_category: str
    included: int
    tiers: tuple[tuple[int, int | None, Fraction], ...]
    place: str
    mode: str
    step: int
    cap: int | None

    def cost(self, units: int) -> int:
        """Micros that ``units`` of one month cost together."""
        chargeable = max(0, units - self.included)
        exact = sum(
            (price * (min(chargeable, chargeable if end is None else end) - start))
            for start, end, price in self.tiers
            if chargeable > start
        )
        due = _round(Fraction(exact), 1 if self.place == "line" else self.step, self.mode)
        return due if self.cap is None else min(due, self.cap)


@dataclass
class _Item:
    """One charge before it is put on a line."""

    account: str
    at: int
    known: int
    line: LineKey
    quantity: int
    included: int
    net: int
    category: str
    currency: str


@dataclass
class Prices:
    """The operator's files as far as money is concerned."""

    zone: ZoneInfo
    rates: Mapping[str, int]
    modes: Mapping[tuple[str, str], Mapping[str, Any]]
    tariffs: Mapping[str, Mapping[str, Any]]
    _read: dict[tuple[str, date], Tariff] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Prices:
        """Read ``operator.toml``, ``offers`` and ``tariffs``."""
        operator = tomllib.loads((folder / "operator.toml").read_text())["operator"]
        offers = [
            offer
            for path in sorted((folder / "offers").glob("*.toml"))
            for offer in tomllib.loads(path.read_text())["offer"]
        ]
        tariffs = [tomllib.loads(path.read_text()) for path in sorted((folder / "tariffs").glob("*.toml"))]
        return cls(
            ZoneInfo(operator["time_zone"]),
            {category: int(Decimal(rate) * _PERCENT) for category, rate in operator["tax_rates"].items()},
            {(offer["id"], mode["id"]): mode for offer in offers for mode in offer["mode"]},
            {tariff["id"]: tariff for tariff in tariffs},
        )

    def mode(self, confirmed: lines.Confirmed) -> Mapping[str, Any]:
        """The mode that was agreed, as the catalogue writes it. Raises :class:`ReckoningError`."""
        try:
            return self.modes[confirmed.offer, confirmed.terms.mode]
        except KeyError:
            raise ReckoningError(f"offer {confirmed.offer}: mode {confirmed.terms.mode} is in no file") from None

    def tariff(self, confirmed: lines.Confirmed) -> Tariff:
        """The tariff version that held when an agreement was made. Raises :class:`ReckoningError`."""
        name = self.mode(confirmed)["tariff"]
        day = from_micros(confirmed.at).astimezone(self.zone).date()
        if (name, day) not in self._read:
            versions = [each for each in self.tariffs[name]["version"] if each["effective_from"] <= day]
            if not versions:
                raise ReckoningError(f"tariff {name}: no version holds on {day}")
            self._read[name, day] = _tariff(name, max(versions, key=lambda each: each["effective_from"]))
        return self._read[name, day]

    def month(self, instant: int) -> str:
        """The month of an instant, in the operator's zone."""
        return from_micros(instant).astimezone(self.zone).strftime("%Y-%m")


_KNOWN_KEYS = {
    "effective_from", "currency", "tax_category", "unit", "zone", "rounding", "included", "included_per", "grant_units",
    "spending_cap", "price",
}  # fmt: skip


def _tariff(name: str, version: Mapping[str, Any]) -> Tariff:
    price = version["price"]
    unknown = sorted(set(version) - _KNOWN_KEYS) + sorted(set(price) - {"model", "amount", "unit_size", "tiers"})
    if unknown or version.get("included_per", "month") != "month":
        raise ReckoningError(
            f"tariff {name}: {', '.join(unknown) or 'included_per'}: the calculator does not know this"
        )
    size = price.get("unit_size", 1)
    tiers: tuple[tuple[int, int | None, Fraction], ...]
    if price["model"] == "per_unit":
        tiers = ((0, None, Fraction(decimal_micros(price["amount"]), size)),)
    elif price["model"] == "graduated":
        tiers = tuple(
            (tier["from"], tier.get("to"), Fraction(decimal_micros(tier["amount"]), size)) for tier in price["tiers"]
        )
    else:
        raise ReckoningError(f"tariff {name}: model {price['model']}: the calculator does not know this")
    rounding = version["rounding"]
    step = minor_unit(version["currency"]) if rounding["to"] == "minor" else rounding["to"]
    cap = version.get("spending_cap")
    return Tariff(
        version["tax_category"],
        version.get("included", 0),
        tiers,
        rounding["place"],
        rounding["mode"],
        step,
        None if cap is None else decimal_micros(cap),
    )


def _round(exact: Fraction, step: int, mode: str = "half_up") -> int:
    """To whole ``step`` micros. Only the mode that the files use is known."""
    if mode != "half_up":
        raise ReckoningError(f"rounding {mode}: the calculator does not know this")
    whole = (abs(exact) / step + Fraction(1, 2)).__floor__() * step
    return -whole if exact < 0 else whole


def reckon(
    journals: Iterable[Sequence[AnyEntry]],
    prices: Prices,
    account_of: Mapping[str, str],
    runs: Sequence[Run],
    untaxed: Collection[str] = (),
) -> dict[BillKey, Bill]:
    """The invoices that these bill runs must have made. ``account_of``: subscriber to account; ``untaxed``: accounts.

    Raises :class:`ReckoningError` for what the calculator cannot reckon or a journal that contradicts itself.
    """
    items: dict[BillKey, list[_Item]] = defaultdict(list)
    for entries in journals:
        for item in _items(entries, prices, account_of, runs):
            period = next((run.period for run in runs if item.at < run.until and item.known < run.at), None)
            if period is not None:
                items[BillKey(item.account, period, item.currency)].append(item)
    return {key: _bill(found, prices, key.currency, taxed=key.account not in untaxed) for key, found in items.items()}


def _bill(items: Sequence[_Item], prices: Prices, currency: str, *, taxed: bool) -> Bill:
    unit = minor_unit(currency)
    groups: dict[LineKey, list[_Item]] = defaultdict(list)
    for item in items:
        groups[item.line].append(item)
    found: dict[LineKey, Line] = {}
    bases: dict[str, int] = defaultdict(int)
    for key, group in groups.items():
        net = _round(Fraction(sum(item.net for item in group)), unit)
        found[key] = Line(sum(item.quantity for item in group), sum(item.included for item in group), net)
        bases[group[0].category] += net
    net = sum(line.net for line in found.values())
    rates = prices.rates if taxed else defaultdict[str, int](int)
    tax = sum(_round(Fraction(base * rates[name], 10_000), unit) for name, base in bases.items())
    return Bill(found, net, tax, net + tax)


def _items(
    entries: Sequence[AnyEntry], prices: Prices, account_of: Mapping[str, str], runs: Sequence[Run]
) -> Iterable[_Item]:
    confirmed = {entry.agreement: entry for entry in entries if isinstance(entry, lines.Confirmed)}
    yield from _deliveries(entries, confirmed, prices, account_of)
    yield from _uses(entries, confirmed, prices, account_of, runs)


def _deliveries(
    entries: Sequence[AnyEntry],
    confirmed: Mapping[str, lines.Confirmed],
    prices: Prices,
    account_of: Mapping[str, str],
) -> Iterable[_Item]:
    ordered: dict[str, int] = {}
    granted: set[str] = set()
    for entry in entries:
        if isinstance(entry, lines.Ordered):
            ordered.setdefault(entry.agreement, entry.at)
        elif isinstance(entry, lines.Granted) and entry.agreement not in granted:
            granted.add(entry.agreement)
            # The first order is what charges, whenever its answer arrived.
            yield from _once(confirmed[entry.agreement], ordered[entry.agreement], 1, prices, account_of)
        elif isinstance(entry, lines.ReceiptNoted) and entry.charge == "reversed":
            yield from _once(confirmed[entry.agreement], entry.at, -1, prices, account_of)


def _once(
    agreed: lines.Confirmed, at: int, quantity: int, prices: Prices, account_of: Mapping[str, str]
) -> Iterable[_Item]:
    """The price of a delivery, or what takes it back."""
    mode = prices.mode(agreed)
    if mode["kind"] == "one_off":
        yield _Item(
            account=account_of[agreed.subscriber],
            at=at,
            known=at,
            line=LineKey(agreed.agreement, "delivery" if quantity > 0 else "reversal", prices.month(at)),
            quantity=quantity,
            included=0,
            net=quantity * decimal_micros(mode["amount"]),
            category=mode["tax_category"],
            currency=mode["currency"],
        )


def _uses(
    entries: Sequence[AnyEntry],
    confirmed: Mapping[str, lines.Confirmed],
    prices: Prices,
    account_of: Mapping[str, str],
    runs: Sequence[Run],
) -> Iterable[_Item]:
    agreements = {
        entry.installation: confirmed[entry.agreement] for entry in entries if isinstance(entry, lines.Granted)
    }
    charged: dict[tuple[str, int], int] = defaultdict(int)
    months: dict[tuple[str, str], int] = defaultdict(int)
    for known, report in _taken(entries):
        agreed = agreements[report.installation]
        tariff = prices.tariff(agreed)
        stretches = [(at - 1, value) for at, value in report.samples] + [(report.at, report.value)]
        for used_at, value in stretches:
            before = charged[report.installation, report.epoch]
            if value <= before:
                continue
            charged[report.installation, report.epoch] = value
            at = max(agreed.at, min(used_at, known))
            month = prices.month(at)
            used = months[agreed.agreement, month]
            months[agreed.agreement, month] = used + value - before
            billed = max((run.until for run in runs if run.at <= known), default=0)
            yield _Item(
                account=account_of[agreed.subscriber],
                at=max(at, billed),
                known=known,
                line=LineKey(agreed.agreement, "use", month),
                quantity=value - before,
                included=min(used + value - before, tariff.included) - min(used, tariff.included),
                net=tariff.cost(used + value - before) - tariff.cost(used),
                category=tariff.tax_category,
                currency=agreed.currency,
            )


def _taken(entries: Sequence[AnyEntry]) -> list[tuple[int, CounterReport]]:
    """Each report that was taken, with the instant at which the server took it, in their order."""
    made: dict[tuple[str, int], tuple[int, CounterReport]] = {}
    taken: list[tuple[int, CounterReport]] = []
    for entry in entries:
        if isinstance(entry, lines.Reported):
            report = decode_document(CounterReport, entry.report.document)
            made[entry.installation, entry.sequence] = (entry.at, report)
        elif isinstance(entry, lines.ReportNoted):
            first_sent, report = made[entry.installation, entry.sequence]
            if entry.status in _TAKEN:
                taken.append((entry.server_time, report))
            elif entry.status == "duplicate":
                # Its first acknowledgement was lost; it was taken when it was made and sent.
                taken.append((first_sent, report))
    return taken


def lost_uses(entries: Sequence[AnyEntry]) -> list[str]:
    """Where the reports of a journal do not say what its uses add up to; a fault of the terminal."""
    used: dict[tuple[str, int], int] = defaultdict(int)
    faults = []
    for entry in entries:
        if isinstance(entry, lines.Used):
            used[entry.installation, entry.epoch] += entry.units
        elif isinstance(entry, lines.Reported) and entry.value != used[entry.installation, entry.epoch]:
            known = used[entry.installation, entry.epoch]
            faults.append(f"{entry.installation}: report {entry.sequence} says {entry.value}, used were {known}")
    return faults


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
