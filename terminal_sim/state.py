"""What the terminal knows: the sum of its journal's lines.

:meth:`State.record` writes a line first and adds it up second; after a restart the same lines give the same state, so
every agreement, delivery, receipt and report goes on at the step where it stopped.

A terminal's folder holds ``identity.json`` (0600), ``trust.json``, ``journal.jsonl``, ``items/`` (what is installed)
and ``fetch/`` (metadata and unfinished downloads).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatchmethod
from pathlib import Path
from typing import Literal

import msgspec

from signalling.configuration import Configuration
from signalling.documents import NO_REPORT, CounterReport, DeliveryGrant, decode_document, document_digest
from signalling.messages import Signed
from terminal_sim import journal as lines
from terminal_sim.journal import AnyEntry, FileJournal, Journal, MemoryJournal
from terminal_sim.trust import Identity, Trust, read_identity, write_identity, write_private

Step = Literal["confirmed", "agreed", "ordered", "granted", "installed", "failed", "done", "refused"]


@dataclass
class Agreement:
    """An agreement and how far it has come.

    ``installed`` and ``failed`` wait for the server to note the receipt, ``done`` waits for nothing.
    """

    confirmed: lines.Confirmed
    step: Step = "confirmed"
    digest: bytes = b""
    order: Signed | None = None
    grant: Signed | None = None
    receipt: Signed | None = None
    outcome: Literal["", "installed", "failed"] = ""
    charge: str = ""
    reason: str = ""

    @property
    def id(self) -> str:
        """The agreement's id, made by this terminal."""
        return self.confirmed.agreement

    def granted(self) -> DeliveryGrant:
        """The grant. Raises ``ValueError`` before there is one."""
        if self.grant is None:
            raise ValueError(f"agreement {self.id} has no grant yet")
        return decode_document(DeliveryGrant, self.grant.document)


@dataclass
class Item:
    """Something installed by an agreement; ``active`` ends when another installation of its product replaces it."""

    installation: str
    agreement: str
    product: str
    release: str
    title: str
    active: bool = True


@dataclass
class Counter:
    """An application counter of an installation (claims 10 and 20). Instants in microseconds.

    ``history``: uses since the last report, as (instant, value after it), for samples at cut-overs. ``waiting``: signed
    reports the server has not acknowledged, in order of their sequence. ``usage``: the newest usage grant.
    """

    installation: str
    name: str
    epoch: int = 0
    value: int = 0
    sequence: int = 0
    last_digest: bytes = NO_REPORT
    reported_at: int = 0
    reported_value: int = 0
    reported_epoch: int = 0
    epoch_from: int = 0
    history: list[tuple[int, int]] = field(default_factory=list)
    waiting: dict[int, Signed] = field(default_factory=dict)
    usage: lines.UsageGranted | None = None


@dataclass
class Message:
    """A message to the user (claim 25)."""

    noticed: lines.Noticed
    read: bool = False


