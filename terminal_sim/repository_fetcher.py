"""How the terminal gets bytes from a repository: over HTTP(S) or from a disk, with bounds, ranges and a minimum rate.

python-tuf asks for metadata through :class:`Fetcher`; packages are taken by :meth:`Fetcher.resume`, which goes on
where a broken download stopped.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import urllib3
from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    SlowRetrievalError,
)
from tuf.ngclient import FetcherInterface

_PIECE_BYTES = 64 * 1024
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-[0-9]+/([0-9]+|\*)")

Fault = Callable[[str, bytes], bytes]
"""Told the address and each piece that arrives; returns the piece to go on with, or raises ``ConnectionError``."""

Progress = Callable[[int, int], None]
"""Told the bytes that are there and the bytes there will be."""


@dataclass(frozen=True)
class TransferSettings:
    """Bounds of a transfer. Seconds are real ones, whatever clock the terminal lives by.

    ``minimum_rate``: bytes a second on average over a transfer, judged from ``grace`` seconds on; 0 is no minimum.
    """

    connect_timeout: float = 10.0
    read_timeout: float = 20.0
    minimum_rate: int = 500
    grace: float = 20.0
    max_redirects: int = 3


class DropAfter:
    """A fault: the connection breaks once ``limit`` more bytes of addresses that contain ``part`` have arrived."""

    def __init__(self, limit: int, part: str = "") -> None:
        self._left = limit
        self._part = part

    def __call__(self, url: str, piece: bytes) -> bytes:
        if self._part not in url:
            return piece
        if self._left <= 0:
            raise ConnectionError("the connection was dropped on purpose")
        piece = piece[: self._left]
        self._left -= len(piece)
        return piece


class Fetcher(FetcherInterface):
    """Fetches with time-outs, a minimum rate and certificates checked against ``ca_file`` or the system's."""

    def __init__(
        self,
        settings: TransferSettings | None = None,
        *,
        ca_file: Path | None = None,
        fault: Fault | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings or TransferSettings()
        self._fault = fault
        self._timer = timer
        self.received = 0
        """Bytes of bodies that arrived since this was made."""
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=self._settings.connect_timeout, read=self._settings.read_timeout),
            retries=urllib3.Retry(
                total=None, connect=0, read=0, status=0, other=0, redirect=self._settings.max_redirects
            ),
            # Without one, urllib3 loads the system's authorities at the first https address: a fleet saves it.
            ssl_context=None if ca_file is None else ssl.create_default_context(cafile=str(ca_file)),
        )

    def close(self) -> None:
        """Close kept connections."""
        self._pool.clear()

    def resume(self, url: str, part: Path, length: int, progress: Progress | None = None) -> int:
        """Bring ``part`` to ``length`` bytes, going on after those it has; returns how many it began with.

        A server that knows no ranges sends everything, and the part begins anew (0 is returned). What arrived stays
        in ``part`` when the transfer breaks. Raises the errors of python-tuf: ``DownloadHTTPError``,
        ``SlowRetrievalError``, ``DownloadLengthMismatchError`` for more bytes than ``length`` or a resource of another
        length, ``DownloadError`` for all else; and ``OSError`` from the disk.
        """
        have = part.stat().st_size if part.exists() else 0
        if have == length and part.exists():
            return have
        if have > length:
            have = 0
        response = self._request(url, have)
        with closing(response):
            if have and response.status == 416:
                raise DownloadLengthMismatchError(f"{url} is shorter than the {length} bytes it should have")
            begin = _begin(response, url, have, length)
            with part.open("r+b" if begin else "wb") as file:
                file.truncate(begin)
                file.seek(begin)
                done = begin
                for piece in self._pieces(response, url):
                    done += len(piece)
                    if done > length:
                        raise DownloadLengthMismatchError(f"{url} sends more than the {length} bytes it should have")
                    file.write(piece)
                    if progress is not None:
                        progress(done, length)
                file.flush()
                os.fsync(file.fileno())
        if done < length:
            raise DownloadError(f"{url}: the connection ended after {done} of {length} bytes")
        return begin

    def _fetch(self, url: str) -> Iterator[bytes]:
        response = self._request(url, 0)
        return self._closing(response, url)

    def _closing(self, response: urllib3.BaseHTTPResponse, url: str) -> Iterator[bytes]:
        with closing(response):
            yield from self._pieces(response, url)

    def _request(self, url: str, begin: int) -> urllib3.BaseHTTPResponse:
        headers = {"Accept-Encoding": "identity"}
        if url.startswith("file:"):
            return _from_disk(url, begin)
        if begin:
            headers["Range"] = f"bytes={begin}-"
        try:
            response = self._pool.request("GET", url, headers=headers, preload_content=False)
        except urllib3.exceptions.MaxRetryError as error:
            raise _translated(url, error.reason or error) from error
        except urllib3.exceptions.HTTPError as error:
            raise _translated(url, error) from error
        if response.status >= 400 and not (begin and response.status == 416):
            response.close()
            raise DownloadHTTPError(f"{url} answers {response.status}", response.status)
        return response

    def _pieces(self, response: urllib3.BaseHTTPResponse, url: str) -> Iterator[bytes]:
        began = self._timer()
        arrived = 0
        while True:
            try:
                # read1 gives what is there: a server that drips bytes is seen by the rate, not waited for.
                piece = response.read1(_PIECE_BYTES, decode_content=False)
                if piece and self._fault is not None:
                    piece = self._fault(url, piece)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise _translated(url, error) from error
            if not piece:
                return
            arrived += len(piece)
            self.received += len(piece)
            yield piece
            elapsed = self._timer() - began
            if elapsed > self._settings.grace and arrived < self._settings.minimum_rate * elapsed:
                raise SlowRetrievalError(
                    f"{url}: {arrived} bytes in {elapsed:.0f} s, less than {self._settings.minimum_rate} a second"
                )


def _from_disk(url: str, begin: int) -> urllib3.BaseHTTPResponse:
    """A file of this machine, such as one on a USB stick, as a server with ranges would give it."""
    try:
        file = Path(url2pathname(urlsplit(url).path)).open("rb")  # noqa: SIM115 - the response closes it
    except FileNotFoundError:
        raise DownloadHTTPError(f"{url} is not there", 404) from None
    except OSError as error:
        raise _translated(url, error) from error
    size = os.fstat(file.fileno()).st_size
    file.seek(begin)
    headers = {"Content-Range": f"bytes {begin}-{size - 1}/{size}"} if begin else {}
    return urllib3.HTTPResponse(file, headers, 206 if begin else 200, preload_content=False)


def _begin(response: urllib3.BaseHTTPResponse, url: str, have: int, length: int) -> int:
    """Where the body that follows begins."""
    if response.status != 206:
        return 0
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != have:
        raise DownloadError(f"{url} answers with a range that was not asked for")
    if match[2] not in ("*", str(length)):
        raise DownloadLengthMismatchError(f"{url} has {match[2]} bytes, not the {length} it should have")
    return have


def _translated(url: str, error: Exception) -> DownloadError:
    # Not urllib3's TimeoutError: a refused connection is one of those too.
    if isinstance(error, (urllib3.exceptions.ReadTimeoutError, TimeoutError)):
        return SlowRetrievalError(f"{url}: no answer in time")
    return DownloadError(f"{url}: {error}")
