"""What stands before every answer of the offers page: limits on rate, size and time of requests, proof of their origin,
and headers that let a browser do nothing but show the page."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import parse_qsl

import anyio
from starlette.requests import ClientDisconnect, Request

MOST_BYTES = 16 * 1024
MOST_FIELDS = 20
BODY_SECONDS = 10.0
MOST_ADDRESSES = 20_000
BURST_SECONDS = 20
"""How long an address may be silent and then ask for all at once."""


class Unacceptable(Exception):
    """A request that is not looked into. ``reason``: a key of the page's texts."""

    def __init__(self, status: int, reason: str, title: str = "problem_title") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.title = title


class Pace:
    """How many requests an address may make: ``per_minute`` on average, 0 for any."""

    def __init__(
        self, per_minute: int, clock: Callable[[], float] = time.monotonic, *, burst_seconds: float = BURST_SECONDS
    ) -> None:
        self._rate = per_minute / 60
        self._burst = max(1.0, self._rate * burst_seconds)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> None:
        """Count a request. Raises :class:`Unacceptable`."""
        if not self._rate:
            return
        now = self._clock()
        left, at = self._left.pop(address, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        self._left[address] = (max(0.0, left - 1), now)
        if len(self._left) > MOST_ADDRESSES:
            self._left.popitem(last=False)
        if left < 1:
            raise Unacceptable(429, "too_many", "too_many_title")


async def posted(request: Request) -> bytes:
    """The body of a form that a page of ours sent. Raises :class:`Unacceptable`."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Unacceptable(403, "csrf", "csrf_title")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Unacceptable(415, "bad_form")
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MOST_BYTES:
        raise Unacceptable(413, "too_large")
    body = b""
    try:
        with anyio.fail_after(BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > MOST_BYTES:
                    raise Unacceptable(413, "too_large")
    except TimeoutError:
        raise Unacceptable(408, "too_slow") from None
    except ClientDisconnect:
        raise Unacceptable(400, "bad_form") from None
    return body


def fields(body: bytes) -> dict[str, str]:
    """The fields of a form. Raises :class:`Unacceptable`."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict",
            max_num_fields=MOST_FIELDS,
        )  # fmt: skip
    except ValueError:
        raise Unacceptable(400, "bad_form") from None
    if len(dict(pairs)) != len(pairs):
        raise Unacceptable(400, "bad_form")
    return dict(pairs)


def stamp(secret: str, purpose: str, content: bytes = b"") -> str:
    """What proves that a form, or a document in it, was made for the page of this session."""
    key = hashlib.sha256(b"tollgate page " + secret.encode()).digest()
    return hmac.new(key, purpose.encode() + b"\x00" + content, hashlib.sha256).hexdigest()


def check_stamp(given: str, secret: str, purpose: str, content: bytes = b"") -> None:
    """Raises :class:`Unacceptable` unless ``given`` is the stamp."""
    if not hmac.compare_digest(given.encode(), stamp(secret, purpose, content).encode()):
        raise Unacceptable(403, "csrf", "csrf_title")


def headers(style: str) -> dict[str, str]:
    """The headers of every page; ``style``: the one style sheet that the browser may use, which is in the page."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return {
        "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
        "X-Robots-Tag": "noindex, nofollow",
    }
