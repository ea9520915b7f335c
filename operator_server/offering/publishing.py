"""Offers put live, scheduled and withdrawn: files of the configuration folder, checked as a whole before one changes.

The one way for console, API and commands. Every role follows the folder within a second. What stood there before is in
the audit trail and among the versions, so that it can be put back. A file that holds several offers is cut with care:
what is left must read as it did before.
"""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from charging.tariffs import Problem
from offers.catalogue import Offer
from operator_server.audit import audited
from operator_server.files import file_lock, sync_directory, write_atomically
from operator_server.offering.loading import BrokenCatalogue, Loaded, keep_versions, load
from operator_server.settings import Settings
from operator_server.store.feed import record

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,47}\Z", re.ASCII)
_HEADER = re.compile(r"^\[\[offer\]\][ \t]*(#.*)?$", re.MULTILINE)
_VALID_LINE = re.compile(r"^valid(\.(from|until))?[ \t]*=.*\n?", re.MULTILINE)
_VALID_TABLE = re.compile(r"^\[(offer\.)?valid\][^\[]*", re.MULTILINE)


class OfferFileError(ValueError):
    """A change of the offers that cannot be made; the text says why and what to do."""


class UnknownOffer(OfferFileError):
    """No offer of this id is in the catalogue."""


class BadOffer(OfferFileError):
    """An offer with faults; ``problems`` has all of them."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class Checked:
    """An offer that could be put live: the catalogue with it, what it would take the place of, and its file's name."""

    offer: Offer
    loaded: Loaded
    before: str
    file: str


def source_of(settings: Settings, offer: str) -> str:
    """The TOML of an offer, as it stands in its file; empty where there is none."""
    found = _find(settings, offer)
    return found[1] if found else ""


def check_offer(settings: Settings, source: str) -> Checked:
    """Check one offer as if it were live, with all others. Raises :class:`BadOffer`."""
    offer_id = _id_of(source)
    files = _files(settings)
    before = _take_out(files, offer_id)
    file = f"{offer_id}.toml"
    while file in files:
        # What is left of a file of several offers that has this name stays as it is.
        file = f"own-{file}"
    files[file] = source
    loaded = _checked(settings, files)
    offer = loaded.catalogue.get(offer_id)
    assert offer is not None
    return Checked(offer, loaded, before, file)


def publish_offer(
    connection: Connection,
    settings: Settings,
    source: str,
    now: datetime,
    *,
    actor: str,
    action: str = "offer.publish",
    instead_of: str | None = None,
) -> Offer:
    """Put an offer live, in place of the one of the same id. Raises :class:`OfferFileError`.

    ``instead_of``: the TOML that its writer began with (empty for none); where another stands there now, nothing
    changes.
    """
    with locked(settings):
        checked = check_offer(settings, source)
        if instead_of is not None and instead_of != checked.before:
            raise OfferFileError(
                f"offer {checked.offer.id}: was changed meanwhile; load it again and make your change anew"
                if checked.before and instead_of
                else f"offer {checked.offer.id}: is in the catalogue already; open it to change it"
                if checked.before
                else f"offer {checked.offer.id}: was withdrawn meanwhile; publish it as a new one"
            )
        return _put(connection, settings, checked, source, now, actor, action)


def withdraw_offer(connection: Connection, settings: Settings, offer: str, now: datetime, *, actor: str) -> None:
    """Take an offer out of the catalogue; agreements on it stay. Raises :class:`OfferFileError`."""
    with locked(settings):
        files = _files(settings)
        before = _take_out(files, offer)
        if not before:
            raise UnknownOffer(f"offer {offer}: is not in the catalogue")
        _checked(settings, files)
        _tell(connection, "offer.withdraw", offer, before, None, now, actor)
        _write(settings, offer, None, "")


def schedule_offer(
    connection: Connection,
    settings: Settings,
    offer: str,
    valid_from: datetime | None,
    valid_until: datetime | None,
    now: datetime,
    *,
    actor: str,
) -> Offer:
    """Let an offer be valid in this time alone; ``None`` is no bound. Raises :class:`OfferFileError`."""
    with locked(settings):
        before = source_of(settings, offer)
        if not before:
            raise UnknownOffer(f"offer {offer}: is not in the catalogue")
        source = scheduled(before, valid_from, valid_until)
        return _put(connection, settings, check_offer(settings, source), source, now, actor, "offer.schedule")


def _put(
    connection: Connection, settings: Settings, checked: Checked, source: str, now: datetime, actor: str, action: str
) -> Offer:
    offer = checked.offer
    keep_versions(connection, checked.loaded, now)
    _tell(connection, action, offer.id, checked.before, source, now, actor, offer.version)
    _write(settings, offer.id, source, checked.file)
    return offer


def scheduled(source: str, valid_from: datetime | None, valid_until: datetime | None) -> str:
    """The TOML of an offer with other bounds, all else as it was. Raises :class:`OfferFileError`."""
    kept = _VALID_TABLE.sub("", _VALID_LINE.sub("", source))
    bounds = [f"{key} = {at.isoformat()}" for key, at in (("from", valid_from), ("until", valid_until)) if at]
    changed = f"valid = {{ {', '.join(bounds)} }}\n{kept}" if bounds else kept
    try:
        was, now = tomllib.loads(source), tomllib.loads(changed)
    except tomllib.TOMLDecodeError:
        was, now = {"": 1}, {}
    was.pop("valid", None)
    wanted = {key: at for key, at in (("from", valid_from), ("until", valid_until)) if at}
    if now.pop("valid", {}) != wanted or was != now:
        raise OfferFileError("its `valid` cannot be changed by itself; change the TOML and publish it")
    return changed


