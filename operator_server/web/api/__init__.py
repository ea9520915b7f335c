"""The HTTP API, a file a resource; :data:`RESOURCES` has the routes of all."""

from __future__ import annotations

from operator_server.web.air import routes as air_routes
from operator_server.web.api import (
    accounts,
    agreements,
    charges,
    claims,
    dispatches,
    events,
    health,
    invoices,
    jobs,
    money,
    months,
    offers,
    people,
    roaming,
    tariffs,
    terminals,
    tmf,
    tones,
)
from operator_server.web.routes import Guarded, Routes

RESOURCES: tuple[Routes, ...] = (
    terminals.routes,
    tones.routes,
    offers.routes,
    agreements.routes,
    charges.routes,
    tariffs.routes,
    accounts.routes,
    invoices.routes,
    money.routes,
    months.routes,
    dispatches.routes,
    jobs.routes,
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
