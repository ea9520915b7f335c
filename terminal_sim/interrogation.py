"""The response transmitting part (claims 1 and 21): answers an inquiry with the configuration code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from signalling.configuration import Configuration, SectionName, configuration_code, section_digest
from signalling.messages import ConfigurationReport, SectionPart

PART_BYTES = 48 * 1024


class Response:
    """One answer: the configuration as it was when the server inquired, so that sections fit the code sent before."""

    def __init__(self, configuration: Configuration) -> None:
        self._canonical = configuration.canonical()
        self._digests = {name: section_digest(name, data) for name, data in self._canonical.items()}

    @property
    def code(self) -> bytes:
        """The configuration code, 32 bytes."""
        return configuration_code(self._digests)

    def report(self) -> ConfigurationReport:
        """The answer to the inquiry."""
        return ConfigurationReport(code=self.code, sections=dict(self._digests))

    def parts(self, sections: Iterable[SectionName]) -> list[SectionPart]:
        """The sections that the server asks for, in numbered parts."""
        return [part for name in dict.fromkeys(sections) for part in split(name, self._canonical)]


def split(name: SectionName, canonical: Mapping[SectionName, bytes]) -> list[SectionPart]:
    """One section's canonical form in parts of at most 48 KiB; an empty section is one part."""
    data = canonical[name]
    pieces = [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)] or [b""]
    return [SectionPart(section=name, part=n, parts=len(pieces), data=piece) for n, piece in enumerate(pieces, 1)]
