"""The audit trail in the console: who, what, when, and what differs."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_samples import NOW
from sqlalchemy import Connection
from starlette.testclient import TestClient
from web_samples import Site

from operator_server.audit import audited
from operator_server.people.roles import ROLES
from operator_server.web.console.audit_data import Difference, _flat, differences

HTML = {"Accept": "text/html"}
BAD = "<script>alert(1)</script>"


def write(connection: Connection) -> None:
    for day in range(6):
        at = NOW + timedelta(days=day)
        audited(
            connection, "person:anna" if day % 2 else "cli:root", f"account.set{day}", f"account/A-{day % 3}",
            {"limit": "1.00", "name": "Anna", "taxes": {"status": ""}},
            {"limit": f"{day}.00", "name": "Anna", "taxes": {"status": "exempt"}}, at,
        )  # fmt: skip


@pytest.fixture
def client(site: Site) -> TestClient:
    client = site.logged_on("auditor")
    site.house.change(write)
    return client


def days(client: TestClient, **asked: str) -> list[int]:
    page = client.get("/console/audit", params=asked, headers=HTML)
    assert page.status_code == 200, page.text
    return [int(day) for day in re.findall(r">account\.set(\d)<", page.text)]


def test_changes_are_found_by_who_what_and_when(client: TestClient) -> None:
    assert days(client) == [5, 4, 3, 2, 1, 0]
    assert days(client, who="anna") == days(client, who="person:anna") == [5, 3, 1]
    assert days(client, what="account/A-1") == [4, 1]
    assert days(client, what="account.set4") == [4]
    assert days(client, **{"from": "2026-11-03", "to": "2026-11-04"}) == [2, 1]
    assert days(client, who="anna", **{"from": "2026-11-04"}) == [5, 3]
    assert days(client, who="nobody") == []


def test_a_date_that_is_none_is_told_beside_its_field(client: TestClient) -> None:
    page = client.get("/console/audit", params={"from": "yesterday"}, headers=HTML)
    assert page.status_code == 422
    assert 'id="from-error">A date is written like' in page.text


def test_what_differs_is_shown_and_the_rest_is_not(client: TestClient) -> None:
    page = client.get("/console/audit", params={"what": "account.set4"}, headers=HTML).text
    assert '<del class="gone">1.00</del>' in page
    assert '<ins class="new">4.00</ins>' in page
    assert "taxes.status" in page
    assert "Anna" not in page
    assert 'href="/console/accounts/A-1"' in page


def test_a_value_that_comes_or_goes_has_one_side() -> None:
    assert differences(None, {"a": 1}) == [Difference("a", None, "1")]
    assert differences({"a": {"b": [1]}, "c": "x"}, {"c": "x"}) == [Difference("a.b", "[1]", None)]
    assert differences({"a": 1}, {"a": 1}) == []


values = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.dictionaries(st.text("abc", min_size=1), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1), values), st.dictionaries(st.text("abc", min_size=1), values))
def test_differences_lead_from_before_to_after(before: dict[str, object], after: dict[str, object]) -> None:
    state = _flat(before)
    for each in differences(before, after):
        assert state.get(each.name) == each.before != each.after
        if each.after is None:
            del state[each.name]
        else:
            state[each.name] = each.after
    assert state == _flat(after)


@pytest.mark.parametrize("role", ROLES)
def test_only_who_may_read_it_does(site: Site, role: str) -> None:
    answer = site.logged_on(role).get("/console/audit", headers=HTML)
    assert answer.status_code == (200 if "audit.read" in ROLES[role] else 403)


def test_what_was_written_is_shown_as_text(client: TestClient, site: Site) -> None:
    site.house.change(lambda c: audited(c, f"person:{BAD}", "x", f"account/{BAD}", {BAD: BAD}, {BAD: BAD * 2}, NOW))
    page = client.get("/console/audit", headers=HTML).text
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;") >= 5


def test_a_link_to_what_was_changed_stays_in_the_console(client: TestClient, site: Site) -> None:
    site.house.change(lambda c: audited(c, "x", "x", 'offer/"onclick="alert(1)', {}, {}, NOW))
    page = client.get("/console/audit", headers=HTML).text
    assert 'onclick="alert' not in page
