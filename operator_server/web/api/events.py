"""The feed of what happens, by pages or as a stream."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Header, Query
from pydantic import BaseModel, Field
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from operator_server.store.parties import Event
from operator_server.store.rows import table
from operator_server.web.calls import Call
from operator_server.web.feed import Hub, stream
from operator_server.web.problems import documented
from operator_server.web.routes import Routes

routes = Routes("Events", "/api/v1/events")

Kinds = Annotated[str, Query(max_length=500, pattern=r"^[a-z_,]*$", description="Only these, separated by commas")]
_WINDOW = 5_000
"""Events that one page looks at when it is to find some kinds alone."""


class EventView(BaseModel):
    """Something that happened."""

    place: int = Field(description="Its place in the feed, which has no gaps and one order for all readers")
    id: str
    at: datetime
    kind: str
    terminal: str | None
    subscriber: str | None
    account: str | None
    reference: str
    data: dict[str, Any]


class EventPage(BaseModel):
    """A stretch of the feed."""

    items: list[EventView]
    after: int = Field(description="Send it as `after` to go on, also where there are no items")
    more: bool = Field(description="Whether there is more already")


@routes.get("", needs="events.read")
def list_events(
    call: Call,
    after: Annotated[int, Query(ge=0, le=2**62, description="Only events behind this place")] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    kinds: Kinds = "",
) -> EventPage:
    """What happened, the oldest first. A page may be short where kinds are named; go on while `more`."""
    event, wanted = table(Event), {kind for kind in kinds.split(",") if kind}
    window = limit if not wanted else _WINDOW
    rows = call.connection.execute(
        select(event).where(event.c.place > after).order_by(event.c.place).limit(window + 1)
    ).all()
    more, rows = len(rows) > window, rows[:window]
    items: list[EventView] = []
    place = after
    for row in rows:
        if len(items) == limit:
            more = True
            break
        place = row.place
        if not wanted or row.kind in wanted:
            items.append(
                EventView(
                    place=row.place, id=row.id, at=row.at, kind=row.kind, terminal=row.terminal_id,
                    subscriber=row.subscriber_id, account=row.account_id, reference=row.reference, data=row.data,
                )
            )  # fmt: skip
    return EventPage(items=items, after=place, more=more)


_HEARD = {
    "type": "object",
    "description": "One event of the stream, by its fields",
    "properties": {
        "id": {"type": "string", "description": "Its place; Last-Event-ID goes on after it"},
        "event": {"type": "string", "description": "Its kind"},
        "data": {"type": "string", "description": "An EventView as JSON"},
    },
}


@routes.get(
    "/stream",
    needs="events.read",
    raw=True,
    response_class=StreamingResponse,
    answers={
        200: {"description": "Server-sent events", "content": {"text/event-stream": {"schema": _HEARD}}},
        **documented(503),
    },
)  # fmt: skip
async def stream_events(
    request: Request,
    last_event_id: Annotated[
        str, Header(max_length=20, pattern=r"^[0-9]*$", description="Place after which to go on; browsers send it")
    ] = "",
    kinds: Kinds = "",
) -> Response:
    """What happens, as it happens; a comment every 15 seconds while nothing does."""
    web, hub = request.app.state.web, _hub(request)
    last = int(last_event_id) if last_event_id else None
    wanted = frozenset(kind for kind in kinds.split(",") if kind)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream(web, hub, request, last, wanted), 200, headers, "text/event-stream")


def _hub(request: Request) -> Hub:
    state = request.app.state
    if not hasattr(state, "hub"):
        state.hub = Hub(state.web)
    hub: Hub = state.hub
    return hub
