"""One interrogation as a state machine: inquiry, configuration code, the sections that are missing, outcome.

::

    asked --configuration--> answered --request()--> fetching --all parts--> answered --settle()--> settled
      |                                                 |
      +--------- no answer, asked again `retries` times, then settled ---------+

The rules: the code is the digest over the digests that come with it; only sections that were asked for are taken, each
in parts numbered from 1 in ascending order, none empty but an only one, at most 4 MiB together; a section has the
digest that was announced and is in canonical form. Whoever breaks one is told why, and the interrogation is settled as
refused. An answer that comes twice is no fault: an inquiry that was repeated may be answered twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from signalling.configuration import (
    MAX_SECTION_BYTES,
    SECTIONS,
    Configuration,
    ConfigurationError,
    SectionName,
    configuration_code,
    decode_section,
    section_digest,
)
from signalling.messages import ConfigurationReport, Inquiry, SectionPart, SectionRequest, Trigger


class ExchangeFault(ValueError):
    """The terminal broke a rule of the interrogation; ``code`` and the text are for its error message."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Step(Enum):
    """How far an interrogation is."""

    ASKED = auto()
    ANSWERED = auto()
    FETCHING = auto()
    SETTLED = auto()


class Exchange:
    """The interrogation of one terminal; ``number`` is its exchange on the link."""

    __slots__ = ("_pieces", "attempts", "digests", "fetched", "number", "report", "step", "trigger", "wanted")

    def __init__(self, number: int, trigger: Trigger) -> None:
        self.number = number
        self.trigger = trigger
        self.step = Step.ASKED
        self.attempts = 0
        self.report: ConfigurationReport | None = None
        self.wanted: tuple[SectionName, ...] = ()
        self.fetched: dict[SectionName, bytes] = {}
        self._pieces: dict[SectionName, tuple[int, list[bytes]]] = {}

    def inquire(self) -> Inquiry:
        """The inquiry to send now, the first time or again."""
        self.attempts += 1
        return Inquiry(self.trigger)

    def configuration(self, report: ConfigurationReport, known: tuple[bytes, ...] | None = None) -> bool:
        """Take the answer; whether it is a new one. ``known``: the digests under this code, if it was seen before.

        Raises :class:`ExchangeFault`.
        """
        if self.step is not Step.ASKED:
            if self.report is not None and report.code == self.report.code:
                return False
            raise ExchangeFault("wrong_state", "a second configuration in one interrogation")
        try:
            if known is not None and known == tuple(map(report.sections.get, SECTIONS)):
                code = report.code
            else:
                code = configuration_code(report.sections)
        except ConfigurationError as error:
            raise ExchangeFault("bad_configuration", str(error)) from None
        if code != report.code:
            raise ExchangeFault("bad_configuration", "the code is not the digest over the section digests")
        self.report = report
        self.step = Step.ANSWERED
        return True

    def request(self, sections: Iterable[SectionName]) -> SectionRequest:
        """Ask for these sections."""
        assert self.step is Step.ANSWERED
        self.wanted = tuple(sections)
        self.step = Step.FETCHING
        return SectionRequest(list(self.wanted))

    def part(self, part: SectionPart) -> bool:
        """Take a part; whether all sections that were asked for are complete now. Raises :class:`ExchangeFault`."""
        name = part.section
        if self.step is not Step.FETCHING or name not in self.wanted:
            raise ExchangeFault("wrong_state", f"section {name} was not asked for")
        if name in self.fetched:
            raise ExchangeFault("bad_section", f"{name}: a part after the last")
        parts, pieces = self._pieces.setdefault(name, (part.parts, []))
        if part.parts != parts or part.part != len(pieces) + 1 or part.part > parts:
            raise ExchangeFault(
                "bad_section", f"{name}: part {part.part} of {part.parts} where {len(pieces) + 1} of {parts} was due"
            )
        if not part.data:
            raise ExchangeFault("bad_section", f"{name}: part {part.part} is empty")
        if sum(map(len, pieces)) + len(part.data) > MAX_SECTION_BYTES:
            raise ExchangeFault("bad_section", f"{name}: more than {MAX_SECTION_BYTES} bytes")
        pieces.append(part.data)
        if len(pieces) < parts:
            return False
        del self._pieces[name]
        self.fetched[name] = b"".join(pieces)
        if any(wanted not in self.fetched for wanted in self.wanted):
            return False
        self.step = Step.ANSWERED
        return True

    def settle(self) -> None:
        """It is over, whatever came of it."""
        self.step = Step.SETTLED
        self._pieces = {}


def check_section(name: SectionName, digest: bytes, canonical: bytes) -> dict[str, str]:
    """The entries of a section that a terminal sent. Raises :class:`ExchangeFault`.

    For large sections this takes a while; it may run on any thread.
    """
    if section_digest(name, canonical) != digest:
        raise ExchangeFault("bad_section", f"{name}: has not the digest that was announced")
    try:
        return decode_section(name, canonical)
    except ConfigurationError as error:
        raise ExchangeFault("bad_section", str(error)) from None


def assemble(report: ConfigurationReport, canonical: dict[SectionName, bytes]) -> Configuration:
    """The configuration behind a report, each section checked. Raises :class:`ExchangeFault`."""
    return Configuration(**{name: check_section(name, report.sections[name], canonical[name]) for name in SECTIONS})


def changed_sections(before: tuple[bytes, ...] | None, after: tuple[bytes, ...]) -> str:
    """Names of the sections whose digests differ, comma-separated; all when nothing is known of before."""
    if before is None:
        return ",".join(SECTIONS)
    return ",".join(name for name, old, new in zip(SECTIONS, before, after, strict=True) if old != new)
