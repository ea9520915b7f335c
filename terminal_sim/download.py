"""The software receiving part, second half (claim 1): a fetched package becomes an installed item, or nothing does.

A store is a folder::

    <product>/current.json      which version is installed: the commit
    <product>/<version>/<name>  the item
    .incoming/                  an item on its way
    .journal.json               the change under way

A change is written to the journal first; replacing ``current.json`` makes it happen. Killed before that, the store
holds the old version whole, killed after it, the new one whole; :func:`recover`, which every call begins with, takes
away what the unfinished change left. One process at a time may use a store.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from packaging.version import InvalidVersion, Version

from signalling.sealing import SealError, open_seal
from terminal_sim.files import sync_directory, write_atomically

_NAME = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9._:@+!~-]{0,180}")

InstallReason = Literal["rollback", "conflict", "not_opened", "bad_name", "bad_version"]
Step = Callable[[str], None]
"""Told the name of each step before it is taken; for tests that stop there."""

STEPS = ("journal", "unseal", "place", "commit", "clean", "forget")


class InstallError(Exception):
    """A package was not installed; the store is as it was. ``code`` says why in one word, for a receipt.

    rollback: an older version than the installed one. conflict: other bytes under the installed version. not_opened:
    the seal does not open. bad_name, bad_version: product, file name or version that cannot be stored or compared.
    """

    def __init__(self, code: InstallReason, text: str) -> None:
        super().__init__(text)
        self.code: InstallReason = code


@dataclass(frozen=True)
class Installed:
    """An installed item. ``package_sha256``: of the file as fetched; ``sha256``, ``length``: of the item. In hex."""

    product: str
    version: str
    name: str
    package_sha256: str
    sha256: str
    length: int


def install(
    file: Path,
    sealed: bool,
    content_key: bytes | None,
    dest_dir: Path,
    product: str,
    version: str,
    *,
    step: Step = lambda _: None,
) -> Installed:
    """Install the fetched package ``file`` in the store ``dest_dir`` in place of an older version.

    The same package again changes nothing. Raises :class:`InstallError`; ``OSError`` from a full or broken disk, after
    which the store is as it was.
    """
    _check_names(product, version, file.name)
    recover(dest_dir)
    with file.open("rb") as source:
        package_sha256 = hashlib.file_digest(source, "sha256").hexdigest()
    before = current(dest_dir, product)
    if before is not None:
        if before.version == version and before.package_sha256 == package_sha256 and is_whole(dest_dir, before):
            return before
        _check_successor(before, version, package_sha256)
    dest_dir.mkdir(parents=True, exist_ok=True)
    try:
        step("journal")
        _write_json(_journal(dest_dir), {"product": product, "version": version})
        step("unseal")
        item = _unseal(file, sealed, content_key, dest_dir, product, version, package_sha256)
        step("place")
        _place(dest_dir, item)
        step("commit")
        _write_json(dest_dir / product / "current.json", asdict(item))
    except (SealError, OSError) as error:
        recover(dest_dir)
        if isinstance(error, SealError):
            raise InstallError("not_opened", f"{product} {version}: {error}") from error
        raise
    step("clean")
    _remove_others(dest_dir, product, version)
    step("forget")
    _journal(dest_dir).unlink()
    return item


def installed(dest_dir: Path) -> list[Installed]:
    """What is installed, ordered by product."""
    recover(dest_dir)
    found = (current(dest_dir, file.parent.name) for file in sorted(dest_dir.glob("*/current.json")))
    return [item for item in found if item is not None]


def current(dest_dir: Path, product: str) -> Installed | None:
    """The installed version of a product."""
    try:
        return Installed(**json.loads((dest_dir / product / "current.json").read_bytes()))
    except FileNotFoundError:
        return None


def item_path(dest_dir: Path, item: Installed) -> Path:
    """Where the item's file lies."""
    return dest_dir / item.product / item.version / item.name


def is_whole(dest_dir: Path, item: Installed) -> bool:
    """Whether the item's file has the bytes that were installed."""
    try:
        with item_path(dest_dir, item).open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest() == item.sha256
    except FileNotFoundError:
        return False


def remove(dest_dir: Path, product: str) -> bool:
    """Remove a product; ``False`` where it is not installed."""
    recover(dest_dir)
    if current(dest_dir, product) is None:
        return False
    _write_json(_journal(dest_dir), {"product": product, "version": ""})
    (dest_dir / product / "current.json").unlink()
    sync_directory(dest_dir / product)
    _remove_others(dest_dir, product, None)
    _journal(dest_dir).unlink()
    return True


def recover(dest_dir: Path) -> None:
    """End a change that was under way when the terminal died: what is committed stays, everything else goes."""
    try:
        product = json.loads(_journal(dest_dir).read_bytes())["product"]
    except FileNotFoundError:
        return
    shutil.rmtree(dest_dir / ".incoming", ignore_errors=True)
    item = current(dest_dir, product)
    _remove_others(dest_dir, product, None if item is None else item.version)
    _journal(dest_dir).unlink()


def _check_names(product: str, version: str, name: str) -> None:
    for word, text in (("product", product), ("version", version), ("file name", name)):
        if not _NAME.fullmatch(text):
            raise InstallError("bad_name", f"{word} {text!r} cannot be stored")
    if version == "current.json":
        raise InstallError("bad_version", f"version {version!r} cannot be stored")


def _check_successor(before: Installed, version: str, package_sha256: str) -> None:
    if before.version == version:
        if before.package_sha256 != package_sha256:
            raise InstallError(
                "conflict", f"{before.product} {version} is installed from another package; a release never changes"
            )
        return
    try:
        older = Version(version) < Version(before.version)
    except InvalidVersion as error:
        raise InstallError("bad_version", f"{before.product}: {error}; it cannot be compared") from None
    if older:
        raise InstallError("rollback", f"{before.product} {before.version} is installed; {version} is older")


def _unseal(
    file: Path, sealed: bool, content_key: bytes | None, dest_dir: Path, product: str, version: str, package: str
) -> Installed:
    incoming = dest_dir / ".incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir()
    with file.open("rb") as source, (incoming / file.name).open("w+b") as sink:
        if sealed:
            if content_key is None:
                raise SealError("the package is sealed and no content key was granted")
            length = open_seal(source, sink, content_key)
        else:
            shutil.copyfileobj(source, sink)
            length = sink.tell()
        sink.flush()
        os.fsync(sink.fileno())
        sink.seek(0)
        digest = hashlib.file_digest(sink, "sha256").hexdigest()
    sync_directory(incoming)
    return Installed(product, version, file.name, package, digest, length)


def _place(dest_dir: Path, item: Installed) -> None:
    folder = dest_dir / item.product / item.version
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    os.rename(dest_dir / ".incoming", folder)
    sync_directory(folder.parent)
    sync_directory(dest_dir)


def _remove_others(dest_dir: Path, product: str, version: str | None) -> None:
    """Take away every version of the product but one; the product's folder too when none is left."""
    folder = dest_dir / product
    if not folder.exists():
        return
    for child in folder.iterdir():
        if child.is_dir() and child.name != version:
            shutil.rmtree(child)
        elif child.name.startswith("."):
            child.unlink()
    if version is None:
        shutil.rmtree(folder)


def _journal(dest_dir: Path) -> Path:
    return dest_dir / ".journal.json"


def _write_json(path: Path, value: object) -> None:
    write_atomically(path, json.dumps(value).encode(), mode=0o644)
    sync_directory(path.parent)
