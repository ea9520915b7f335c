"""What the first requests of a process would wait for, made ready at its start: statements, templates, descriptions."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request

from operator_server.people.roles import PERMISSIONS
from operator_server.people.sessions import Caller
from operator_server.web import openapi
from operator_server.web.calls import Call, Web
from operator_server.web.console import overview
from operator_server.web.console.render import render

NOBODY_YET = Caller("", "start", "administrator", PERMISSIONS, "system")


def warm(app: FastAPI) -> None:
    """Make the overview once, for nobody, and the description of the API. Blocks on the database."""
    web: Web = app.state.web
    scope = {"type": "http", "method": "GET", "path": "/console", "headers": [], "query_string": b"", "app": app}
    call = Call(web, Request(scope), NOBODY_YET)
    try:
        view = overview.overview(call)
        render(call.request, call.caller, view.template, view.data)
    finally:
        call.close()
    openapi.document(app)
