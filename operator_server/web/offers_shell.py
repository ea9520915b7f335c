"""From a request of a device's user to a page, and from a page to an answer; what the pages say is not known here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import anyio.to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from operator_server.context import Operator
from operator_server.offering.live import LiveOffers
from operator_server.web.guard import Pace, Unacceptable, fields, headers, posted
from operator_server.web.offers_view import View
from operator_server.web.texts import language_of

COOKIE = "__Host-offers"


@dataclass(frozen=True, slots=True)
class Call:
    """A request, read: no part of it is known to be true."""

    path: dict[str, str]
    cookie: str
    accept: str
    note: str
    body: bytes = b""
    fields: dict[str, str] = field(default_factory=dict)

    def get(self, name: str) -> str:
        """A field of the form; empty where there is none."""
        return self.fields.get(name, "")


@dataclass(frozen=True, slots=True)
class Page:
    """An answer: a template with what it shows, or the way to another page. ``cookie``: a new one, empty to end it."""

    template: str = ""
    shown: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    location: str = ""
    cookie: str | None = None


class Closed(Exception):
    """No session is open."""


class Shell:
    """Takes requests within limits, gives them to what makes pages, and answers with those."""

    def __init__(self, operator: Operator, offers: LiveOffers) -> None:
        settings = operator.settings
        self._operator = operator
        self._settings = settings
        self._offers = offers
        self._pace = Pace(settings.web.requests_per_minute)
        self._style = (files("operator_server.web") / "templates" / "offers.css").read_text(encoding="utf-8")
        self._headers = headers(self._style)
        self._templates = Environment(
            loader=PackageLoader("operator_server.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    def endpoint(self, work: Callable[[Call], Page]) -> Callable[[Request], Awaitable[Response]]:
        """What a route calls; ``work`` makes the page, on a thread."""

        async def answer(request: Request) -> Response:
            accept = request.headers.get("accept-language", "")
            try:
                self._pace.take(request.client.host if request.client else "")
                body = await posted(request) if request.method == "POST" else b""
                call = Call(
                    request.path_params, request.cookies.get(COOKIE, ""), accept,
                    request.query_params.get("note", "")[:32], body, fields(body),
                )  # fmt: skip
                return await anyio.to_thread.run_sync(self._respond, work, call)
            except Unacceptable as no:
                return self._unacceptable(no, accept)

        return answer

    def _respond(self, work: Callable[[Call], Page], call: Call) -> Response:
        try:
            page = work(call)
        except Closed:
            page = self.message(call, "closed_title", "closed_text", 403)
        except Unacceptable as no:
            return self._unacceptable(no, call.accept)
        if page.location:
            response: Response = RedirectResponse(page.location, 303)
            response.headers.update(self._headers)
        else:
            response = self._render(page)
        if page.cookie is not None:
            response.set_cookie(
                COOKIE, page.cookie, max_age=self._settings.invitations.session_validity if page.cookie else 0,
                path="/", secure=True, httponly=True, samesite="strict",
            )  # fmt: skip
        return response

    def _render(self, page: Page) -> Response:
        view: View = page.shown["view"]
        operator = self._settings.operator
        html = self._templates.get_template(page.template).render(
            page.shown | {"t": view.text, "lang": view.language, "operator": operator.name, "contact": operator.email},
            style=Markup(self._style),
        )
        return HTMLResponse(html, page.status, self._headers)

    def _unacceptable(self, no: Unacceptable, accept: str) -> Response:
        page = self.message(Call({}, "", accept, ""), no.title, no.reason, no.status)
        response = self._render(page)
        if no.status == 429:
            response.headers["Retry-After"] = "60"
        if no.status in (408, 413):
            response.headers["Connection"] = "close"
        return response

    def view(self, wanted: str, accept: str) -> View:
        """What shows in the language that is wanted, else in one that the browser takes."""
        language = language_of(wanted, accept, self._settings.operator.language)
        return View(self._settings, self._offers, language)

    def message(self, call: Call, title: str, said: str, status: int, *, language: str = "", **shown: Any) -> Page:
        """A page that says something and offers the way on."""
        view = self.view(language, call.accept)
        facts: dict[str, Any] = {"token": "", "openable": False, "go_on": False, "until": "", "back": False} | shown
        text = view.text(said, operator=self._settings.operator.name, until=facts["until"])
        return Page("message.html", {"view": view, "title_key": title, "said": text} | facts, status)
