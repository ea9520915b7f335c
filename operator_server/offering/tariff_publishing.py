"""Tariffs put in force: files of the configuration folder, checked with all offers before one changes.

What is in force stays as it is: it was agreed to, and use was rated by it. A new price is a new version from a date
that is to come; until then it may be changed or taken away again.
"""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from charging.tariffs import Problem, Tariff, TariffVersion, read_tariff
from offers.catalogue import Catalogue
from operator_server.audit import audited
from operator_server.files import sync_directory, write_atomically
from operator_server.offering.loading import BrokenCatalogue, Loaded, keep_versions, load
from operator_server.offering.publishing import load_with, locked
from operator_server.offering.toml_text import toml_text
from operator_server.settings import Settings
from operator_server.store.feed import record

_ID = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}\Z", re.ASCII)
_HEADER = re.compile(r"^\[\[version\]\][ \t]*(#.*)?$", re.MULTILINE)
_TABLE = re.compile(r"^\[(?!\[?version\.)", re.MULTILINE)
"""Where a version, or what comes after it, begins; not a part of a version."""


class TariffFileError(ValueError):
    """A change of the tariffs that cannot be made; the text says why and what to do."""


class UnknownTariff(TariffFileError):
    """No tariff, or no version of it, is in the files."""


class BadTariff(TariffFileError):
    """A tariff with faults; ``problems`` has all of them."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class CheckedTariff:
    """A tariff that could be put in force, with all else; ``before``: the TOML whose place it takes, in ``file``."""

    tariff: Tariff
    loaded: Loaded
    before: str
    file: str


def tariff_source(settings: Settings, tariff: str) -> str:
    """The TOML of a tariff as it stands in its file; empty where there is none."""
    return _find(_files(settings), tariff)[1]


def in_files(settings: Settings, tariff: str) -> tuple[Tariff, list[str]]:
    """A tariff as the files have it now, which the roles follow within a second, and the offers that charge by it.

    Raises :class:`UnknownTariff`, and :class:`TariffFileError` while the folder has faults.
    """
    try:
        loaded = load(settings)
    except BrokenCatalogue as broken:
        raise TariffFileError(f"the configuration folder has faults; mend them first: {broken}"[:2000]) from None
    if tariff not in loaded.tariffs:
        raise UnknownTariff(f"tariff {tariff}: is not in the folder tariffs/")
    return loaded.tariffs.tariff(tariff), used_by(loaded.catalogue, tariff)


def used_by(catalogue: Catalogue, tariff: str) -> list[str]:
    """The offers that charge by a tariff."""
    return [offer.id for offer in catalogue if any(mode.tariff == tariff for mode in offer.modes)]


def file_of(settings: Settings, tariff: str) -> str:
    """The name of a tariff's file, or of the one it would have."""
    return _find(_files(settings), tariff)[0] or f"{tariff}.toml"


def with_version(settings: Settings, tariff: str, version: str, begins: date | datetime) -> str:
    """The file of a tariff with a further version at its end, that holds from ``begins``; all else as it stands.

    ``version``: the keys of a ``[[version]]``, without the header and ``effective_from``. Raises
    :class:`TariffFileError`.
    """
    source = tariff_source(settings, tariff)
    if not source:
        raise UnknownTariff(f"tariff {tariff}: is not in the folder tariffs/")
    table = {"effective_from": begins, **{k: v for k, v in _read(version).items() if k != "effective_from"}}
    appended = f"{source.rstrip()}\n\n[[version]]\n{toml_text(table, 'version')}"
    was, now = tomllib.loads(source), _read(appended)
    if now != {**was, "version": [*was["version"], table]}:
        raise TariffFileError(f"tariff {tariff}: a version cannot be put at the end of its file; edit the file")
    return appended


