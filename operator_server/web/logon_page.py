"""Logging on and off at a browser, and choosing a password: plain forms, without script."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from operator_server.people.passwords import SHORTEST, UnfitPassword
from operator_server.people.persons import PersonError, change_password
from operator_server.people.roles import SELF
from operator_server.people.sessions import Caller, log_off, log_on
from operator_server.store.store import transact
from operator_server.web.calls import Web
from operator_server.web.console.errors import STYLE
from operator_server.web.console.render import PAGE_HEADERS, known_caller, render
from operator_server.web.gate import COOKIE, PUBLIC, check_origin
from operator_server.web.guard import Unacceptable, fields, headers
from operator_server.web.pace import LogonPaces
from operator_server.web.problems import Problem
from operator_server.web.routes import Routes

FORM = ("application/x-www-form-urlencoded",)
MOST_BODY = 4_096
AFTER_LOGON = "/console"

routes = Routes("Logon", in_schema=False)


def _page(request: Request, template: str, status: int = 200, **shown: Any) -> Response:
    caller = known_caller(request)
    bare = {} if caller.name else {"bare_style": STYLE}
    html = render(request, caller, template, {"shortest": SHORTEST, **bare, **shown})
    return HTMLResponse(html, status, PAGE_HEADERS if caller.name else headers(STYLE))


def _set_cookie(response: Response, secret: str, seconds: int) -> Response:
    response.set_cookie(COOKIE, secret, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")
    return response


def _form(request: Request) -> dict[str, str]:
    try:
        return fields(request._body)
    except Unacceptable:
        raise Problem(400, "the form cannot be read") from None


@routes.get("/logon", needs=PUBLIC, raw=True)
async def logon_page(request: Request) -> Response:
    """The form to log on."""
    return _page(request, "logon.html", problem="", name="")


@routes.post("/logon", needs=PUBLIC, raw=True, takes=FORM, most_body=MOST_BODY)
async def logon(request: Request) -> Response:
    """Log on: a new session, whatever cookie came with the request."""
    web: Web = request.app.state.web
    given = _form(request)
    name, password = given.get("name", "").strip()[:64], given.get("password", "")[:256]
    settings, now = web.operator.settings.web, web.operator.clock.now()
    validity = timedelta(seconds=settings.session_validity)
    paces: LogonPaces = request.app.state.logon_paces
    address = request.client.host if request.client else ""

    def tried() -> str | None:
        paces.take(address, name, now)
        return log_on(web.operator.engine, name, password, now, validity)

    try:
        secret = await web.run(tried, pool="logon")
    except Problem as no:
        if no.status_code != 429:
            raise
        response = _page(request, "logon.html", 429, problem=no.detail, name=name)
        response.headers["Retry-After"] = "60"
        return response
    if secret is None:
        said = "Name and password do not fit, or the user is disabled."
        return _page(request, "logon.html", 403, problem=said, name=name)
    return _set_cookie(RedirectResponse(AFTER_LOGON, 303), secret, settings.session_validity)


@routes.post("/logoff", needs=SELF, raw=True, page=True, takes=FORM, most_body=MOST_BODY)
async def logoff(request: Request) -> Response:
    """End the session."""
    web: Web = request.app.state.web
    caller: Caller = request.state.caller
    check_origin(request, caller, token=_form(request).get("csrf", ""))
    now = web.operator.clock.now()
    await web.run(lambda: transact(web.operator.engine, lambda connection: log_off(connection, caller, now)))
    web.gate.forget()
    return _set_cookie(RedirectResponse("/logon", 303), "", 0)


@routes.get("/password", needs=SELF, raw=True, page=True)
async def password_page(request: Request) -> Response:
    """The form to choose a password."""
    return _page(request, "password.html", problem="")


@routes.post("/password", needs=SELF, raw=True, page=True, takes=FORM, most_body=MOST_BODY)
async def choose_password(request: Request) -> Response:
    """Choose a password; then log on with it."""
    web: Web = request.app.state.web
    caller: Caller = request.state.caller
    given = _form(request)
    check_origin(request, caller, token=given.get("csrf", ""))
    paces: LogonPaces = request.app.state.logon_paces
    problem = "" if given.get("new") == given.get("again") else "The two new passwords differ."
    if not problem:
        now, old, new = web.operator.clock.now(), given.get("old", "")[:256], given.get("new", "")

        def change() -> None:
            paces.take("", caller.name, now)
            change_password(web.operator.engine, caller.name, old, new, now)

        try:
            await web.run(change, pool="logon")
        except (PersonError, UnfitPassword) as no:
            problem = str(no)
    if problem:
        return _page(request, "password.html", 422, problem=problem)
    web.gate.forget()
    return _set_cookie(RedirectResponse("/logon", 303), "", 0)