def _id_of(source: str) -> str:
    try:
        raw = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise BadOffer([Problem("offer", "", "", f"cannot be read as TOML: {error}")]) from None
    offer_id = raw.get("id")
    if "offer" in raw:
        raise BadOffer([Problem("offer", "offer", "", "send one offer, without [[offer]]")])
    if not isinstance(offer_id, str) or not _ID.match(offer_id):
        raise BadOffer([Problem("offer", "id", repr(offer_id), "1 to 48 of a-z 0-9 . _ - are needed")])
    return offer_id


def _files(settings: Settings) -> dict[str, str]:
    folder = settings.config_dir / "offers"
    return {path.name: path.read_text(encoding="utf-8-sig") for path in sorted(folder.glob("*.toml"))}


def _find(settings: Settings, offer: str) -> tuple[str, str] | None:
    """The file of an offer and the offer's own text."""
    for name, text in _files(settings).items():
        for block in _blocks(text):
            if _own_id(block) == offer:
                return name, block
    return None


def _blocks(text: str) -> list[str]:
    """The offers of a file, each as the text of a file of its own."""
    starts = [match.start() for match in _HEADER.finditer(text)]
    if not starts:
        return [text]
    ends = [*starts[1:], len(text)]
    cut = (_HEADER.sub("", text[start:end], count=1) for start, end in zip(starts, ends, strict=True))
    return [re.sub(r"^(\[{1,2})offer\.", r"\1", each, flags=re.MULTILINE).strip() + "\n" for each in cut]


def _own_id(block: str) -> str:
    try:
        return str(tomllib.loads(block).get("id", ""))
    except tomllib.TOMLDecodeError:
        return ""


def _take_out(files: dict[str, str], offer: str) -> str:
    """Remove an offer from the texts of files; its own text, empty where it was in none."""
    for name, text in list(files.items()):
        blocks = _blocks(text)
        mine = [block for block in blocks if _own_id(block) == offer]
        if not mine:
            continue
        if len(blocks) == 1:
            del files[name]
        else:
            files[name] = _without(name, text, offer)
        return mine[0]
    return ""


def _without(name: str, text: str, offer: str) -> str:
    starts = [match.start() for match in _HEADER.finditer(text)]
    pieces = [text[: starts[0]], *(text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True))]
    kept = "".join(piece for piece in pieces if not _HEADER.match(piece) or _piece_id(piece) != offer)
    try:
        whole, left = tomllib.loads(text)["offer"], tomllib.loads(kept).get("offer", [])
    except (tomllib.TOMLDecodeError, KeyError):
        whole, left = [], [{}]
    if [each for each in whole if each.get("id") != offer] != left:
        raise OfferFileError(f"{name}: {offer} cannot be cut out of it; edit the file")
    return kept


def _piece_id(piece: str) -> str:
    try:
        offers: list[Mapping[str, Any]] = tomllib.loads(piece).get("offer", [])
    except tomllib.TOMLDecodeError:
        return ""
    return str(offers[0].get("id", "")) if offers else ""


def _checked(settings: Settings, files: Mapping[str, str]) -> Loaded:
    """Read these files as the offers, with the tariffs that there are. Raises :class:`BadOffer`."""
    try:
        return load_with(settings, "offers", files)
    except BrokenCatalogue as broken:
        raise BadOffer(broken.problems) from None


def load_with(settings: Settings, part: str, files: Mapping[str, str]) -> Loaded:
    """What the folder would be with ``files`` as its ``offers`` or ``tariffs``; problems name the file alone.

    Raises :class:`operator_server.offering.loading.BrokenCatalogue`.
    """
    with tempfile.TemporaryDirectory(prefix="tollgate-check-") as name:
        folder = Path(name)
        for each in ("offers", "tariffs"):
            if each != part:
                (folder / each).symlink_to((settings.config_dir / each).resolve())
        (folder / part).mkdir()
        for file, text in files.items():
            (folder / part / file).write_text(text, encoding="utf-8")
        try:
            return load(settings.model_copy(update={"config_dir": folder}))
        except BrokenCatalogue as broken:
            raise BrokenCatalogue(
                [Problem(Path(each.file).name, each.key, each.value, each.reason) for each in broken.problems]
            ) from None


def _write(settings: Settings, offer: str, source: str | None, own: str) -> None:
    """Bring the folder there: the new file first, then the old place cut, so that the offer is never missing."""
    folder, old = settings.config_dir / "offers", _find(settings, offer)
    try:
        if source is not None:
            write_atomically(folder / own, source.encode())
        if old is not None and (source is None or old[0] != own):
            files = {old[0]: (folder / old[0]).read_text(encoding="utf-8-sig")}
            _take_out(files, offer)
            if old[0] in files:
                write_atomically(folder / old[0], files[old[0]].encode())
            else:
                (folder / old[0]).unlink()
        sync_directory(folder)
    except OSError as error:
        raise OfferFileError(f"{folder}: cannot be written: {error.strerror}") from None


def _tell(
    connection: Connection,
    action: str,
    offer: str,
    before: str,
    after: str | None,
    now: datetime,
    actor: str,
    version: str = "",
) -> None:
    past = {"offer.withdraw": "offer_withdrawn", "offer.schedule": "offer_scheduled"}
    record(connection, now, past.get(action, "offer_published"), reference=offer)
    audited(
        connection, actor, action, f"offer/{offer}", {"toml": before} if before else None,
        {"version": version, "toml": after} if after is not None else None, now,
    )  # fmt: skip


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Change files of the configuration folder alone among all processes."""
    settings.store.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with file_lock(settings.store.data / "offers.lock"):
        yield
