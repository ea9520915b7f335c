"""The HTTP API, a file a resource; :data:`RESOURCES` has the routes of all."""

from __future__ import annotations

from operator_server.web.air import routes as air_routes
from operator_server.web.api import (
    accounts,
    claims,
    dealings,
    events,
    health,
    invoices,
    money,
    months,
    offers,
    people,
    roaming,
    terminals,
    tmf,
)
from operator_server.web.calls import Guarded, Routes

RESOURCES: tuple[Routes, ...] = (
    terminals.routes,
    offers.routes,
    dealings.routes,
    dealings.tariff_routes,
    accounts.routes,
    invoices.routes,
    money.routes,
    months.routes,
    claims.routes,
    events.routes,
    people.routes,
    roaming.routes,
    tmf.routes,
    health.routes,
    air_routes,
)


def routes() -> list[Guarded]:
    """All routes of the API."""
    return [route for resource in RESOURCES for route in resource.routes]
