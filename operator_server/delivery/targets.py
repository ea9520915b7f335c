"""Targets of the repository: what may be published, and what is."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical
from tuf.api.metadata import TargetFile

_TARGET_PATH = re.compile(r"(?:[A-Za-z0-9_@][A-Za-z0-9._:@+!~-]{0,127}/){2}[A-Za-z0-9_@][A-Za-z0-9._:@+!~-]{0,180}")
_PATH_RULE = (
    "product/version/name is needed, each of letters, digits and ._:@+!~- beginning with a letter, a digit, _ or @"
)


class RepositoryError(Exception):
    """The repository cannot do what was asked; the text says what and why. Nothing was published."""


class TargetExists(RepositoryError):
    """The path already names other bytes; what was published once never changes under its name."""


class NoSuchTarget(RepositoryError):
    """Nothing is published under the path."""


@dataclass(frozen=True)
class NewTarget:
    """A file to publish under ``path`` (``product/version/name``). ``custom`` is signed with it: no floats."""

    path: str
    file: Path
    custom: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedTarget:
    """A target as the signed metadata describes it; ``length`` in bytes."""

    path: str
    sha256: bytes
    length: int
    custom: Mapping[str, Any]


def target_path(product: str, version: str, name: str) -> str:
    """The path of a package in the repository. Raises :class:`RepositoryError` for a part that a path cannot hold."""
    path = f"{product}/{version}/{name}"
    if not _TARGET_PATH.fullmatch(path):
        raise RepositoryError(f"target path {path!r}: {_PATH_RULE}")
    return path


def check_target(target: NewTarget) -> None:
    """Raises :class:`RepositoryError` for a path or a custom that cannot be."""
    if not _TARGET_PATH.fullmatch(target.path):
        raise RepositoryError(f"target path {target.path!r}: {_PATH_RULE}")
    try:
        encode_canonical(dict(target.custom))
    except FormatError as error:
        raise RepositoryError(
            f"custom of {target.path}: only text, integers, lists and maps can be signed: {error}"
        ) from None


def copy_to(target: NewTarget, staged: Path) -> TargetFile:
    """Copy to ``staged``, durable, measuring the very bytes that are written."""
    digest = hashlib.sha256()
    length = 0
    with target.file.open("rb") as source, staged.open("wb") as sink:
        while block := source.read(1024 * 1024):
            digest.update(block)
            length += len(block)
            sink.write(block)
        sink.flush()
        os.fsync(sink.fileno())
    fields = {"custom": dict(target.custom)} if target.custom else {}
    return TargetFile(length, {"sha256": digest.hexdigest()}, target.path, fields)


def published(target: TargetFile) -> PublishedTarget:
    """What the signed metadata says of a target."""
    return PublishedTarget(target.path, bytes.fromhex(target.hashes["sha256"]), target.length, target.custom or {})
