"""What must be billed by what the terminals wrote down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from operator_server.demo.reckoning.bills import Bill, BillKey, Line, LineKey
from operator_server.demo.reckoning.prices import Prices, rounded
from signalling.documents import CounterReport, decode_document
from signalling.money import decimal_micros, minor_unit
from terminal_sim import journal as lines
from terminal_sim.journal import AnyEntry

_TAKEN = ("accepted", "gap", "reset")


class Run(NamedTuple):
    """A bill run: its month, the instant up to which it bills, and when it ran (microseconds)."""

    period: str
    until: int
    at: int


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
        net = rounded(Fraction(sum(item.net for item in group)), unit)
        found[key] = Line(sum(item.quantity for item in group), sum(item.included for item in group), net)
        bases[group[0].category] += net
    net = sum(line.net for line in found.values())
    rates = prices.rates if taxed else defaultdict[str, int](int)
    tax = sum(rounded(Fraction(base * rates[name], 10_000), unit) for name, base in bases.items())
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
