"""The frame of the console: who sees what, how problems look, that forms need their token."""

from __future__ import annotations

import re

import pytest
from web_samples import PASSWORD, Site

from operator_server.people.roles import ROLES
from operator_server.web.console import SECTIONS, overview
from operator_server.web.console.render import ASSETS, coded, who
from operator_server.web.gate import COOKIE

HTML = {"Accept": "text/html"}


@pytest.mark.parametrize("role", ROLES)
def test_the_menu_has_what_the_role_may_see_and_each_entry_opens(site: Site, role: str) -> None:
    client = site.logged_on(role)
    page = client.get("/console", headers=HTML)
    assert page.status_code == 200, page.text
    menu = set(re.findall(r'<li><a href="(/console[^"]*)"', page.text))
    assert menu == {section.path for section in SECTIONS if section.routes and section.needs in ROLES[role]}
    for path in menu:
        answer = client.get(path, headers=HTML)
        assert answer.status_code == 200, path
        assert answer.text.count("<h1") == 1
        assert 'aria-current="page"' in answer.text


@pytest.mark.parametrize("role", ROLES)
def test_what_the_role_may_not_see_is_told_in_a_page(site: Site, role: str) -> None:
    client = site.logged_on(role)
    for section in SECTIONS:
        if section.routes and section.needs not in ROLES[role]:
            answer = client.get(section.path, headers=HTML)
            assert answer.status_code == 403
            assert f"lacks the permission {section.needs}" in answer.text
            assert '<a class="button" href="/console">' in answer.text


def test_strangers_are_sent_to_the_logon_and_from_there_to_the_console(site: Site) -> None:
    for path in ("/", "/console", "/console/terminals"):
        assert site.stranger.get(path, headers=HTML).headers["location"] == "/logon"
    answer = site.stranger.post("/logon", data={"name": "support", "password": PASSWORD})
    assert answer.headers["location"] == "/console"
    assert site.logged_on("support").get("/").headers["location"] == "/console"


def test_strangers_get_no_asset_and_their_error_pages_load_nothing(site: Site) -> None:
    assert site.stranger.get(ASSETS["console.css"].url).status_code == 401
    answer = site.stranger.get("/nowhere", headers=HTML)
    assert answer.status_code == 404
    assert "there is nothing here" in answer.text
    assert not re.search(r'(src|href)="(?!/logon|#main)', answer.text)
    assert "style-src 'sha256-" in answer.headers["content-security-policy"]


def test_an_unknown_address_is_told_inside_the_usual_frame(site: Site) -> None:
    client = site.logged_on("billing")
    for path in ("/nowhere", "/console/nowhere", "/console/terminals/a/b/c", "/console/terminals/%20"):
        answer = client.get(path, headers=HTML)
        assert answer.status_code == 404, path
        assert set(re.findall(r'<li><a href="(/console[^"]*)"', answer.text)) >= {"/console", "/console/invoices"}
        assert "role billing" in answer.text
        assert "Look for it in its section of the menu" in answer.text
        assert "String should" not in answer.text
    assert 'href="/console/terminals">Go to Terminals' in answer.text
    assert 'href="/console/audit"' not in answer.text
    answer = client.delete("/console/terminals", headers=HTML)
    assert (answer.status_code, "Open the page from the menu" in answer.text) == (405, True)
    guessed = site.stranger.get("/nowhere", headers={**HTML, "Cookie": f"{COOKIE}=guessed"})
    assert (guessed.status_code, "role" in guessed.text.partition("<main")[0]) == (404, False)


def test_a_failure_is_told_inside_the_usual_frame_and_tells_nothing_of_the_inside(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = site.logged_on("billing")

    def broken(*given: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(overview, "_told", broken)
    answer = client.get("/console", headers=HTML)
    assert (answer.status_code, "role billing" in answer.text) == (500, True)
    assert "the server&#39;s log says why" in answer.text
    assert "inside" not in answer.text


def test_whoever_has_to_choose_a_password_is_shown_no_menu(site: Site) -> None:
    made = site.by("administrator").post("/api/v1/people", json={"name": "max", "role": "support"}).json()
    answer = site.logged_on("max", made["one_time_password"]).get("/nowhere", headers=HTML)
    assert (answer.status_code, 'href="/console/terminals"' in answer.text) == (404, False)


@pytest.mark.parametrize(
    ("actor", "name"),
    [
        ("person:erika", "erika"), ("token:01a1-7f (erika)", "erika, by token"), ("cli:root", "root, by command"),
        ("system", "system"), ("", ""),
    ],
)  # fmt: skip
def test_who_did_something_is_told_as_people_call_them(actor: str, name: str) -> None:
    assert who(actor) == name


def test_commands_in_texts_are_shown_as_code_and_nothing_else_becomes_markup() -> None:
    assert coded("see `tollgate <x>` & `y`") == "see <code>tollgate &lt;x&gt;</code> &amp; <code>y</code>"
    assert coded("one ` alone <b>") == "one ` alone &lt;b&gt;"


def test_assets_are_there_for_who_is_logged_on_and_no_other_file_is(site: Site) -> None:
    client = site.logged_on("support")
    for name, asset in ASSETS.items():
        answer = client.get(asset.url)
        assert (answer.status_code, answer.content) == (200, asset.content), name
        assert "immutable" in answer.headers["cache-control"]
    for path in ("/console/assets/x/..%2f..%2fapp.py", "/console/assets/x/app.py", "/console/assets/../app.py"):
        assert client.get(path).status_code == 404


def test_pages_let_the_browser_run_nothing_that_stands_in_them(site: Site) -> None:
    answer = site.logged_on("administrator").get("/console", headers=HTML)
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script>| style=| on[a-z]+=", answer.text)
    assert answer.headers["cache-control"] == "no-store"


def test_an_answer_says_once_what_was_done_and_only_in_its_own_session(site: Site) -> None:
    client = site.logged_on("support")
    forged = site.logged_on("support")
    forged.cookies.set("__Host-tollgate-said", "0" * 64 + "WyJnb29kIiwiPGI-Il0=")
    assert 'class="said' not in forged.get("/console", headers=HTML).text
    assert 'class="said' not in client.get("/console", headers=HTML).text


def test_programs_are_told_problems_as_problem_details(site: Site) -> None:
    answer = site.logged_on("support").get("/console/audit")
    assert answer.headers["content-type"] == "application/problem+json"


def test_logging_off_from_the_menu_ends_the_session(site: Site) -> None:
    client = site.logged_on("billing")
    page = client.get("/console", headers=HTML).text
    csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert csrf
    assert client.post("/logoff", data={"csrf": csrf[1]}).status_code == 303
    assert not client.cookies.get(COOKIE)
    assert client.get("/console", headers=HTML).headers["location"] == "/logon"
