"""What is served over HTTP: the repository's bytes with ranges, whether the server is well, the API and the pages."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread
from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from operator_server.web import api, console, logon_page, openapi, problems
from operator_server.web.calls import Web
from operator_server.web.console.errors import error_page
from operator_server.web.jobs import Jobs
from operator_server.web.metrics import Measured, Metrics
from operator_server.web.pace import LogonPaces
from operator_server.web.short import Directory
from operator_server.web.works import KINDS

_TIMESTAMP = "timestamp.json"
_VERSIONED = re.compile(r"(?:.*/)?(?:[0-9]+|[0-9a-f]{64})\.[^/]+")


def create_app(repository_dir: Path, pages: Sequence[BaseRoute] = (), web: Web | None = None) -> FastAPI:
    """The web application over a repository folder with ``metadata`` and ``targets`` in it, and the routes of pages.

    ``/repository/metadata/...`` and ``/repository/targets/...`` answer GET and HEAD, single and several ranges and
    If-Range (RFC 9110, section 14); ``/health`` answers 200, or 503 while no repository can be served. With ``web``
    there are also the API, its description and the logon. ``pages`` are open to everybody.
    """
    app = FastAPI(title="Tollgate", docs_url=None, redoc_url=None, openapi_url=None)
    app.router.redirect_slashes = False
    problems.install(app)

    @app.get("/health")
    def health() -> JSONResponse:
        if (repository_dir / "metadata" / _TIMESTAMP).is_file():
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "unavailable", "reason": "no repository is published"}, status_code=503)

    for part in ("metadata", "targets"):
        app.mount(f"/repository/{part}", RepositoryFiles(directory=repository_dir / part, check_dir=False))
    app.router.routes.extend(pages)
    if web is not None:
        app.state.web = web
        app.state.logon_paces = LogonPaces(web.operator.engine, web.operator.settings.web.logons_per_minute)
        for routes in (openapi.routes, logon_page.routes):
            app.router.routes.extend(routes.routes)
        app.router.routes.extend(api.routes())
        app.router.routes.extend(console.routes())
        app.state.error_page = error_page
        app.state.metrics = Metrics(web)
        app.state.jobs = Jobs(web.operator, KINDS)
        app.router.middleware_stack = Directory(app.router, app.router.routes)
        app.add_middleware(Measured, metrics=app.state.metrics)
        app.add_middleware(SafeAnswers, over_tls=web.operator.settings.web.tls)
    return app


class SafeAnswers:
    """Headers that let a browser do nothing with an answer but what it is for; those that are there already stay."""

    def __init__(self, app: ASGIApp, over_tls: bool) -> None:
        self._app = app
        always = {
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        if over_tls:
            always["Strict-Transport-Security"] = "max-age=31536000"
        self._raw = [(name.lower().encode(), value.encode()) for name, value in always.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"] = list(message.get("headers", ()))
                there = {name.lower() for name, _ in headers}
                headers += [each for each in self._raw if each[0] not in there]
            await send(message)

        await self._app(scope, receive, answer)


class RepositoryFiles(StaticFiles):
    """Files of the repository. Names that begin with a dot are work in progress and do not exist for a client."""

    async def check_config(self) -> None:
        """Nothing is checked: the repository may be created while the server runs."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        if any(part.startswith(".") for part in Path(path).parts):
            raise HTTPException(status_code=404)
        if path == _TIMESTAMP and scope["method"] in ("GET", "HEAD"):
            return await self._timestamp(scope)
        # A range in other units than bytes is to be ignored, not refused (RFC 9110, section 14.2).
        scope["headers"] = [(name, value) for name, value in scope["headers"]
                            if name != b"range" or value.strip().lower().startswith(b"bytes=")]  # fmt: skip
        return await super().get_response(path, scope)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        # Package bytes may be anything; no client is to render or run them.
        response.headers["Content-Type"] = "application/octet-stream"
        if _VERSIONED.fullmatch(str(full_path)):
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    async def _timestamp(self, scope: Scope) -> Response:
        """The one file that is replaced: read whole, so that its length and its bytes are of one version."""
        full_path, found = await anyio.to_thread.run_sync(self.lookup_path, _TIMESTAMP)
        if found is None:
            raise HTTPException(status_code=404)
        content = await anyio.to_thread.run_sync(Path(full_path).read_bytes)
        headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        return Response(content, media_type="application/json", headers=headers)
