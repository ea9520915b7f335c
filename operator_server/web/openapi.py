"""The API's own description (OpenAPI 3.1), and a page for people made from it; nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from operator_server.people.roles import ROLES, SELF
from operator_server.web.gate import COOKIE, CSRF_HEADER, PUBLIC
from operator_server.web.guard import headers
from operator_server.web.problems import TITLES, ProblemView
from operator_server.web.routes import Guarded, Routes

VERSION = "1"
DESCRIPTION = (
    "The operator's data and all that can be done with it. Amounts are decimal text in major units, instants are UTC "
    "in ISO 8601. Errors are problem details (RFC 9457)."
)

routes = Routes("Description", in_schema=False)

_templates = Environment(
    loader=PackageLoader("operator_server.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
_style = (files("operator_server.web") / "templates" / "reference.css").read_text(encoding="utf-8")


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the application's guarded routes; made once."""
    if app.openapi_schema is None:
        guarded = [route for route in app.router.routes if isinstance(route, Guarded)]
        schema = get_openapi(
            title="Tollgate", version=VERSION, openapi_version="3.1.0", description=DESCRIPTION, routes=guarded
        )
        components = schema.setdefault("components", {})
        components["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "description": "`tollgate token create`"},
            "session": {
                "type": "apiKey", "in": "cookie", "name": COOKIE,
                "description": f"After /logon; changes also need the header {CSRF_HEADER}, which /api/v1/me tells",
            },
        }  # fmt: skip
        schemas = components.setdefault("schemas", {})
        own = ProblemView.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(own.pop("$defs", {}))
        schemas["ProblemView"] = own
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for operation in _operations(schema):
            public = operation["x-permission"] == PUBLIC
            operation["security"] = [] if public else [{"token": []}, {"session": []}]
            for parameter in operation.get("parameters", ()):
                # Where it is missing, the answer is 428 and not the 422 of what else is.
                parameter["required"] = parameter["required"] or parameter["name"] == "if-match"
        app.openapi_schema = schema
    return app.openapi_schema


def _operations(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in schema["paths"].values():
        yield from path.values()


@routes.get("/openapi.json", needs=SELF, raw=True)
async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    return JSONResponse(document(request.app), headers={"Cache-Control": "private, no-cache"})


@routes.get("/docs", needs=SELF, raw=True, page=True)
async def reference(request: Request) -> Response:
    """The API for people to read."""
    schema = document(request.app)
    by_tag: dict[str, list[dict[str, Any]]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            roles = [role for role, held in ROLES.items() if operation["x-permission"] in held]
            entry = {"path": path, "method": method.upper(), "roles": roles, "takes": _takes(operation), **operation}
            by_tag.setdefault(operation["tags"][0], []).append(entry)
    html = _templates.get_template("reference.html").render(
        schema=schema, by_tag=by_tag, problems=TITLES, style=Markup(_style), name_of=_name_of, kind_of=_kind_of
    )
    return HTMLResponse(html, headers=headers(_style))


def _takes(operation: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    return next((_name_of(each.get("schema", {})) for each in content.values()), "")


def _name_of(schema: dict[str, Any]) -> str:
    """The name of the schema that is referred to."""
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _kind_of(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return _name_of(schema)
    if "anyOf" in schema:
        return " or ".join(_kind_of(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(each) or '""' for each in schema["enum"])
    kind = str(schema.get("format") or schema.get("type", "any"))
    return f"list of {_kind_of(schema.get('items', {}))}" if kind == "array" else kind
