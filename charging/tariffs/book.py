"""The tariff book: every tariff of the operator with all its versions, read from TOML files."""

from __future__ import annotations

import json
import tomllib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from charging.tariffs.build import Fault, build_version
from charging.tariffs.document import TariffTable, VersionTable
from charging.tariffs.version import TariffVersion

_REASONS = {
    "extra_forbidden": "unknown key",
    "missing": "missing",
    "union_tag_not_found": "missing: the price model, such as per_unit or graduated",
    "int_type": "a whole number is needed",
    "greater_than_equal": "too small: {ge} or more is needed",
    "less_than_equal": "too large: {le} at most",
}


class TariffError(LookupError):
    """A tariff or version that the book does not have."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in a tariff file: in which file, at which key, with which value, and why."""

    file: str
    key: str
    value: str
    reason: str

    def __str__(self) -> str:
        place = f"{self.file}: {self.key}" if self.key else self.file
        return f"{place} = {self.value}: {self.reason}" if self.value else f"{place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Tariff:
    """A tariff's names by language, and its versions in the order in which they take effect."""

    tariff_id: str
    names: Mapping[str, str]
    versions: tuple[TariffVersion, ...]


class TariffBook:
    """All tariffs of an operator; immutable."""

    def __init__(self, tariffs: Sequence[Tariff]) -> None:
        self._tariffs = {tariff.tariff_id: tariff for tariff in tariffs}
        self._versions = {version.version_id: version for tariff in tariffs for version in tariff.versions}

    @classmethod
    def load(cls, directory: Path) -> tuple[TariffBook | None, list[Problem]]:
        """The book of all ``*.toml`` in ``directory``, or ``None`` and every problem there is."""
        if not directory.is_dir():
            return None, [Problem(str(directory), "", "", "no such directory")]
        problems: list[Problem] = []
        tariffs: dict[str, tuple[Tariff, str]] = {}
        for path in sorted(directory.glob("*.toml")):
            tariff = _read(path, problems)
            if tariff is None:
                continue
            if tariff.tariff_id in tariffs:
                other = tariffs[tariff.tariff_id][1]
                problems.append(Problem(str(path), "id", repr(tariff.tariff_id), f"{other} has the same id"))
            else:
                tariffs[tariff.tariff_id] = tariff, str(path)
        return (None if problems else cls([tariff for tariff, _ in tariffs.values()])), problems

    def __contains__(self, tariff_id: object) -> bool:
        return tariff_id in self._tariffs

    def __iter__(self) -> Iterator[Tariff]:
        return iter(self._tariffs.values())

    def tariff(self, tariff_id: str) -> Tariff:
        """The tariff of that id; :class:`TariffError` if there is none."""
        try:
            return self._tariffs[tariff_id]
        except KeyError:
            known = ", ".join(sorted(self._tariffs)) or "none"
            raise TariffError(f"no tariff {tariff_id!r}; the book has: {known}") from None

    def at(self, tariff_id: str, instant: datetime) -> TariffVersion:
        """The version of a tariff that holds at ``instant`` (aware); :class:`TariffError` if none does yet."""
        versions = self.tariff(tariff_id).versions
        index = bisect_right(versions, instant, key=lambda version: version.effective_from)
        if not index:
            first = versions[0].effective_from.isoformat()
            raise TariffError(f"tariff {tariff_id!r} holds from {first} on, not yet at {instant.isoformat()}")
        return versions[index - 1]

    def version(self, version_id: str) -> TariffVersion:
        """The version of that id; :class:`TariffError` if the files no longer have it as it was."""
        try:
            return self._versions[version_id]
        except KeyError:
            raise TariffError(f"no tariff version {version_id!r} in the book") from None


def read_tariff(path: Path) -> tuple[Tariff | None, list[Problem]]:
    """The tariff of one file, or ``None`` and every problem in it."""
    problems: list[Problem] = []
    return _read(path, problems), problems


