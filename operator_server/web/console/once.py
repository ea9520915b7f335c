"""Forms that move money: sent twice, they move it once."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from http import HTTPStatus

from pydantic import BaseModel
from sqlalchemy import Connection

from operator_server.web.calls import Answer, Call
from operator_server.web.console.base import Moved, moved, posted
from operator_server.web.problems import Problem

_FRESH = re.compile(r"[0-9a-f]{32}\Z")


class _Done(BaseModel):
    url: str
    said: str


def fresh() -> str:
    """The hidden name of a form, in its field ``once``; templates get this function as ``once``."""
    return secrets.token_hex(16)


def once(call: Call, operation: Callable[[Connection, str], Moved]) -> Moved:
    """Do what the form asks for, and answer the same where the same form comes again.

    ``operation`` is given the connection of its transaction and the name under which ledger and books keep it. Raises
    :class:`Problem` where the form was sent before with other content.
    """
    name = posted(call).text("once")
    if not _FRESH.match(name):
        raise Problem(400, "the form lacks its name; load the page again and send it once more")
    kept = "form-" + hashlib.sha256(f"{call.caller.person}\n{name}".encode()).hexdigest()[:32]

    def answer(connection: Connection) -> Answer:
        went = operation(connection, kept)
        return Answer(_Done(url=went.url, said=went.said))

    try:
        response = call.once(f"form-{name}", answer)
    except Problem as no:
        if no.status_code == HTTPStatus.UNPROCESSABLE_ENTITY and str(no.detail).startswith("Idempotency-Key"):
            raise Problem(
                409, "this form was sent before, with other content; load the page again to see what it did"
            ) from None
        raise
    done = _Done.model_validate_json(bytes(response.body))
    repeated = "Idempotent-Replay" in response.headers
    return moved(done.url, f"It was done before: {done.said}" if repeated else done.said)