def check_tariff(settings: Settings, source: str, now: datetime) -> CheckedTariff:
    """Check a tariff file as if it were in force, with all offers. Raises :class:`BadTariff`."""
    tariff_id = _read(source).get("id")
    if not isinstance(tariff_id, str) or not _ID.match(tariff_id):
        reason = "1 to 64 letters, digits, '_', '.' and '-' are needed, the first a letter"
        raise BadTariff([Problem("tariff", "id", repr(tariff_id), reason)])
    files = _files(settings)
    file, before = _find(files, tariff_id)
    if not file:
        file = f"{tariff_id}.toml"
        while file in files:
            file = f"own-{file}"
    files[file] = source
    try:
        loaded = load_with(settings, "tariffs", files)
    except BrokenCatalogue as broken:
        raise BadTariff(broken.problems) from None
    tariff = loaded.tariffs.tariff(tariff_id)
    if problems := _changed_past(settings, tariff, before, file, now):
        raise BadTariff(problems)
    return CheckedTariff(tariff, loaded, before, file)


def publish_tariff(
    connection: Connection, settings: Settings, source: str, now: datetime, *, actor: str, instead_of: str | None = None
) -> Tariff:
    """Put a tariff file in place of the one of the same id, or beside the others. Raises :class:`TariffFileError`.

    ``instead_of``: the TOML that its writer began with (empty for none); where another stands there now, nothing
    changes.
    """
    with locked(settings):
        checked = check_tariff(settings, source, now)
        name = checked.tariff.tariff_id
        if instead_of is not None and instead_of != checked.before:
            raise TariffFileError(f"tariff {name}: was changed meanwhile; load it again and make your change anew")
        keep_versions(connection, checked.loaded, now)
        record(connection, now, "tariff_published", reference=name)
        audited(
            connection, actor, "tariff.publish", f"tariff/{name}", {"toml": checked.before} if checked.before else None,
            {"versions": [version.version_id for version in checked.tariff.versions], "toml": source}, now,
        )  # fmt: skip
        _write(settings, checked.file, source)
    return checked.tariff


def schedule_version(
    connection: Connection,
    settings: Settings,
    tariff: str,
    version: str,
    begins: date | datetime,
    now: datetime,
    *,
    actor: str,
    instead_of: str | None = None,
) -> Tariff:
    """Publish a tariff with a further version, as :func:`with_version` takes it. Raises :class:`TariffFileError`."""
    source = with_version(settings, tariff, version, begins)
    before = instead_of if instead_of is not None else tariff_source(settings, tariff)
    return publish_tariff(connection, settings, source, now, actor=actor, instead_of=before)


def withdraw_version(
    connection: Connection,
    settings: Settings,
    tariff: str,
    version: str,
    now: datetime,
    *,
    actor: str,
    instead_of: str | None = None,
) -> None:
    """Take away the version of this id, which is not in force yet; with its only version goes the tariff.

    Offers that need it are named among the problems. Raises :class:`TariffFileError`; ``instead_of`` as for
    :func:`publish_tariff`.
    """
    with locked(settings):
        files = _files(settings)
        file, before = _find(files, tariff)
        if not file:
            raise UnknownTariff(f"tariff {tariff}: is not in the folder tariffs/")
        if instead_of is not None and instead_of != before:
            raise TariffFileError(f"tariff {tariff}: was changed meanwhile; load it again and make your change anew")
        after = _without(file, before, version, now)
        if after:
            files[file] = after
        else:
            del files[file]
        try:
            load_with(settings, "tariffs", files)
        except BrokenCatalogue as broken:
            raise BadTariff(broken.problems) from None
        record(connection, now, "tariff_withdrawn", reference=tariff)
        audited(
            connection, actor, "tariff.withdraw", f"tariff/{tariff}", {"version": version, "toml": before},
            {"toml": after} if after else None, now,
        )  # fmt: skip
        _write(settings, file, after)


