"""The console: pages for operators and billing staff, made on the server.

To add a page:

1. Permission: choose one of :data:`operator_server.people.roles.PERMISSIONS`; each page and each form names its own.
2. Data: a plain function of a connection (and ``now``), in ``SECTION_data.py``, that knows nothing of HTTP.
3. View: in ``SECTION.py``, a function that takes a :class:`operator_server.web.calls.Call` and its parameters, under
   ``@section.page("/{offer}", needs="offers.read")``; parameters are declared as in FastAPI (``PageOf`` for a part of
   a long list, read by :func:`operator_server.web.console.base.listing`). It returns ``show("offers_one.html", ...)``
   and runs in the pool of threads, so it may block on the database (``call.connection``).
4. Form: ``@section.form("/{offer}/withdraw", needs="offers.write")``; ``posted(call)`` has its fields, ``call.write``
   the transaction, ``call.audited`` the audit trail; it returns ``moved("/console/offers", "It is withdrawn.")``, or
   ``show(..., 422)`` with the errors beside their fields. The CSRF token is checked before the function is called;
   ``{{ form(...) }}`` of ``macros.html`` sends it.
5. Template: ``templates/console/SECTION_page.html``, which extends ``base.html`` and uses ``macros.html``. No style and
   no script stands in a page: the browser would refuse it.
6. What goes wrong: raise :class:`operator_server.web.problems.Problem`; a browser gets a page with its words.
7. Test: each role, the empty state, text with ``<script>`` in it, the form without its CSRF token.

Sections stand in :data:`SECTIONS`; one without a page is not in the navigation.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from starlette.responses import RedirectResponse, Response

from operator_server.people.roles import SELF
from operator_server.web.calls import Call
from operator_server.web.console import accounts, audit, invoices, months, offers, overview, roaming, tariffs, terminals
from operator_server.web.console.base import HOME, Section
from operator_server.web.console.render import ASSETS, NAVIGATION, Entry
from operator_server.web.problems import Problem
from operator_server.web.routes import Guarded, Routes

SECTIONS: tuple[Section, ...] = (
    overview.section,
    terminals.section,
    offers.section,
    tariffs.section,
    accounts.section,
    invoices.section,
    months.section,
    roaming.section,
    audit.section,
)

own = Routes("Console", in_schema=False)


@own.get("/", needs=SELF, page=True)
def root(call: Call) -> Response:
    """The way to the console."""
    return RedirectResponse(HOME, 303)


@own.get("/console/assets/{digest}/{name}", needs=SELF)
def asset(
    call: Call, digest: Annotated[str, Path(max_length=64)], name: Annotated[str, Path(max_length=64)]
) -> Response:
    """Style and script of the pages."""
    kept = ASSETS.get(name)
    if kept is None:
        raise Problem(404, "there is no such file; load the page again")
    return Response(
        kept.content, headers={"Cache-Control": "private, max-age=31536000, immutable"}, media_type=kept.kind
    )


def routes() -> list[Guarded]:
    """All routes of the console."""
    return [route for part in (own, *SECTIONS) for route in part.routes]


NAVIGATION[:] = [Entry(section.title, section.path, section.needs) for section in SECTIONS if section.routes]