class State:
    """One terminal: its identity, whom it trusts, and everything its journal adds up to.

    ``folder`` is where installed items and downloads lie.
    """

    def __init__(self, identity: Identity, trust: Trust, journal: Journal, folder: Path) -> None:
        self.identity = identity
        self.trust = trust
        self.journal = journal
        self.folder = folder
        self.base = Configuration()
        self.agreements: dict[str, Agreement] = {}
        self.items: dict[str, Item] = {}
        self.counters: dict[tuple[str, str], Counter] = {}
        self.cut_overs: list[int] = []
        self.notices: dict[str, Message] = {}
        self.latest = 0
        for entry in journal.load():
            self._add(entry)

    def record(self, *entries: AnyEntry) -> None:
        """Write lines to the journal, then take them in. What raises here has not happened."""
        self.journal.append(*entries)
        for entry in entries:
            self._add(entry)

    def close(self) -> None:
        """Let go of the journal."""
        self.journal.close()

    def trusts(self, trust: Trust) -> None:
        """Trust so from now on, also after a restart."""
        self.trust = trust
        if (self.folder / "trust.json").exists():
            _write_trust(self.folder, trust)

    @property
    def items_folder(self) -> Path:
        """Where installed items lie."""
        return self.folder / "items"

    @property
    def fetch_folder(self) -> Path:
        """Where metadata and unfinished downloads lie."""
        return self.folder / "fetch"

    def configuration(self) -> Configuration:
        """What the terminal is made of now, with the items that were installed."""
        items = {item.product: item.release for item in self.items.values() if item.active}
        return msgspec.structs.replace(self.base, catalogue_items={**self.base.catalogue_items, **items})

    def active_items(self) -> list[Item]:
        """What is installed and can be used, oldest first."""
        return [item for item in self.items.values() if item.active]

    def item_of(self, product: str) -> Item | None:
        """The installation of ``product`` that is in use."""
        return next((item for item in self.items.values() if item.product == product and item.active), None)

    def counters_of(self, installation: str) -> list[Counter]:
        """The counters of one installation."""
        return [counter for (owner, _), counter in self.counters.items() if owner == installation]

    def open_agreements(self) -> list[Agreement]:
        """Agreements that wait for their next step, oldest first."""
        return [agreement for agreement in self.agreements.values() if agreement.step not in ("done", "refused")]

    def unread(self) -> list[Message]:
        """Messages the user has not seen."""
        return [message for message in self.notices.values() if not message.read]

    def _add(self, entry: AnyEntry) -> None:
        self.latest = max(self.latest, entry.at)
        self._apply(entry)

    @singledispatchmethod
    def _apply(self, entry: AnyEntry) -> None:
        """Lines that only tell what happened change nothing here."""

    @_apply.register
    def _configured(self, entry: lines.Configured) -> None:
        self.base = entry.configuration

    @_apply.register
    def _confirmed(self, entry: lines.Confirmed) -> None:
        self.agreements[entry.agreement] = Agreement(entry)

    @_apply.register
    def _agreed(self, entry: lines.AgreementMade) -> None:
        agreement = self.agreements[entry.agreement]
        agreement.step, agreement.digest = "agreed", entry.digest

    @_apply.register
    def _agreement_refused(self, entry: lines.AgreementRefused) -> None:
        agreement = self.agreements[entry.agreement]
        agreement.step, agreement.reason = "refused", f"{entry.code}: {entry.reason}"

    @_apply.register
    def _ordered(self, entry: lines.Ordered) -> None:
        agreement = self.agreements[entry.agreement]
        agreement.step, agreement.order = "ordered", entry.order

    @_apply.register
    def _order_refused(self, entry: lines.OrderRefused) -> None:
        agreement = self.agreements[entry.agreement]
        agreement.step, agreement.reason = "refused", f"{entry.code}: {entry.reason}"

    @_apply.register
    def _granted(self, entry: lines.Granted) -> None:
        agreement = self.agreements[entry.agreement]
        agreement.step, agreement.grant = "granted", entry.grant

    @_apply.register
    def _installed(self, entry: lines.Installed) -> None:
        agreement = self.agreements[entry.agreement]
        agreement.step, agreement.outcome, agreement.receipt = "installed", "installed", entry.receipt
        for item in self.items.values():
            if item.product == entry.product:
                item.active = False
        self.items[entry.installation] = Item(
            entry.installation, entry.agreement, entry.product, entry.release, agreement.confirmed.title
        )

    @_apply.register
    def _failed(self, entry: lines.Failed) -> None:
        agreement = self.agreements[entry.agreement]
        agreement.step, agreement.outcome, agreement.receipt = "failed", "failed", entry.receipt
        agreement.reason = entry.reason

    @_apply.register
    def _receipt_noted(self, entry: lines.ReceiptNoted) -> None:
        agreement = self.agreements[entry.agreement]
        agreement.step, agreement.charge = "done", entry.charge

    @_apply.register
    def _receipt_refused(self, entry: lines.ReceiptRefused) -> None:
        agreement = self.agreements[entry.agreement]
        agreement.step, agreement.reason = "done", f"{entry.code}: {entry.reason}"

    @_apply.register
    def _usage_granted(self, entry: lines.UsageGranted) -> None:
        counter = self._counter(entry.installation, entry.counter)
        known = counter.usage
        if known is None or (entry.epoch, entry.issued) >= (known.epoch, known.issued):
            counter.usage = entry

    @_apply.register
    def _cut_overs(self, entry: lines.CutOvers) -> None:
        self.cut_overs = sorted({*self.cut_overs, *entry.instants})

    @_apply.register
    def _used(self, entry: lines.Used) -> None:
        counter = self._counter(entry.installation, entry.counter)
        counter.value = entry.value
        counter.history.append((entry.at, entry.value))

    @_apply.register
    def _counter_reset(self, entry: lines.CounterReset) -> None:
        counter = self._counter(entry.installation, entry.counter)
        counter.epoch, counter.value, counter.epoch_from = entry.epoch, 0, entry.at
        counter.history = []

    @_apply.register
    def _reported(self, entry: lines.Reported) -> None:
        counter = self._counter(entry.installation, entry.counter)
        report = decode_document(CounterReport, entry.report.document)
        counter.sequence = entry.sequence
        counter.last_digest = document_digest(entry.report.document)
        counter.reported_at, counter.reported_value, counter.reported_epoch = report.at, report.value, report.epoch
        counter.history = []
        counter.waiting[entry.sequence] = entry.report

    @_apply.register
    def _report_noted(self, entry: lines.ReportNoted) -> None:
        self._counter(entry.installation, entry.counter).waiting.pop(entry.sequence, None)

    @_apply.register
    def _noticed(self, entry: lines.Noticed) -> None:
        self.notices.setdefault(entry.notice, Message(entry))

    @_apply.register
    def _notices_read(self, entry: lines.NoticesRead) -> None:
        for notice in entry.notices:
            if notice in self.notices:
                self.notices[notice].read = True

    def _counter(self, installation: str, name: str) -> Counter:
        return self.counters.setdefault((installation, name), Counter(installation, name))


def create(folder: Path, identity: Identity, trust: Trust, configuration: Configuration, now: int) -> State:
    """A new terminal in ``folder``. Raises :class:`FileExistsError` when there is one already."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (folder / "identity.json").exists():
        raise FileExistsError(f"{folder} already holds a terminal; take another folder or delete this one")
    _write_trust(folder, trust)
    journal = FileJournal(folder / "journal.jsonl")
    state = State(identity, trust, journal, folder)
    state.record(lines.Configured(at=now, configuration=configuration))
    write_identity(folder / "identity.json", identity)
    return state


def _write_trust(folder: Path, trust: Trust) -> None:
    """Put whom a terminal trusts into its folder."""
    write_private(folder / "trust.json", msgspec.json.format(msgspec.json.encode(trust), indent=2))


def load(folder: Path) -> State:
    """The terminal in ``folder``. Raises :class:`TrustError` or :class:`JournalError`, which say what to do."""
    identity = read_identity(folder / "identity.json")
    trust = Trust.read(folder / "trust.json")
    return State(identity, trust, FileJournal(folder / "journal.jsonl"), folder)


def in_memory(identity: Identity, trust: Trust, configuration: Configuration, folder: Path, now: int) -> State:
    """A terminal whose journal is in memory, for fleets; ``folder`` takes its downloads."""
    state = State(identity, trust, MemoryJournal(), folder)
    state.record(lines.Configured(at=now, configuration=configuration))
    return state
