"""Problems as pages: what went wrong in words, and how to mend it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from markupsafe import Markup
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from operator_server.people.sessions import Caller
from operator_server.web.calls import Web
from operator_server.web.console.render import ASSETS, NAVIGATION, PAGE_HEADERS, Entry, known_caller, render
from operator_server.web.guard import headers as style_headers
from operator_server.web.problems import TITLES, Fault, Problem

# Strangers get the style within the page: they may load nothing else.
STYLE = Markup(ASSETS["console.css"].content.decode())
MEND = {
    400: "Go back, load the page again and send the form once more.",
    401: "Log on again; what you had filled in may be lost.",
    403: "Go back, or ask an administrator for the permission.",
    404: "Look for it in its section of the menu; ids are written exactly as they are shown.",
    405: "Open the page from the menu instead.",
    408: "Send it again; if it comes back, the connection is too slow for what is sent.",
    409: "Go back and load the page again to see how things are now.",
    412: "Load the page again, look at what was changed, and decide anew.",
    413: "Go back and send less at once.",
    422: "Go back, correct what is named above, and send it again.",
    429: "Wait a minute before you try again.",
    500: "Try again; if it comes back, the server's log says why.",
    503: "Try again in a moment.",
}


async def error_page(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None, errors: Sequence[Fault] | None
) -> Response:
    """The page of a problem, with the menu of whoever is logged on."""
    caller = known_caller(request)
    if not caller.name and status not in (401, 503):
        # No gate was asked where no route was found.
        with contextlib.suppress(Problem, SQLAlchemyError):
            caller = await _who(request)
    if status == 403 and caller.must_change and request.method == "GET":
        return RedirectResponse("/password", 303)
    if errors and all(fault.where.startswith("path.") for fault in errors):
        status, errors, detail = 404, None, f"{request.url.path}: nothing has such a name"
    bare = {} if caller.name else {"bare_style": STYLE}
    html = render(
        request, caller, "error.html",
        {
            **bare,
            "status": status, "title": TITLES.get(status, "The request was not done"),
            "detail": detail[:1].upper() + detail[1:], "mend": MEND.get(status, ""), "faults": errors or [],
            "section": _section(request, caller),
        },
    )  # fmt: skip
    framed = PAGE_HEADERS if caller.name else style_headers(STYLE)
    return HTMLResponse(html, status, framed | dict(headers or {}))


def _section(request: Request, caller: Caller) -> Entry | None:
    """The part of the console that the address belongs to, where the person may see it."""
    path = request.url.path
    return next(
        (
            entry
            for entry in NAVIGATION
            if entry.path != "/console"
            and f"{path}/".startswith(f"{entry.path}/")
            and entry.needs in caller.permissions
        ),
        None,
    )


async def _who(request: Request) -> Caller:
    web: Web = request.app.state.web
    caller = web.gate.known(request)
    return caller if caller is not None else await web.run(lambda: web.gate.find(request))
