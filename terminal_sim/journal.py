"""The terminal's journal: one JSON object a line, only ever appended, and the only truth the terminal keeps.

All that a terminal must know after a restart follows from these lines (:class:`terminal_sim.state.State` is what they
add up to), so a crash can at worst cut off the last line, of something that was not yet said to anybody. A line is on
the disk before the message it speaks of leaves. Whoever checks an invoice reads the same lines: what was agreed on
which terms, what was installed or failed, each use with its instant, each report and its acknowledgement.

Instants are microseconds since 1970 by the terminal's clock; ``server_time`` is the server's clock as the terminal
knows it from the welcome. Bytes are base64; signed documents are kept as the bytes that were signed.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from signalling.configuration import Configuration
from signalling.messages import ModeTerms, Signed
from terminal_sim.files import sync_directory


class JournalError(ValueError):
    """A journal that cannot be read or is in use; the text names file and line."""


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag=_snake):
    """Base of all lines; ``kind`` is the structure's name in small letters, such as ``usage_granted``."""

    at: int


class Configured(Entry, frozen=True, kw_only=True):
    """What the terminal is made of, without the items that were installed later."""

    configuration: Configuration


class ShownOffer(msgspec.Struct, frozen=True):
    """One line of a menu."""

    offer: str
    version: str
    product: str
    release: str


class Shown(Entry, frozen=True, kw_only=True):
    """A menu as the user saw it."""

    menu: str
    offers: list[ShownOffer]


class Rejected(Entry, frozen=True, kw_only=True):
    """The server noted a rejection, until that instant or for ever."""

    offer: str
    version: str
    product: str
    until: int | None = None


class Postponed(Entry, frozen=True, kw_only=True):
    """The server noted that the user will decide later."""

    offer: str
    version: str
    product: str


class Confirmed(Entry, frozen=True, kw_only=True):
    """The user said yes to a quote, on these terms. Whether the server closed it stands in ``agreed``."""

    agreement: str
    quote_id: str
    offer: str
    version: str
    product: str
    release: str
    title: str
    subscriber: str
    terms: ModeTerms
    amount: int
    tax: int
    currency: str
    delivers: bool
    quote: Signed
    confirmation: Signed
    spending_limit: int | None = None


class AgreementMade(Entry, frozen=True, kw_only=True):
    """The server registered the agreement."""

    agreement: str
    digest: bytes
    server_time: int


class AgreementRefused(Entry, frozen=True, kw_only=True):
    """The server refused the confirmation: nothing was agreed."""

    agreement: str
    code: str
    reason: str


class Ordered(Entry, frozen=True, kw_only=True):
    """The request that starts the delivery, as signed."""

    agreement: str
    order: Signed


class OrderRefused(Entry, frozen=True, kw_only=True):
    """The server will not deliver."""

    agreement: str
    code: str
    reason: str


class Granted(Entry, frozen=True, kw_only=True):
    """The delivery grant."""

    agreement: str
    installation: str
    grant: Signed


class Installed(Entry, frozen=True, kw_only=True):
    """The item is in its place; ``replaces``: the installation of the same product that it took the place of."""

    agreement: str
    installation: str
    product: str
    release: str
    receipt: Signed
    replaces: str = ""


class Failed(Entry, frozen=True, kw_only=True):
    """The item could not be fetched, opened or installed, and the signed receipt says so."""

    agreement: str
    installation: str
    reason: str
    receipt: Signed


class ReceiptNoted(Entry, frozen=True, kw_only=True):
    """The server stored the receipt and said what became of the charge: none, charged, reversed."""

    agreement: str
    charge: str
    server_time: int


class ReceiptRefused(Entry, frozen=True, kw_only=True):
    """The server does not take the receipt; nothing more can be done about this delivery from here."""

    agreement: str
    code: str
    reason: str


class UsageGranted(Entry, frozen=True, kw_only=True):
    """Use granted ahead: up to ``ceiling`` in ``epoch``, until ``valid_until``; report by ``report_by``."""

    installation: str
    counter: str
    epoch: int
    ceiling: int
    issued: int
    valid_until: int
    report_by: int
    grant: Signed


class CutOvers(Entry, frozen=True, kw_only=True):
    """Instants at which the server wants to know every counter's value."""

    instants: list[int]


class Used(Entry, frozen=True, kw_only=True):
    """``units`` of use at this instant; ``value`` is the counter after it."""

    installation: str
    counter: str
    epoch: int
    units: int
    value: int


