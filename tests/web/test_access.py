"""Who gets in, and to what."""

from __future__ import annotations

from datetime import timedelta

import pytest
from operator_samples import House
from starlette.routing import Mount
from web_samples import PASSWORD, Site, problem

from operator_server.audit import entries
from operator_server.people.roles import PERMISSIONS, ROLES
from operator_server.roles.web import WebRole
from operator_server.web.gate import COOKIE, CSRF_HEADER, PUBLIC
from operator_server.web.routes import Guarded

OPEN = {
    "/health", "/health/live", "/health/ready", "/repository/metadata", "/repository/targets", "/logon",
    "/o/{token}", "/o/{token}/again", "/air",
}  # fmt: skip
"""What anybody reaches: health, TUF metadata and packages, the logon page, one-time token pages, the air."""
BY_THEIR_OWN_SESSION = {"/offers", "/offers/quote/{quote}", "/offers/taken/{agreement}"}


def filled(path: str) -> str:
    return "".join("x" if part.startswith("{") else part for part in _parts(path))


def _parts(path: str) -> list[str]:
    parts, rest = [], path
    while "{" in rest:
        before, _, after = rest.partition("{")
        name, _, rest = after.partition("}")
        parts += [before, "{" + name]
    return [*parts, rest]


def test_every_route_of_the_role_names_a_permission_or_is_open_to_everybody(house: House) -> None:
    routes = WebRole(house.operator).app.router.routes
    for route in routes:
        path = route.path  # type: ignore[attr-defined]  # every kind of route has one
        if isinstance(route, Guarded):
            assert route.needs in PERMISSIONS or (route.needs == PUBLIC and path in OPEN), path
        else:
            assert path in OPEN | BY_THEIR_OWN_SESSION, path
            assert isinstance(route, Mount) or path.startswith(("/health", "/o"))
    assert sum(isinstance(route, Guarded) for route in routes) > 20


def test_nobody_gets_beyond_the_gate_without_being_known(site: Site) -> None:
    for route in site.app.router.routes:
        if not isinstance(route, Guarded) or route.needs == PUBLIC:
            continue
        for method in route.methods or ():
            answer = site.stranger.request(method, filled(route.path))
            if route.page and method == "GET":
                assert (answer.status_code, answer.headers["location"]) == (303, "/logon"), route.path
            else:
                assert answer.headers.get("www-authenticate", "").startswith("Bearer"), route.path
                problem(answer, 401)


@pytest.mark.parametrize("role", ROLES)
def test_each_role_reaches_what_its_permissions_name_and_nothing_else(site: Site, role: str) -> None:
    client = site.by(role)
    for route in site.app.router.routes:
        if not isinstance(route, Guarded) or route.needs == PUBLIC or "stream" in route.path:
            continue
        for method in route.methods or ():
            answer = client.request(method, filled(route.path), params={"no-such-parameter": "1"})
            if route.needs in ROLES[role]:
                # Let in, and then told of the parameter, or before that of the body.
                assert answer.status_code in (422, 415), (route.path, answer.text)
            else:
                assert f"lacks the permission {route.needs}" in problem(answer, 403)


@pytest.mark.parametrize("given", ["Bearer nonsense", "Bearer ", "Basic YTpi", "bearer"])
def test_a_wrong_token_is_told_and_no_cookie_helps(site: Site, given: str) -> None:
    client = site.logged_on("support")
    problem(client.get("/api/v1/me", headers={"Authorization": given}), 401)
    assert client.get("/api/v1/me").status_code == 200


def test_a_revoked_token_is_refused(site: Site) -> None:
    client = site.logged_on("billing")
    made = client.post("/api/v1/tokens", json={"label": "export", "scopes": ["read"]}).json()
    bearer = {"Authorization": f"Bearer {made['token']}"}
    assert site.stranger.get("/api/v1/me", headers=bearer).json()["csrf_token"] is None
    assert made["token"] not in client.get("/api/v1/tokens").text
    assert "by a token" in problem(site.stranger.post("/api/v1/tokens", headers=bearer, json={
        "label": "more", "scopes": ["read"]}), 403)  # fmt: skip
    problem(site.by("support").delete(f"/api/v1/tokens/{made['id']}"), 404)
    assert client.delete(f"/api/v1/tokens/{made['id']}").status_code == 204
    problem(client.delete(f"/api/v1/tokens/{made['id']}"), 409)
    problem(site.stranger.get("/api/v1/me", headers=bearer), 401)


