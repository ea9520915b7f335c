"""Answers that say what went wrong: problem details (RFC 9457), the same for every status."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, JsonValue
from sqlalchemy import Connection, Row, Select
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

MEDIA_TYPE = "application/problem+json"

_log = logging.getLogger(__name__)

TITLES = {
    400: "The request cannot be read",
    401: "Not logged on",
    403: "Not permitted",
    404: "There is no such thing",
    405: "Not a method of this resource",
    406: "Not to be had in this form",
    408: "The request came too slowly",
    409: "Not possible as things are",
    412: "It was changed meanwhile",
    413: "The request is too large",
    415: "Not a kind of content that is taken",
    416: "Not a part of this file",
    422: "Something in the request is wrong",
    428: "A header is missing",
    429: "Too many requests",
    500: "Something failed here",
    503: "Too much to do",
}


class Fault(BaseModel):
    """One thing that is wrong in a request."""

    where: str = Field(description="Parameter, header or key of the body")
    reason: str = Field(description="What is wrong with it")


class ProblemView(BaseModel):
    """What went wrong (RFC 9457), for a program by `type` and for a person by `detail`."""

    type: str = Field(description="What kind of problem it is, a reference to a part of /docs")
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do")
    errors: list[Fault] | None = Field(default=None, description="Every single thing that is wrong, where known")


class Problem(HTTPException):
    """A no: ``detail`` says what is wrong and what to do. May be raised anywhere beneath a route."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Fault] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers) if headers else None)
        self.errors = errors


async def _told(
    request: Request,
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Fault] | None = None,
) -> Response:
    """A page for a browser, problem details for everybody else."""
    page = getattr(request.app.state, "error_page", None)
    path = request.url.path
    if (
        page is None
        or "text/html" not in request.headers.get("accept", "")
        or path.startswith(("/api/", "/repository"))
    ):
        return _response_of(status, detail, headers, errors)
    answer: Response = await page(request, status, detail, headers, errors)
    return answer


def the_row(connection: Connection, query: Select[Any], what: str) -> Row[Any]:
    """The one row that the query finds. Raises :class:`Problem` 404, naming ``what`` there is not."""
    row = connection.execute(query).first()
    if row is None:
        raise Problem(404, f"{what}: there is none")
    return row


def _response_of(
    status: int, detail: str, headers: Mapping[str, str] | None = None, errors: Sequence[Fault] | None = None
) -> Response:
    """The answer for a problem."""
    body: dict[str, Any] = {
        "type": f"/docs#problem-{status}",
        "title": TITLES.get(status, "The request was not done"),
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = [fault.model_dump() for fault in errors]
    told = {"Cache-Control": "no-store", **(headers or {})}
    return JSONResponse(body, status, told, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, JsonValue]]:
    """What the OpenAPI document says of these answers."""
    content: JsonValue = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemView"}}}
    return {status: {"description": TITLES[status], "content": content} for status in sorted(set(statuses))}


def install(app: FastAPI) -> None:
    """Answer every error of the application with problem details."""
    app.add_exception_handler(StarletteHTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    headers = dict(error.headers or {})
    detail, errors = str(error.detail), getattr(error, "errors", None)
    if not isinstance(error, Problem):
        match error.status_code:
            case 404:
                detail = f"{request.url.path}: there is nothing here"
            case 405:
                allowed = _methods(request)
                headers["Allow"] = ", ".join(allowed)
                detail = f"{request.method}: here only {', '.join(allowed)}"
            case 400:
                detail = "the body cannot be read; send JSON in UTF-8"
    return await _told(request, error.status_code, detail, headers, errors)


def _methods(request: Request) -> list[str]:
    """Every method that some route has for the path."""
    found: set[str] = set()
    for route in request.app.router.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= set(getattr(route, "methods", None) or ("GET", "HEAD"))
    return sorted(found)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [
        Fault(where=".".join(str(part) for part in each["loc"]), reason=each["msg"].removeprefix("Value error, "))
        for each in error.errors()
    ]
    detail = "; ".join(f"{fault.where}: {fault.reason}" for fault in faults[:5])
    return await _told(request, 422, detail, errors=faults[:50])


async def _failed(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return await _told(request, 500, "it is in the server's log; nothing was changed")
