"""The air around a base station: what it broadcasts, and signed messages of mobiles, as MessagePack over HTTP.

Open to everybody: a mobile proves itself by its signature, and home vouches for it.
"""

from __future__ import annotations

from starlette.responses import Response

from operator_server.visited.base_station import BaseStation
from operator_server.web.calls import Call
from operator_server.web.gate import PUBLIC
from operator_server.web.guard import Pace, Unacceptable
from operator_server.web.problems import Problem
from operator_server.web.routes import Routes
from signalling.codes.messages import decode_signed, encode_heard
from signalling.codes.table import CodeError

KIND = "application/msgpack"
MOST_BODY = 64 * 1024

routes = Routes("Air", "/air", in_schema=False)


@routes.get("", needs=PUBLIC)
def overhead(call: Call) -> Response:
    """What the base station broadcasts."""
    _paced(call)
    return Response(encode_heard([BaseStation(call.operator).overhead()]), media_type=KIND)


@routes.post("", needs=PUBLIC, takes=(KIND,), most_body=MOST_BODY, slow=True)
def say(call: Call) -> Response:
    """A signed message of a mobile; what it hears."""
    _paced(call)
    try:
        signed = decode_signed(call.request._body)
    except CodeError as no:
        raise Problem(422, str(no)) from None
    return Response(encode_heard(BaseStation(call.operator).answer(signed)), media_type=KIND)


def _paced(call: Call) -> None:
    state = call.request.app.state
    if not hasattr(state, "air_pace"):
        state.air_pace = Pace(call.operator.settings.web.requests_per_minute)
    pace: Pace = state.air_pace
    try:
        pace.take(call.request.client.host if call.request.client else "")
    except Unacceptable:
        raise Problem(429, "too many messages from this address; wait a little") from None
