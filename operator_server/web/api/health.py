"""Whether the server is well, and its figures."""

from __future__ import annotations

import shutil

from pydantic import BaseModel, Field
from sqlalchemy import text
from starlette.responses import Response

from operator_server.store.migrate import newest
from operator_server.web.calls import Answer, Call
from operator_server.web.gate import PUBLIC
from operator_server.web.metrics import CONTENT_TYPE, Metrics
from operator_server.web.routes import Routes

routes = Routes("Health")

LEAST_FREE = 512 * 1024 * 1024


class Health(BaseModel):
    """Whether the server is well."""

    status: str = Field(description="ok or unavailable")
    reasons: list[str] = []


_UNAVAILABLE = {503: {"description": "Not ready; the reasons say why", "model": Health}}


@routes.get("/health/live", needs=PUBLIC)
def live(call: Call) -> Health:
    """Whether the process answers."""
    return Health(status="ok")


@routes.get("/health/ready", needs=PUBLIC, answers=_UNAVAILABLE, model=Health)
def ready(call: Call) -> Answer:
    """Whether database, repository and disk are there: what to ask before requests are sent here."""
    reasons = []
    schema = call.connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if schema != newest():
        reasons.append("the database has another schema than this program")
    if not (call.operator.repository_dir / "metadata" / "timestamp.json").is_file():
        reasons.append("no repository is published")
    if shutil.disk_usage(call.operator.data).free < LEAST_FREE:
        reasons.append("the disk is nearly full")
    return Answer(Health(status="unavailable" if reasons else "ok", reasons=reasons), 503 if reasons else 200)


@routes.get(
    "/metrics",
    needs="metrics.read",
    slow=True,
    answers={200: {"description": "Figures for Prometheus", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(call: Call) -> Response:
    """Figures for Prometheus; give it a token with the scope metrics.read."""
    figures: Metrics = call.request.app.state.metrics
    return Response(figures.text(), headers={"Cache-Control": "no-store"}, media_type=CONTENT_TYPE)