class CounterReset(Entry, frozen=True, kw_only=True):
    """The counter lost its value and begins ``epoch`` at 0."""

    installation: str
    counter: str
    epoch: int


class Reported(Entry, frozen=True, kw_only=True):
    """A counter report as signed; a repetition sends the same bytes and makes no line."""

    installation: str
    counter: str
    epoch: int
    sequence: int
    value: int
    report: Signed


class ReportNoted(Entry, frozen=True, kw_only=True):
    """What the server made of a report: accepted, duplicate, gap, conflict, reset, refused."""

    installation: str
    counter: str
    epoch: int
    sequence: int
    status: str
    server_time: int
    reason: str = ""


class Noticed(Entry, frozen=True, kw_only=True):
    """A message for the user arrived."""

    notice: str
    about: str
    text: str
    subject: str = ""
    state: str = ""


class NoticesRead(Entry, frozen=True, kw_only=True):
    """The user saw these messages."""

    notices: list[str]


AnyEntry = (
    Configured
    | Shown
    | Rejected
    | Postponed
    | Confirmed
    | AgreementMade
    | AgreementRefused
    | Ordered
    | OrderRefused
    | Granted
    | Installed
    | Failed
    | ReceiptNoted
    | ReceiptRefused
    | UsageGranted
    | CutOvers
    | Used
    | CounterReset
    | Reported
    | ReportNoted
    | Noticed
    | NoticesRead
)

_decoder: msgspec.json.Decoder[AnyEntry] = msgspec.json.Decoder(AnyEntry)
_encoder = msgspec.json.Encoder()

Durability = Literal["fsync", "none"]


class Journal(Protocol):
    """Where the lines are kept."""

    def load(self) -> list[AnyEntry]:
        """All lines, in order."""

    def append(self, *entries: AnyEntry) -> None:
        """Add lines; when this returns they are as durable as the journal makes them."""

    def close(self) -> None:
        """No more lines."""


class MemoryJournal:
    """Lines in memory, for fleets and tests; :meth:`dump` writes them out as the file would hold them."""

    def __init__(self, entries: list[AnyEntry] | None = None) -> None:
        self.entries: list[AnyEntry] = entries if entries is not None else []

    def load(self) -> list[AnyEntry]:
        return list(self.entries)

    def append(self, *entries: AnyEntry) -> None:
        self.entries.extend(entries)

    def close(self) -> None:
        """Nothing to do."""

    def dump(self, path: Path) -> None:
        """Write the lines to a file."""
        path.write_bytes(b"".join(_encoder.encode(entry) + b"\n" for entry in self.entries))


class FileJournal:
    """Lines in a file, each append written at once and synced (unless ``durability`` is ``none``).

    The file is locked: a second process on the same state raises :class:`JournalError`.
    """

    def __init__(self, path: Path, durability: Durability = "fsync") -> None:
        self._path = path
        self._sync = durability == "fsync"
        fresh = not path.exists()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise JournalError(f"{path}: another program runs on this terminal's state; end it first") from None
        if fresh:
            sync_directory(path.parent)

    def load(self) -> list[AnyEntry]:
        """All lines; a last line that was cut off by a crash is removed. Raises :class:`JournalError`."""
        data = self._path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.ftruncate(self._file, whole)
            os.fsync(self._file)
        entries: list[AnyEntry] = []
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                entries.append(_decoder.decode(line))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise JournalError(f"{self._path}: line {number} is damaged: {error}") from None
        return entries

    def append(self, *entries: AnyEntry) -> None:
        data = b"".join(_encoder.encode(entry) + b"\n" for entry in entries)
        start = os.fstat(self._file).st_size
        try:
            while data:
                data = data[os.write(self._file, data) :]
            if self._sync:
                os.fsync(self._file)
        except OSError:
            # A full disk must not leave half a line in front of the next one.
            os.ftruncate(self._file, start)
            raise

    def close(self) -> None:
        os.close(self._file)


def read_journal(path: Path) -> list[AnyEntry]:
    """The whole lines of a journal that another program may be writing. Raises :class:`JournalError`."""
    data = path.read_bytes()
    entries: list[AnyEntry] = []
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), 1):
        try:
            entries.append(_decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise JournalError(f"{path}: line {number} is damaged: {error}") from None
    return entries
