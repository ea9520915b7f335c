"""Templates of the console: the frame around each page, its words for times and amounts, its style and script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request

from operator_server.people.sessions import Caller
from operator_server.web.calls import NOBODY, Web
from operator_server.web.gate import csrf_token
from signalling.money import format_micros

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "X-Robots-Tag": "noindex, nofollow",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages load; its address holds its digest, so that it may be kept for ever."""

    content: bytes
    kind: str
    url: str


def _asset(name: str, kind: str) -> Asset:
    content = (files("operator_server.web") / "static" / name).read_bytes()
    return Asset(content, kind, f"/console/assets/{sha256(content).hexdigest()[:16]}/{name}")


ASSETS = {
    "console.css": _asset("console.css", "text/css; charset=utf-8"),
    "console.js": _asset("console.js", "text/javascript; charset=utf-8"),
    "icon.svg": _asset("icon.svg", "image/svg+xml"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the navigation."""

    title: str
    path: str
    needs: str


NAVIGATION: list[Entry] = []
"""In the order of the menu; filled by :mod:`operator_server.web.console`."""


def money(micros: int, currency: str) -> str:
    """An amount for people: ``4.99 EUR``."""
    return f"{format_micros(micros, currency)} {currency}"


def number(value: int) -> str:
    """A whole number with narrow spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def moment(at: datetime | None, zone: str, otherwise: str = "never") -> str | Markup:
    """An instant on the operator's clock, with the exact one in UTC for machines and as a hint."""
    if at is None:
        return otherwise
    local = at.astimezone(ZoneInfo(zone))
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S} UTC", f"{local:%Y-%m-%d %H:%M}"
    )


def coded(text: str) -> Markup:
    """A text with what stands between back quotes in it as code, such as a command."""
    parts = str(escape(text)).split("`")
    if len(parts) % 2 == 0:
        return Markup("`".join(parts))
    return Markup("".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts)))


def who(actor: str) -> str:
    """An actor as people call them: ``person:erika`` is erika, ``token:ID (erika)`` a token of erika's."""
    kind, _, name = actor.partition(":")
    match kind:
        case "person":
            return name
        case "token":
            return f"{name.partition('(')[2].rstrip(')')}, by token"
        case "cli":
            return f"{name}, by command"
    return actor


def short(code: str | bytes | None, most: int = 12) -> str:
    """The begin of a long code or id."""
    text = code.hex() if isinstance(code, bytes) else code or ""
    return text if len(text) <= most else text[:most] + "\u2026"


_environment = Environment(
    loader=PackageLoader("operator_server.web", "templates/console"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=["jinja2.ext.do"],
)
_environment.filters.update(money=money, number=number, short=short, coded=coded, who=who)
_environment.globals["asset"] = lambda name: ASSETS[name].url


def render(request: Request, caller: Caller, template: str, data: Mapping[str, Any]) -> str:
    """The page as HTML. Besides ``data`` each template knows:

    ``operator``, ``zone``, ``person`` (who looks), ``navigation`` (what they may see), ``here`` (the path), ``csrf``,
    ``may("permission")``, ``when(instant)``.
    """
    web: Web = request.app.state.web
    settings = web.operator.settings.operator
    zone = settings.time_zone
    known = {
        "operator": settings.name,
        "zone": zone,
        "person": caller,
        "here": request.url.path,
        "navigation": []
        if caller.must_change
        else [entry for entry in NAVIGATION if entry.needs in caller.permissions],
        "csrf": csrf_token(caller) if caller.session else "",
        "may": caller.permissions.__contains__,
        "when": lambda at, otherwise="never": moment(at, zone, otherwise),
        "said": None,
    }
    return _environment.get_template(template).render(known | dict(data))


def known_caller(request: Request) -> Caller:
    """Who asks, where the gate let them in."""
    caller: Caller = getattr(request.state, "caller", NOBODY)
    return caller
