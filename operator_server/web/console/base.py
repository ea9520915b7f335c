"""What every page of the console stands on: sections, views, forms, lists, and the answers made of them."""

from __future__ import annotations

import base64
import binascii
import functools
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from pydantic import BaseModel
from sqlalchemy import Column, Row, Select
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from operator_server.people.sessions import Caller
from operator_server.web.calls import Call
from operator_server.web.console.render import PAGE_HEADERS, render
from operator_server.web.gate import check_origin
from operator_server.web.guard import stamp
from operator_server.web.pages import Paging, page
from operator_server.web.problems import Problem
from operator_server.web.routes import Routes

HOME = "/console"
FORM = ("application/x-www-form-urlencoded",)
MOST_FIELDS = 500
SAID = "__Host-tollgate-said"
SAID_SECONDS = 60

T = TypeVar("T")
Viewing = TypeVar("Viewing", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class View:
    """A page to be shown: ``template`` of templates/console/ and what it needs; ``fragment``: without the frame."""

    template: str
    data: Mapping[str, Any]
    status: int = 200


@dataclass(frozen=True, slots=True)
class Moved:
    """The way on after a change. ``said``: shown once at the top of the page that follows; ``kind``: good or bad."""

    url: str
    said: str = ""
    kind: str = "good"


def show(template: str, status: int = 200, /, **data: Any) -> View:
    """Show a template; ``status`` 422 where a form comes back with its errors."""
    return View(template, data, status)


def moved(url: str, said: str = "", kind: str = "good") -> Moved:
    """Go on to a page of the console after a change, and say what was done."""
    return Moved(url, said, kind)


class Form:
    """The fields of a form that was sent."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = list(pairs)

    def text(self, name: str, otherwise: str = "") -> str:
        """The field's value without blanks around it."""
        return next((value.strip() for key, value in self._pairs if key == name), otherwise)

    def raw(self, name: str) -> str:
        """The field's value as sent, with line ends as ``\\n``, such as of a text area."""
        return next((value.replace("\r\n", "\n") for key, value in self._pairs if key == name), "")

    def all(self, name: str) -> list[str]:
        """Every value of a field that may be there several times."""
        return [value.strip() for key, value in self._pairs if key == name]

    def has(self, name: str) -> bool:
        """Whether the field was sent; a check box is sent only when it is set."""
        return any(key == name for key, _ in self._pairs)

    def values(self) -> dict[str, str]:
        """All fields but the CSRF token, to show the form again."""
        return {key: value for key, value in reversed(self._pairs) if key != "csrf"}


def posted(call: Call) -> Form:
    """The form of this call, whose CSRF token was checked."""
    form: Form = call.request.state.form
    return form


class Section(Routes):
    """A part of the console: an entry of the navigation and its pages.

    ``needs``: the permission without which the entry is not shown; each page names its own besides.
    """

    def __init__(self, title: str, path: str, *, needs: str) -> None:
        super().__init__(title, in_schema=False)
        self.title = title
        self.path = path
        self.needs = needs

    def page(self, path: str = "", *, needs: str, slow: bool = False) -> Callable[[Viewing], Viewing]:
        """A page at ``path`` below the section's; the function gets a :class:`Call` and its parameters.

        It returns :func:`show`, :func:`moved` or a response, such as a file to download.
        """

        def register(view: Viewing) -> Viewing:
            @functools.wraps(view)
            def answer(call: Call, **arguments: Any) -> Response:
                if call.caller.must_change:
                    return RedirectResponse("/password", 303)
                return _answer(call, view(call, **arguments))

            self.get(self.path + path, needs=needs, page=True, slow=slow)(answer)
            return view

        return register

    def form(
        self, path: str = "", *, needs: str, slow: bool = False, most_body: int = 256 * 1024
    ) -> Callable[[Viewing], Viewing]:
        """What a form is sent to (POST); the function reads it by :func:`posted`. Its CSRF token is checked before."""

        def register(view: Viewing) -> Viewing:
            @functools.wraps(view)
            def answer(call: Call, **arguments: Any) -> Response:
                call.request.state.form = form = _read(call.request)
                check_origin(call.request, call.caller, token=form.text("csrf"))
                return _answer(call, view(call, **arguments))

            self.post(self.path + path, needs=needs, page=True, slow=slow, takes=FORM, most_body=most_body)(answer)
            return view

        return register


def _read(request: Request) -> Form:
    try:
        return Form(
            parse_qsl(
                request._body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS
            )
        )
    except ValueError:
        raise Problem(400, "the form cannot be read; load the page again and send it once more") from None


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A part of a long list. ``next_url`` and ``first_url`` are empty where there is no such part."""

    items: list[T]
    total: int
    exact: bool
    next_url: str = ""
    first_url: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)


def listing(
    call: Call,
    query: Select[Any],
    key: Sequence[Column[Any]],
    paging: Paging,
    make: Callable[[Row[Any]], T],
    *,
    newest_first: bool = False,
) -> Listing[T]:
    """The part of ``query`` that was asked for, as :func:`operator_server.web.pages.page` reads it, with its links."""
    found: Any = page(call, BaseModel, query, key, paging, make, newest_first=newest_first)
    kept = {name: value for name, value in call.request.query_params.items() if name not in ("cursor", "offset")}
    here = call.request.url.path
    return Listing(
        found.items, found.total, found.total_is_exact,
        f"{here}?{urlencode(kept | {'cursor': found.next})}" if found.next else "",
        f"{here}?{urlencode(kept)}" if paging.cursor else "",
        {name: value for name, value in kept.items() if value and name not in ("limit", "sort")},
    )  # fmt: skip


def _answer(call: Call, result: Any) -> Response:
    if isinstance(result, Response):
        return result
    if isinstance(result, Moved):
        response: Response = RedirectResponse(result.url, 303, {"Cache-Control": "no-store"})
        if result.said:
            _say(response, call.caller, result)
        return response
    said = _said(call)
    html = render(call.request, call.caller, result.template, {"said": said, **result.data})
    response = HTMLResponse(html, result.status, PAGE_HEADERS)
    if said is not None:
        response.delete_cookie(SAID, path="/", secure=True, httponly=True, samesite="lax")
    return response


def _say(response: Response, caller: Caller, told: Moved) -> None:
    content = msgspec.json.encode((told.kind, told.said[:600]))
    signed = stamp(caller.secret, "said", content) + base64.urlsafe_b64encode(content).decode()
    response.set_cookie(SAID, signed, max_age=SAID_SECONDS, path="/", secure=True, httponly=True, samesite="lax")


def _said(call: Call) -> tuple[str, str] | None:
    """What the change before says, where it was of this session."""
    given = call.request.cookies.get(SAID, "")
    try:
        content = base64.urlsafe_b64decode(given[64:])
    except (binascii.Error, ValueError):
        return None
    if not content or not hmac.compare_digest(given[:64].encode(), stamp(call.caller.secret, "said", content).encode()):
        return None
    kind, said = msgspec.json.decode(content, type=tuple[str, str])
    return kind, said
