"""The API does what its OpenAPI document says: whatever is sent, no answer is a failure and none is undocumented.

What the document allows is not refused either, but for what no schema can say (:data:`SAID_ELSEWHERE`): those values
are put in their places before the request is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from operator_samples import MAPS, House, copied
from schemathesis.config._checks import POSITIVE_DATA_ACCEPTANCE_EXPECTED_STATUSES
from starlette.types import Message
from test_console_tariffs import TARIFF, VERSION
from web_dealings import deal
from web_samples import PASSWORD, Site

from operator_server.web import api
from operator_server.web.gate import CSRF_HEADER
from operator_server.web.openapi import document

_app = FastAPI()
_app.router.routes.extend(api.routes())
_sites: list[Site] = []


async def _served(scope: Any, receive: Any, send: Any) -> None:
    """The application of the site at hand: operations are known before there is one.

    Whoever asks for a stream goes away when it has begun.
    """
    begun = asyncio.Event()

    async def told(message: Message) -> None:
        await send(message)
        begun.set()

    async def gone() -> Message:
        await begun.wait()
        return {"type": "http.disconnect"}

    stream = scope["path"].endswith("/stream")
    await _sites[-1].app(scope, gone if stream else receive, told if stream else send)


SCHEMA = schemathesis.openapi.from_dict(document(_app))
SCHEMA.app = _served
OPERATIONS: dict[str, Any] = {
    found.ok().definition.raw["operationId"]: found.ok() for found in SCHEMA.get_all_operations()
}  # fmt: skip


# Whether they were changed since is no matter of form.
SCHEMA.config.checks.positive_data_acceptance.expected_statuses = [
    *POSITIVE_DATA_ACCEPTANCE_EXPECTED_STATUSES, "412",
]  # fmt: skip


def _keys(case: Any, path: dict[str, str], **body: Any) -> None:
    case.path_parameters = {**(case.path_parameters or {}), **path}
    if isinstance(case.body, dict):
        case.body = {**case.body, **body}


COMING = TARIFF.replace("2026-01-01", "2027-01-01")
TRIED = COMING.replace('"calls"', '"games"')
SAID_ELSEWHERE: dict[str, Callable[[Any], None]] = {
    "check_offer": lambda case: _keys(case, {}, toml=MAPS),
    "preview_offer": lambda case: _keys(case, {}, toml=MAPS),
    "publish_offer": lambda case: _keys(case, {"offer": "maps"}, toml=MAPS),
    "check_tariff": lambda case: _keys(case, {}, toml=COMING),
    "publish_tariff": lambda case: _keys(case, {"tariff": "calls"}, toml=COMING),
    "schedule_tariff_version": lambda case: _keys(case, {"tariff": "games"}, toml=VERSION, effective_from="2027-02-01"),
    "simulate_tariff": lambda case: _keys(case, {}, toml=TRIED),
    "start_simulation": lambda case: _keys(case, {}, toml=TRIED),
    # Which currencies there are.
    "create_account": lambda case: _keys(case, {}, currency="EUR"),
    "create_payment": lambda case: _keys(case, {}, currency="EUR"),
}
"""What is sent in the place of a value that is well formed and yet may be none, such as a text that has to be TOML.

A cursor is signed, and an Idempotency-Key is good for one request; both are seen to for all operations.
"""


@pytest.fixture(scope="module")
def site(peopled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    house: House = copied(peopled, tmp_path_factory.mktemp("contract") / "operator")
    deal(house)
    site = Site(house)
    _sites.append(site)
    yield site
    _sites.pop()
    house.engine.dispose()


@pytest.fixture(scope="module")
def headers(site: Site) -> dict[str, dict[str, str]]:
    """What proves who asks: a token; a session where one is needed."""
    client = site.logged_on("administrator", PASSWORD)
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    session = {"Cookie": cookie, CSRF_HEADER: client.headers[CSRF_HEADER]}
    token = {"Authorization": f"Bearer {site.token('administrator')}"}
    return {name: session if name in ("change_my_password", "create_token") else token for name in OPERATIONS}


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_answer_is_one_that_the_document_names(site: Site, headers: Any, name: str) -> None:
    @settings(
        max_examples=15, deadline=None, phases=[Phase.explicit, Phase.generate], derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=OPERATIONS[name].as_strategy())
    def asked(case: Any) -> None:
        if case.meta.generation.mode.is_positive:
            if case.query:
                case.query.pop("cursor", None)
            if case.headers and "idempotency-key" in case.headers:
                case.headers["idempotency-key"] = uuid4().hex
            SAID_ELSEWHERE.get(name, lambda case: None)(case)
        case.validate_response(case.call(headers=headers[name]))

    asked()
