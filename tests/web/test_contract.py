"""The API does what its OpenAPI document says: whatever is sent, no answer is a failure and none is undocumented."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from operator_samples import House, copied
from schemathesis.specs.openapi.checks import positive_data_acceptance
from web_dealings import deal
from web_samples import Site

from operator_server.web import api
from operator_server.web.openapi import document

LEFT_OUT = {"stream_events": "it does not end", "change_my_password": "tokens have none", "metrics": "no JSON"}

_app = FastAPI()
_app.router.routes.extend(api.routes())
_sites: list[Site] = []


async def _served(scope: Any, receive: Any, send: Any) -> None:
    """The application of the site at hand: operations are known before there is one."""
    await _sites[-1].app(scope, receive, send)


SCHEMA = schemathesis.openapi.from_dict(document(_app))
SCHEMA.app = _served
OPERATIONS: dict[str, Any] = {
    found.ok().definition.raw["operationId"]: found.ok() for found in SCHEMA.get_all_operations()
}  # fmt: skip


@pytest.fixture(scope="module")
def site(peopled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    house: House = copied(peopled, tmp_path_factory.mktemp("contract") / "operator")
    deal(house)
    site = Site(house)
    _sites.append(site)
    yield site
    _sites.pop()
    house.engine.dispose()


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - set(LEFT_OUT)))
def test_every_answer_is_one_that_the_document_names(site: Site, name: str) -> None:
    # That a cursor is signed, an id known, a TOML text an offer, no schema can say; such requests may be refused.
    headers = {"Authorization": f"Bearer {site.token('administrator')}"}

    @settings(
        max_examples=15, deadline=None, phases=[Phase.explicit, Phase.generate], derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=OPERATIONS[name].as_strategy())
    def asked(case: Any) -> None:
        case.validate_response(case.call(headers=headers), excluded_checks=[positive_data_acceptance])

    asked()


def test_what_is_left_out_is_there() -> None:
    assert set(LEFT_OUT) <= set(OPERATIONS)