def test_a_logon_sets_a_cookie_that_neither_scripts_nor_other_sites_get(site: Site) -> None:
    answer = site.stranger.post("/logon", data={"name": "support", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(COOKIE + "=")
    for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
        assert part in cookie
    assert "Domain" not in cookie


def test_a_session_id_that_was_there_before_the_logon_is_worth_nothing_after_it(site: Site) -> None:
    site.stranger.cookies.set(COOKIE, "chosen-by-somebody-else")
    answer = site.stranger.post("/logon", data={"name": "support", "password": PASSWORD})
    assert "chosen-by-somebody-else" not in answer.headers["set-cookie"]
    fresh = {"Cookie": f"{COOKIE}=chosen-by-somebody-else"}
    problem(Site(site.house).stranger.get("/api/v1/me", headers=fresh), 401)
    first = site.logged_on("support")
    old = first.cookies[COOKIE]
    assert first.post("/logon", data={"name": "support", "password": PASSWORD}).status_code == 303
    assert first.cookies[COOKIE] != old


def test_a_change_by_cookie_needs_the_token_of_this_session_and_a_page_of_ours(site: Site) -> None:
    client, other = site.logged_on("administrator"), site.logged_on("administrator")
    body = {"name": "max", "role": "support"}
    good = client.headers[CSRF_HEADER]
    for headers in (
        {CSRF_HEADER: ""}, {CSRF_HEADER: other.headers[CSRF_HEADER]}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://elsewhere.example"},
    ):  # fmt: skip
        problem(client.post("/api/v1/people", json=body, headers=headers), 403)
    ours = {CSRF_HEADER: good, "Origin": "https://testserver", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/v1/people", json=body, headers=ours).status_code == 201


def test_a_form_of_another_site_neither_logs_on_nor_off(site: Site) -> None:
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    problem(site.stranger.post("/logon", data={"name": "support", "password": PASSWORD}, headers=elsewhere), 403)
    client = site.logged_on("support")
    problem(client.post("/logoff", data={"csrf": "guessed"}), 403)
    assert client.get("/api/v1/me").status_code == 200
    csrf = client.headers[CSRF_HEADER]
    assert client.post("/logoff", data={"csrf": csrf}).status_code == 303
    problem(client.get("/api/v1/me"), 401)


def test_sessions_end_when_idle(site: Site) -> None:
    client = site.logged_on("support")
    site.house.clock.advance(timedelta(minutes=29))
    assert client.get("/api/v1/me").status_code == 200
    site.house.clock.advance(timedelta(minutes=29))
    assert client.get("/api/v1/me").status_code == 200
    site.house.clock.advance(timedelta(minutes=31))
    assert "log on again" in problem(client.get("/api/v1/me"), 401)


def test_logons_are_slowed_by_name_and_by_address(site: Site) -> None:
    tries = [
        site.stranger.post("/logon", data={"name": "support", "password": "wrong"}).status_code for _ in range(6)
    ]  # fmt: skip
    assert tries[0] == 403
    assert tries[-1] == 429
    assert site.stranger.post("/logon", data={"name": "billing", "password": PASSWORD}).status_code == 303
    for name in ("a", "b", "c", "d", "e", "f", "g", "h"):
        answer = site.stranger.post("/logon", data={"name": name, "password": PASSWORD})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "60"


def test_a_one_time_password_leads_to_nothing_but_another_password(site: Site) -> None:
    made = site.by("administrator").post("/api/v1/people", json={"name": "max", "role": "support"}).json()
    client = site.logged_on("max", made["one_time_password"])
    assert client.get("/api/v1/me").json()["must_change_password"] is True
    assert "one logon" in problem(client.get("/api/v1/terminals"), 403)
    csrf = client.headers[CSRF_HEADER]
    form = {"csrf": csrf, "old": made["one_time_password"], "new": PASSWORD, "again": PASSWORD}
    assert client.post("/password", data=form | {"again": "another"}).status_code == 422
    assert client.post("/password", data=form).status_code == 303
    problem(client.get("/api/v1/me"), 401)
    assert site.logged_on("max").get("/api/v1/terminals").status_code == 200


def test_a_password_is_changed_in_a_session_and_ends_it(site: Site) -> None:
    client, path = site.logged_on("support"), "/api/v1/me/password"
    new = "four other plain words"
    problem(site.by("support").put(path, json={"old": PASSWORD, "new": new}), 403)
    problem(client.put(path, json={"old": PASSWORD, "new": "short"}), 422)
    problem(client.put(path, json={"old": "wrong", "new": new}), 409)
    assert client.put(path, json={"old": PASSWORD, "new": new}).status_code == 204
    problem(client.get("/api/v1/me"), 401)
    again = Site(site.house).stranger.post("/logon", data={"name": "support", "password": PASSWORD})
    assert again.status_code in (403, 429)


def test_changes_of_people_are_in_the_trail_with_who_did_them(site: Site) -> None:
    client = site.logged_on("administrator")
    client.post("/api/v1/people", json={"name": "max", "role": "support"})
    tag = client.get("/api/v1/people/max").headers["etag"]
    changed = client.patch("/api/v1/people/max", json={"role": "billing"}, headers={"If-Match": tag})
    assert changed.json()["role"] == "billing"
    with site.house.engine.connect() as connection:
        trail = [(row.actor, row.action, row.before, row.after) for row in entries(connection, reference="person/max")]
    assert trail == [
        ("person:administrator", "person.role", {"role": "support"}, {"role": "billing"}),
        ("person:administrator", "person.create", None, {"role": "support", "status": "active"}),
    ]
    listed = site.by("auditor").get("/api/v1/audit", params={"reference": "person/max"}).json()
    assert [item["action"] for item in listed["items"]] == ["person.role", "person.create"]