def _without(file: str, source: str, version: str, now: datetime) -> str:
    """The text of a tariff's file without a version; empty where it was the only one. Raises."""
    tariff = read_file(source)
    found = next((each for each in tariff.versions if each.version_id == version), None)
    if found is None:
        raise UnknownTariff(f"tariff {tariff.tariff_id}: has no version {version}")
    if found.effective_from <= now:
        reason = "is in force or was, so it stays as it is; put a new version beside it"
        raise BadTariff([Problem(file, "version", _named(found), reason)])
    others = {each.version_id for each in tariff.versions} - {version}
    if not others:
        return ""
    was = tomllib.loads(source)
    for start, end in _spans(source):
        kept = source[:start] + source[end:]
        try:
            left, now_left = tomllib.loads(kept), {each.version_id for each in read_file(kept).versions}
        except (tomllib.TOMLDecodeError, BadTariff):
            continue
        if now_left == others and {**left, "version": was["version"]} == was:
            return kept.rstrip() + "\n"
    raise TariffFileError(f"{file}: {version} cannot be cut out of it; edit the file")


def _spans(source: str) -> Iterator[tuple[int, int]]:
    """From where to where a version may stand in a file."""
    for start in (match.start() for match in _HEADER.finditer(source)):
        for ends in (_HEADER, _TABLE):
            yield start, next((match.start() for match in ends.finditer(source, start + 1)), len(source))


def _write(settings: Settings, file: str, source: str) -> None:
    """Put a tariff's file in place; without a text it goes."""
    folder = settings.config_dir / "tariffs"
    try:
        if source:
            write_atomically(folder / file, source.encode())
        else:
            (folder / file).unlink()
        sync_directory(folder)
    except OSError as error:
        raise TariffFileError(f"{folder}: cannot be written: {error.strerror}") from None


def _changed_past(settings: Settings, tariff: Tariff, before: str, file: str, now: datetime) -> list[Problem]:
    """What would change the past: versions in force that are gone, and others that begin before now."""
    if not before:
        return []
    old = {v.version_id: v for v in load(settings).tariffs.tariff(tariff.tariff_id).versions}
    new = {v.version_id: v for v in tariff.versions}
    gone = [_named(version) for id, version in old.items() if id not in new and version.effective_from <= now]
    late = [
        (number, version) for number, version in enumerate(tariff.versions)
        if version.version_id not in old and version.effective_from <= now
    ]  # fmt: skip
    if gone:
        reason = "is in force or was, so it stays as it is; put a new version beside it"
        return [Problem(file, "version", name, reason) for name in gone]
    return [
        Problem(
            file, f"version[{number}].effective_from", version.effective_from.isoformat(),
            "lies in the past; use since then is rated already. Choose a time to come",
        )
        for number, version in late
    ]  # fmt: skip


def _named(version: TariffVersion) -> str:
    return f"{version.version_id} (from {version.effective_from:%Y-%m-%d})"


def _read(source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise BadTariff([Problem("tariff", "", "", f"cannot be read as TOML: {error}")]) from None


def _files(settings: Settings) -> dict[str, str]:
    folder = settings.config_dir / "tariffs"
    return {path.name: path.read_text(encoding="utf-8-sig") for path in sorted(folder.glob("*.toml"))}


def _find(files: dict[str, str], tariff: str) -> tuple[str, str]:
    """The file of a tariff and its text; empty where there is none."""
    for name, text in files.items():
        try:
            if tomllib.loads(text).get("id") == tariff:
                return name, text
        except tomllib.TOMLDecodeError:
            continue
    return "", ""


def read_version(tariff: str, version: str, begins: date | datetime) -> TariffVersion:
    """A version by itself, beside those in the file, such as to try it on past use. Raises :class:`BadTariff`.

    ``version``: as :func:`with_version` takes it.
    """
    table = {**{k: v for k, v in _read(version).items() if k != "effective_from"}, "effective_from": begins}
    return read_file(toml_text({"id": tariff, "version": [table]})).versions[0]


def read_file(source: str) -> Tariff:
    """A tariff file by itself. Raises :class:`BadTariff`."""
    with tempfile.TemporaryDirectory(prefix="tollgate-check-") as folder:
        file = Path(folder) / "tariff"
        file.write_text(source, encoding="utf-8")
        found, problems = read_tariff(file)
    if found is None:
        raise BadTariff([Problem("tariff", each.key, each.value, each.reason) for each in problems])
    return found
