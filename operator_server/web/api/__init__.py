"""The HTTP API, a file a resource; :data:`RESOURCES` has the routes of all."""

from __future__ import annotations

from operator_server.web.api import accounts, people, terminals
from operator_server.web.calls import Guarded, Routes

RESOURCES: tuple[Routes, ...] = (people.routes, terminals.routes, accounts.routes)


def routes() -> list[Guarded]:
    """All routes of the API."""
    return [route for resource in RESOURCES for route in resource.routes]
