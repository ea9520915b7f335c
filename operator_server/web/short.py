"""The short way of reads: a route found by the begin of its path, its parameters read without FastAPI's dependencies.

Whatever is not plain goes the long way, which says what is wrong with it; so both ways give the same answers. Both work
with the same function in the same pool behind the same gate. The short way spares what costs more than the read itself:
a look at every route, and a dozen coroutines for a handful of parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin
from urllib.parse import parse_qsl

from fastapi.params import Depends, Header, Path, Query
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.routing import BaseRoute, Match, Router
from starlette.types import Receive, Scope, Send

PLAIN: dict[Any, Callable[..., Any]] = {}
"""Dependencies of which there is a plain function, with the same parameters."""

_NONE: Mapping[str, str] = {}
_REQUIRED = inspect.Parameter.empty


class _Parameter:
    """One parameter: where it stands, and what it may be."""

    __slots__ = ("default", "given_as", "in_path", "name", "validate")

    def __init__(self, parameter: inspect.Parameter, hint: Any, path: str) -> None:
        extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        field = next((each for each in extras if isinstance(each, Query | Path)), None)
        self.name = parameter.name
        self.given_as = (field.alias if field is not None else None) or parameter.name
        self.in_path = "{" + self.given_as in path
        self.default = parameter.default
        self.validate = TypeAdapter(hint).validate_python


class ShortWay:
    """Reads the parameters of one route."""

    def __init__(self, path: str, own: Sequence[_Parameter], grouped: Mapping[str, tuple[Any, list[_Parameter]]]):
        self._path = path
        self._own = own
        self._grouped = grouped
        every = [*own, *(each for _, group in grouped.values() for each in group)]
        self._known = frozenset(each.given_as for each in every if not each.in_path)

    def arguments(self, scope: Scope) -> dict[str, Any] | None:
        """What the function is called with, ``None`` where the long way is to look. Raises what a group raises."""
        asked = scope["query_string"]
        query = _NONE
        if asked:
            try:
                pairs = parse_qsl(asked.decode("latin-1"), keep_blank_values=True)
            except ValueError:
                return None
            query = dict(pairs)
            if len(query) != len(pairs) or not self._known.issuperset(query):
                return None
        in_path = scope["path_params"]
        try:
            found = {each.name: _value(each, query, in_path) for each in self._own}
            for name, (make, group) in self._grouped.items():
                found[name] = make(**{each.name: _value(each, query, in_path) for each in group})
        except (ValidationError, LookupError):
            return None
        return found


def _value(parameter: _Parameter, query: Mapping[str, str], in_path: Mapping[str, Any]) -> Any:
    given = in_path[parameter.given_as] if parameter.in_path else query.get(parameter.given_as)
    if given is not None:
        return parameter.validate(given)
    if parameter.default is _REQUIRED:
        raise LookupError(parameter.name)
    return parameter.default


def short_way(path: str, function: Callable[..., Any], hints: Mapping[str, Any]) -> ShortWay | None:
    """The short way to a function that reads, ``None`` where it takes more than path, query and :data:`PLAIN`."""
    own: list[_Parameter] = []
    grouped: dict[str, tuple[Any, list[_Parameter]]] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        hint = hints[parameter.name]
        kind, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        depends = next((each for each in extras if isinstance(each, Depends)), None)
        if depends is not None:
            plain = PLAIN.get(depends.dependency)
            if plain is None:
                return None
            inner = inspect.get_annotations(plain, eval_str=True)
            parts = inspect.signature(plain).parameters.values()
            grouped[parameter.name] = (plain, [_Parameter(each, inner[each.name], path) for each in parts])
        elif _is_special(kind, extras):
            return None
        else:
            own.append(_Parameter(parameter, hint, path))
    return ShortWay(path, own, grouped)


def _is_special(kind: Any, extras: Sequence[Any]) -> bool:
    if any(isinstance(each, Header) for each in extras) or get_origin(kind) in (list, set, tuple):
        return True
    return inspect.isclass(kind) and issubclass(kind, BaseModel)


class Directory:
    """Finds the routes of reads by the begin of their paths; everything else is the router's own affair."""

    def __init__(self, router: Router, routes: Sequence[BaseRoute]) -> None:
        self._router = router
        self._otherwise = router.middleware_stack
        self._routes: dict[tuple[int, str], list[Any]] = {}
        for route in routes:
            path: str = getattr(route, "path", "{")
            key = _key(path)
            if "GET" in (getattr(route, "methods", None) or ()) and "{" not in key[1] and ":" not in path:
                self._routes.setdefault(key, []).append(route)

    def find(self, scope: Scope) -> tuple[Any, Scope] | None:
        """The route of a read, and what it adds to the scope."""
        for route in self._routes.get(_key(scope["path"]), ()):
            match, child = route.matches(scope)
            if match is Match.FULL:
                return route, child
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go the direct way where there is one."""
        found = self.find(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if found is None:
            await self._otherwise(scope, receive, send)
            return
        route, child = found
        scope["router"] = self._router
        scope.update(child)
        await route.handle(scope, receive, send)


def _key(path: str) -> tuple[int, str]:
    parts = path.split("/", 4)
    return path.count("/"), "/".join(parts[1:4])
