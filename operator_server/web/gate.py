"""The gate that stands before every route of API and console: who asks, may they, is the request fit to be read.

Each route names the permission that it needs (:data:`operator_server.people.roles.PERMISSIONS`), or :data:`PUBLIC`.
"""

from __future__ import annotations

import contextlib
import hmac
import time
from collections import OrderedDict
from datetime import timedelta
from urllib.parse import urlsplit

import anyio
from sqlalchemy.exc import OperationalError
from starlette.requests import ClientDisconnect, Request

from operator_server.context import Operator
from operator_server.people.sessions import Caller, find_session, find_token, note_use
from operator_server.store.store import transact
from operator_server.web.guard import stamp
from operator_server.web.problems import Problem

PUBLIC = "public"
COOKIE = "__Host-tollgate"
CSRF_HEADER = "X-CSRF-Token"
BODY_SECONDS = 10.0
MOST_KNOWN = 1_000
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    """Finds out who asks, and keeps it at ``request.state.caller`` for pages that say no.

    What was found holds for ``known_seconds``, then sessions and tokens are looked at again.
    """

    def __init__(self, operator: Operator, *, known_seconds: float = 1.0) -> None:
        self._operator = operator
        self._idle = timedelta(seconds=operator.settings.web.session_idle)
        self._known_seconds = known_seconds
        self._known: OrderedDict[tuple[str, str], tuple[float, Caller]] = OrderedDict()

    def known(self, request: Request) -> Caller | None:
        """Who asks, where that was found just now."""
        asked = _credential(request)
        kept = self._known.get(asked) if asked else None
        if kept is None or kept[0] <= time.monotonic():
            return None
        request.state.caller = kept[1]
        return kept[1]

    def find(self, request: Request) -> Caller:
        """Who asks, by bearer token or session cookie. Blocks on the database. Raises :class:`Problem` 401."""
        asked = _credential(request)
        if asked is None:
            raise _unknown("log on, or send a token: Authorization: Bearer TOKEN")
        kind, secret = asked
        now = self._operator.clock.now()
        with self._operator.engine.connect() as connection:
            if kind == "bearer":
                caller = find_token(connection, secret, now)
            else:
                caller = find_session(connection, secret, now, self._idle)
        if caller is None:
            self._known.pop(asked, None)
            raise _unknown(
                "the token is not known, revoked or over" if kind == "bearer" else "the session is over; log on again"
            )
        request.state.caller = caller
        if caller.stale:
            # That somebody was here is worth no failed request.
            with contextlib.suppress(OperationalError):
                transact(self._operator.engine, lambda connection: note_use(connection, caller, now))
        if self._known_seconds:
            self._known[asked] = (time.monotonic() + self._known_seconds, caller)
            self._known.move_to_end(asked)
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return caller

    def forget(self) -> None:
        """Look at every session and token again: one was changed."""
        self._known.clear()


def _credential(request: Request) -> tuple[str, str] | None:
    given = request.headers.get("authorization")
    if given is not None:
        kind, _, secret = given.partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise _unknown("Authorization: only `Bearer TOKEN` is taken")
        return "bearer", secret.strip()
    cookie = request.cookies.get(COOKIE)
    return ("cookie", cookie) if cookie else None


def _unknown(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="tollgate"'})


def permit(caller: Caller, needs: str) -> None:
    """Raises :class:`Problem` 403 where the caller lacks the permission."""
    if needs in caller.permissions:
        return
    if caller.must_change:
        raise Problem(403, "your password is for one logon: choose another one first (PUT /api/v1/me/password)")
    raise Problem(403, f"{caller.name} ({caller.role}) lacks the permission {needs}; an administrator can give it")


def csrf_token(caller: Caller) -> str:
    """What a page of ours sends with each change; worth nothing in another session."""
    return stamp(caller.secret, "csrf")


def check_origin(request: Request, caller: Caller | None, *, token: str | None = None) -> None:
    """Changes by cookie need proof that a page of ours sent them. Raises :class:`Problem` 403.

    ``token``: the CSRF token of a form; else the header :data:`CSRF_HEADER` counts.
    """
    if request.method in SAFE or (caller is not None and not caller.session):
        return
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Problem(403, "the request was sent by a page of another site")
    origin = request.headers.get("origin")
    if origin is not None and origin != "null" and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise Problem(403, "the request was sent by a page of another site")
    if caller is None:
        return
    given = request.headers.get(CSRF_HEADER, "") if token is None else token
    if not hmac.compare_digest(given.encode(), csrf_token(caller).encode()):
        raise Problem(403, f"the header {CSRF_HEADER} is missing or of another session; GET /api/v1/me tells it")


async def read_body(request: Request, kinds: tuple[str, ...], most: int) -> None:
    """Read the body, in bounds of size and time and of a content type of ``kinds``. Raises :class:`Problem`."""
    length = request.headers.get("content-length", "0")
    if not length.isdigit():
        raise Problem(400, "Content-Length is not a number")
    if int(length) > most:
        raise _too_large(most)
    body = bytearray()
    try:
        with anyio.fail_after(BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > most:
                    raise _too_large(most)
    except TimeoutError:
        raise Problem(
            408, f"the body did not come within {BODY_SECONDS:g} seconds", headers={"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise Problem(400, "the connection ended within the body") from None
    request._body = bytes(body)
    if not body:
        return
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in kinds:
        raise Problem(415, f"Content-Type {kind or 'is missing'}: {' or '.join(kinds)} is needed")


def _too_large(most: int) -> Problem:
    return Problem(413, f"a body has at most {most} bytes here", headers={"Connection": "close"})
