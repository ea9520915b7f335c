"""A process makes at its start what its first requests would wait for."""

from __future__ import annotations

import pytest
from web_samples import Site

from operator_server.roles.web import WebRole
from operator_server.web.console import overview
from operator_server.web.warm import warm


def test_the_overview_and_the_description_are_made_before_anybody_asks(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    told = overview._told

    def noted(call: overview.Call) -> dict[str, object]:
        asked.append(call.caller.name)
        return told(call)

    monkeypatch.setattr(overview, "_told", noted)
    assert site.app.openapi_schema is None
    warm(site.app)
    assert asked == ["start"]
    assert site.app.openapi_schema is not None


def test_a_role_warms_up_takes_work_over_and_leaves_its_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    role = WebRole(site.house.operator)
    done: list[str] = []
    monkeypatch.setattr(role._jobs, "release", lambda: done.append("released"))
    role.start()
    role.stop()
    assert role.app.openapi_schema is not None
    assert done == ["released"]
