"""Routes of the API and the console, behind the gate.

A route is a plain function that works on the database: it gets a :class:`operator_server.web.calls.Call` and its
parameters, returns a model (or its JSON as bytes, an :class:`operator_server.web.calls.Answer`, or a response) and
raises :class:`operator_server.web.problems.Problem`. It runs in a bounded pool of threads, never on the event loop; the
gate has let the caller in before.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar, get_type_hints

from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from operator_server.people.sessions import Caller
from operator_server.web.calls import NOBODY, Answer, Call, Web, etag_of, tags_of
from operator_server.web.gate import PUBLIC, SAFE, check_origin, permit, read_body
from operator_server.web.problems import Problem, documented
from operator_server.web.short import ShortWay, short_way

MOST_BODY = 256 * 1024
JSON_ONLY = ("application/json",)

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class Guarded(APIRoute):
    """A route behind the gate. ``needs``: a permission or ``PUBLIC``. A ``page`` sends strangers to the logon."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        needs: str,
        page: bool = False,
        takes: tuple[str, ...] = JSON_ONLY,
        most_body: int = MOST_BODY,
        short: ShortWay | None = None,
        work: Callable[..., Coroutine[Any, Any, Response]] | None = None,
        **options: Any,
    ) -> None:
        self.needs = needs
        self.page = page
        self._takes = takes
        self._most_body = most_body
        self.short = short
        self._work = work
        super().__init__(path, endpoint, **options)
        self._query = {
            each.alias for dependant in _dependants(self.dependant) for each in dependant.query_params
        }  # fmt: skip

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            web: Web = request.app.state.web
            try:
                request.state.caller = await self._admit(web, request)
            except Problem as no:
                if self.page and no.status_code == 401 and request.method in SAFE:
                    return RedirectResponse("/logon", 303)
                raise
            if request.method not in SAFE:
                await read_body(request, self._takes, self._most_body)
            unknown = sorted(set(request.query_params) - self._query)
            if unknown:
                known = ", ".join(sorted(self._query)) or "none"
                raise Problem(422, f"query parameter {unknown[0]!r}: there is none of this name; there are: {known}")
            return await handle(request)

        return guarded

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, the short way where there is one and the request is plain."""
        if self.short is not None and self._work is not None and scope["method"] == "GET":
            arguments = self.short.arguments(scope)
            if arguments is not None:
                request = Request(scope, receive, send)
                request.state.caller = await self._admit(request.app.state.web, request)
                response = await self._work(request, arguments)
                await response(scope, receive, send)
                return
        await super().handle(scope, receive, send)

    async def _admit(self, web: Web, request: Request) -> Caller:
        if self.needs == PUBLIC:
            check_origin(request, None)
            return NOBODY
        caller = web.gate.known(request)
        if caller is None:
            caller = await web.run(lambda: web.gate.find(request))
        permit(caller, self.needs)
        if not self.page:
            check_origin(request, caller)
        return caller


def _dependants(dependant: Any) -> list[Any]:
    found = [dependant]
    for each in dependant.dependencies:
        found += _dependants(each)
    return found


class Routes:
    """The routes of one resource: ``@routes.get("/{id}", needs="terminals.read")``."""

    def __init__(self, tag: str, prefix: str = "", *, in_schema: bool = True) -> None:
        self.tag = tag
        self.routes: list[Guarded] = []
        self._prefix = prefix
        self._in_schema = in_schema

    def get(self, path: str = "", *, needs: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A route that reads."""
        return self._add("GET", path, needs, **options)

    def post(self, path: str = "", *, needs: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A route that makes or does something."""
        return self._add("POST", path, needs, **options)

    def put(self, path: str = "", *, needs: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A route that puts something in place."""
        return self._add("PUT", path, needs, **options)

    def patch(self, path: str = "", *, needs: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A route that changes parts."""
        return self._add("PATCH", path, needs, **options)

    def delete(self, path: str = "", *, needs: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A route that ends something."""
        return self._add("DELETE", path, needs, **options)

    def _add(
        self,
        method: str,
        path: str,
        needs: str,
        *,
        status: int = 200,
        problems: Sequence[int] = (),
        answers: Mapping[int, Mapping[str, Any]] | None = None,
        model: Any = None,
        raw: bool = False,
        slow: bool = False,
        **options: Any,
    ) -> Callable[[Endpoint], Endpoint]:
        """``model``: of the answer where the function does not return it itself; ``raw``: the function is async.

        ``slow``: it draws documents or the like, and is worked on in a pool of its own.
        """

        def register(function: Endpoint) -> Endpoint:
            hints = get_type_hints(function, include_extras=True)
            returned = model or hints.get("return")
            is_model = inspect.isclass(returned) and issubclass(returned, BaseModel)
            usual = {422, 503} | (set() if needs == PUBLIC else {401, 403})
            usual |= {404} if "{" in self._prefix + path else set()
            usual |= set() if method == "GET" else {400, 408, 413, 415}
            responses: dict[int | str, dict[str, Any]] = {**documented(*usual, *problems)}
            for code, answer in (answers or {}).items():
                responses[code] = dict(answer)
            work = None if raw else _work(function, status, slow)
            plain = method == "GET" and work is not None and not options.get("page")
            self.routes.append(
                Guarded(
                    self._prefix + path,
                    function if work is None else _endpoint(function, hints, work),
                    needs=needs,
                    work=work,
                    short=short_way(self._prefix + path, function, hints) if plain else None,
                    methods=[method],
                    tags=[self.tag],
                    status_code=status,
                    response_model=returned if is_model else None,
                    responses=responses,
                    openapi_extra={"x-permission": needs},
                    include_in_schema=self._in_schema,
                    operation_id=function.__name__,
                    summary=(function.__doc__ or function.__name__).partition("\n")[0].rstrip("."),
                    description=inspect.cleandoc(function.__doc__ or ""),
                    **options,
                )
            )
            return function

        return register


def _work(
    function: Callable[..., Any], status: int, slow: bool
) -> Callable[[Request, dict[str, Any]], Coroutine[Any, Any, Response]]:
    """What calls ``function`` in the pool."""

    async def work(request: Request, arguments: dict[str, Any]) -> Response:
        web: Web = request.app.state.web

        def called() -> Response:
            call = Call(web, request, request.state.caller)
            try:
                return _response(function(call, **arguments), request, status)
            finally:
                call.close()

        return await web.run(called, pool="slow" if slow else "quick")

    return work


def _endpoint(
    function: Callable[..., Any],
    hints: Mapping[str, Any],
    work: Callable[[Request, dict[str, Any]], Coroutine[Any, Any, Response]],
) -> Callable[..., Any]:
    """What FastAPI calls: it takes the parameters of ``function``, with the request in the place of its call."""
    first, *rest = inspect.signature(function).parameters.values()

    @functools.wraps(function)
    async def endpoint(**arguments: Any) -> Response:
        return await work(arguments.pop(first.name), arguments)

    parameters = [first.replace(annotation=Request, kind=inspect.Parameter.KEYWORD_ONLY)]
    for each in rest:
        parameters.append(each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY))
    endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what FastAPI reads
    return endpoint


def _response(result: Any, request: Request, status: int) -> Response:
    if isinstance(result, Response):
        return result
    headers: dict[str, str] = {"Cache-Control": "no-store"}
    if isinstance(result, Answer):
        headers.update(result.headers)
        status, result = result.status, result.content
    if result is None:
        return Response(status_code=status, headers=headers)
    body = result if isinstance(result, bytes) else result.model_dump_json(by_alias=True).encode()
    if status == 200:
        headers["ETag"] = etag_of(body)
        headers["Cache-Control"] = "private, no-cache"
        wanted = request.headers.get("if-none-match")
        if request.method == "GET" and wanted and headers["ETag"] in tags_of(wanted):
            return Response(status_code=304, headers=headers)
    return Response(body, status, headers, "application/json")
