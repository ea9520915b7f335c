"""The software receiving part, first half (claim 1): what a terminal takes from a repository, and on what trust.

The terminal trusts a root it was given, nothing else: not the server, not the mirror, not the line. python-tuf checks
signatures, versions and expiry; the file must further be the one that the delivery grant names.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tuf.api import exceptions
from tuf.api.metadata import TargetFile
from tuf.ngclient import Updater

from signalling.clock import Clock
from terminal_sim.repository_fetcher import Fetcher, Progress

Reason = Literal["no_space", "tampered", "rollback", "expired", "unknown_target", "too_slow", "unreachable"]

_GRAVITY: tuple[Reason, ...] = (
    "no_space", "tampered", "rollback", "expired", "unknown_target", "too_slow", "unreachable",
)  # fmt: skip
"""When every repository fails, the failure that stands first here is the one that is told."""

_TARGET_PATH = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9._:@+!~-]*(?:/[A-Za-z0-9_@][A-Za-z0-9._:@+!~-]*)*")


class FetchError(Exception):
    """A target was not fetched. ``code`` says why in one word, for a receipt; the text says it to a person.

    tampered: bytes or metadata that nobody trusted signed, or not what the grant names. rollback: metadata older than
    what was seen before. expired: metadata past its time. unknown_target: the repository does not have it. too_slow,
    unreachable: the way there. no_space: the terminal's disk.
    """

    def __init__(self, code: Reason, text: str) -> None:
        super().__init__(text)
        self.code: Reason = code


@dataclass(frozen=True)
class Transfer:
    """How the last fetch went: the repository it came from, how many bytes were there already, how many arrived."""

    base_url: str
    resumed_at: int
    received: int


class RepositoryClient:
    """Fetches targets, trusting a pinned root. One instance at a time may use a ``state_dir``.

    Blocks; meant for a thread.
    """

    def __init__(
        self, state_dir: Path, base_urls: Sequence[str], root: bytes, clock: Clock, fetcher: Fetcher | None = None
    ) -> None:
        """``base_urls``: folders with ``metadata`` and ``targets`` in them (http, https, or file for a USB stick).

        They are tried in order. ``root``: the pinned root. ``state_dir`` keeps what was seen last, so that
        older metadata is known for what it is after a restart.
        Raises ``ValueError`` without a repository.
        """
        if not base_urls:
            raise ValueError("at least one repository is needed")
        self._metadata_dir = state_dir / "metadata"
        self._base_urls = [url.rstrip("/") for url in base_urls]
        self._root = root
        self._clock = clock
        self._fetcher = fetcher or Fetcher()
        self.last_transfer: Transfer | None = None

    def close(self) -> None:
        """Close the connections that are kept for the next fetch."""
        self._fetcher.close()

    def fetch(
        self,
        target_path: str,
        expected_sha256: bytes,
        expected_length: int,
        dest_dir: Path,
        progress: Progress | None = None,
    ) -> Path:
        """The verified target, at ``dest_dir / target_path``; ``expected_sha256`` and length as the grant says.

        The metadata is checked at every call. A file that is there already is not fetched again; what a broken
        download left beside it in a ``.part`` file is gone on with, at whichever repository. Raises
        :class:`FetchError`, and ``OSError`` when the terminal's disk fails otherwise than by being full.
        """
        if not _TARGET_PATH.fullmatch(target_path):
            raise FetchError("unknown_target", f"{target_path!r} is no path of a repository")
        failures: list[FetchError] = []
        for base_url in self._base_urls:
            try:
                return self._fetch_from(base_url, target_path, expected_sha256, expected_length, dest_dir, progress)
            except FetchError as failure:
                failures.append(failure)
                if failure.code == "no_space":
                    break
        gravest = min(failures, key=lambda failure: _GRAVITY.index(failure.code))
        raise FetchError(gravest.code, "; ".join(f"{failure.code}: {failure}" for failure in failures))

    def _fetch_from(
        self, base_url: str, target_path: str, sha256: bytes, length: int, dest_dir: Path, progress: Progress | None
    ) -> Path:
        dest = dest_dir / target_path
        try:
            target = self._describe(base_url, target_path)
            if target is None:
                raise FetchError("unknown_target", f"{base_url} has no {target_path}")
            if target.length != length or target.hashes.get("sha256") != sha256.hex():
                raise FetchError("tampered", f"{base_url} has another {target_path} than the grant names")
            dest.parent.mkdir(parents=True, exist_ok=True)
            if not _is_whole(dest, target):
                self._download(f"{base_url}/targets/{target.get_prefixed_paths()[0]}", target, dest, progress)
            else:
                self.last_transfer = Transfer(base_url, length, 0)
        except exceptions.RepositoryError as error:
            raise FetchError(_repository_reason(error), f"{base_url}: {error}") from error
        except exceptions.DownloadError as error:
            raise FetchError(_download_reason(error), f"{base_url}: {error}") from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise FetchError("no_space", f"no space left for {target_path} in {dest_dir}") from error
            raise
        return dest

    def _describe(self, base_url: str, target_path: str) -> TargetFile | None:
        """What the signed metadata says of the target, as of the clock."""
        self._metadata_dir.mkdir(parents=True, exist_ok=True)
        updater = Updater(str(self._metadata_dir), f"{base_url}/metadata/", fetcher=self._fetcher, bootstrap=self._root)
        # python-tuf offers no other way to a clock of one's own: expiry is judged by this attribute alone, which is
        # set at construction, before anything is judged by it. tests/delivery/test_expiry.py pins this.
        updater._trusted_set.reference_time = self._clock.now()
        return updater.get_targetinfo(target_path)

    def _download(self, url: str, target: TargetFile, dest: Path, progress: Progress | None) -> None:
        part = dest.with_name(f"{dest.name}.{target.hashes['sha256'][:16]}.part")
        have = part.stat().st_size if part.exists() else 0
        free = shutil.disk_usage(dest.parent).free
        if free < target.length - have:
            raise OSError(errno.ENOSPC, f"{free} bytes are free, {target.length - have} are needed")
        before = self._fetcher.received
        begin = self._fetcher.resume(url, part, target.length, progress)
        if begin and not _is_whole(part, target):
            # What was there before may be what is wrong: another repository's bytes, or a disk after a power cut.
            part.unlink()
            begin = self._fetcher.resume(url, part, target.length, progress)
        if not _is_whole(part, target):
            part.unlink()
            raise exceptions.LengthOrHashMismatchError(f"{target.path}: the bytes are not those that were signed")
        os.replace(part, dest)
        self.last_transfer = Transfer(url.split("/targets/", 1)[0], begin, self._fetcher.received - before)


def _is_whole(file: Path, target: TargetFile) -> bool:
    try:
        with file.open("rb") as source:
            return (
                os.fstat(source.fileno()).st_size == target.length
                and hashlib.file_digest(source, "sha256").hexdigest() == target.hashes["sha256"]
            )
    except FileNotFoundError:
        return False


def _repository_reason(error: exceptions.RepositoryError) -> Reason:
    if isinstance(error, exceptions.ExpiredMetadataError):
        return "expired"
    if isinstance(error, exceptions.BadVersionNumberError):
        return "rollback"
    return "tampered"


def _download_reason(error: exceptions.DownloadError) -> Reason:
    if isinstance(error, exceptions.DownloadLengthMismatchError):
        return "tampered"
    if isinstance(error, exceptions.SlowRetrievalError):
        return "too_slow"
    return "unreachable"