def restore_version(tariff_id: str, content: str) -> TariffVersion:
    """The version whose ``content`` was kept, with the same ``version_id``; ``ValueError`` if it is none."""
    raw = json.loads(content)
    version = build_version(tariff_id, raw, VersionTable.model_validate(raw))
    if isinstance(version, list):
        raise ValueError(f"{version[0].key}: {version[0].reason}")
    return version


def _read(path: Path, problems: list[Problem]) -> Tariff | None:
    """The tariff of one file; appends to ``problems`` and returns ``None`` if there is something wrong with it."""
    before = len(problems)
    try:
        # Editors of Windows begin a file with a mark of byte order.
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        problems.append(Problem(str(path), "", "", f"cannot be read as TOML: {error}"))
        return None
    except RecursionError:
        problems.append(Problem(str(path), "", "", "cannot be read as TOML: its values are nested too deep"))
        return None
    try:
        table: TariffTable | None = TariffTable.model_validate(raw)
    except ValidationError as error:
        table = None
        problems += [_problem(path, "", detail, raw) for detail in error.errors()]
    versions = []
    tables = raw.get("version")
    for number, entry in enumerate(tables if isinstance(tables, list) else ()):
        if isinstance(entry, dict):
            version = _version(path, number, str(raw.get("id")), entry, problems)
            versions.append((version, number))
    starts = set()
    for version, number in versions:
        if version is not None and version.effective_from in starts:
            key = f"version[{number}].effective_from"
            value = version.effective_from.isoformat()
            problems.append(Problem(str(path), key, value, "another version begins at the same time"))
        starts.add(version.effective_from if version else None)
    if table is None or len(problems) > before:
        return None
    whole = sorted((v for v, _ in versions if v is not None), key=lambda version: version.effective_from)
    return Tariff(table.id, table.name, tuple(whole))


def _version(
    path: Path, number: int, tariff_id: str, raw: dict[str, Any], problems: list[Problem]
) -> TariffVersion | None:
    prefix = f"version[{number}]"
    try:
        table = VersionTable.model_validate(raw)
    except ValidationError as error:
        problems += [_problem(path, prefix, detail, raw) for detail in error.errors()]
        return None
    version = build_version(tariff_id, raw, table)
    if isinstance(version, list):
        problems += [_fault(path, prefix, fault, raw) for fault in version]
        return None
    return version


def _problem(path: Path, prefix: str, detail: ErrorDetails, raw: Mapping[str, Any]) -> Problem:
    key, value = _locate(prefix, detail["loc"], raw)
    context = detail.get("ctx", {})
    if "error" in context:
        reason = str(context["error"])
    else:
        reason = _REASONS.get(detail["type"], detail["msg"]).format_map(context)
    return Problem(str(path), key, "" if detail["type"] == "missing" else value, reason)


def _locate(prefix: str, loc: Sequence[int | str], raw: Mapping[str, Any]) -> tuple[str, str]:
    """The key as it stands in the file, without the names of union members, and what is written there."""
    key, value = prefix, raw
    for part in loc:
        if isinstance(part, int):
            key += f"[{part}]"
        elif isinstance(value, Mapping) and part not in value and value.get("model") == part:
            continue
        else:
            key += f".{part}" if key else part
        try:
            value = value[part]  # type: ignore[index]  # loc leads through tables and lists alike
        except (KeyError, IndexError, TypeError):
            value = {}
    return key, repr(value)


def _fault(path: Path, prefix: str, fault: Fault, raw: Mapping[str, Any]) -> Problem:
    value: Any = raw
    for name in fault.key.replace("]", "").replace("[", ".").split("."):
        if isinstance(value, list) and name.isdigit():
            value = value[int(name)]
        elif isinstance(value, Mapping):
            value = value.get(name)
        else:
            value = None
    shown = value if fault.value is None else fault.value
    return Problem(str(path), f"{prefix}.{fault.key}", "" if shown is None else repr(shown), fault.reason)
