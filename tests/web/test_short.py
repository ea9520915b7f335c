"""The short way of reads: it finds what the router finds, and answers what the long way answers."""

from __future__ import annotations

import re

import pytest
from starlette.routing import Match
from web_dealings import deal
from web_samples import Site

from operator_server.web.routes import Guarded
from operator_server.web.short import Directory, ShortWay

ASKED = (
    "/api/v1/invoices", "/api/v1/invoices?limit=1", "/api/v1/invoices?limit=1&offset=1&account=A-1",
    "/api/v1/invoices?limit=0", "/api/v1/invoices?limit=x", "/api/v1/invoices?limit=1&limit=2",
    "/api/v1/invoices?nothing=1", "/api/v1/invoices?offset=1&cursor=abc", "/api/v1/invoices?cursor=abc",
    "/api/v1/invoices?account=%20", "/api/v1/invoices?account=", "/api/v1/invoices?period=2026-13",
    "/api/v1/invoices/NO-SUCH", "/api/v1/invoices/a%2Fb", "/api/v1/invoices/%C3%A4", "/api/v1/invoices/NO-SUCH/pdf",
    "/api/v1/invoices/NO-SUCH/doc", "/api/v1/terminals", "/api/v1/terminals?online=true", "/api/v1/terminals?online=x",
    "/api/v1/accounts?name_begins=M&limit=3", "/api/v1/accounts/A-1", "/api/v1/accounts/nobody", "/api/v1/charges",
    "/api/v1/me", "/api/v1/no-such", "/api/v1/bill-runs?period=2026-10", "/api/v1/offers", "/api/v1/rejections",
)  # fmt: skip


@pytest.mark.parametrize("asked", ASKED)
def test_both_ways_give_the_same_answer(site: Site, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    deal(site.house)
    client = site.by("administrator")
    short = client.get(asked)
    monkeypatch.setattr(ShortWay, "arguments", lambda self, scope: None)
    site.app.router.middleware_stack = site.app.router.app
    long = client.get(asked)
    assert (short.status_code, short.content) == (long.status_code, long.content)
    assert dict(short.headers) == dict(long.headers)


def test_most_reads_have_a_short_way(site: Site) -> None:
    reads = [route for route in site.app.router.routes if isinstance(route, Guarded) and route.path.startswith("/api")]
    reads = [route for route in reads if "GET" in (route.methods or ())]
    assert sum(route.short is not None for route in reads) >= 0.8 * len(reads)


def test_the_directory_finds_the_route_that_the_router_finds(site: Site) -> None:
    directory = site.app.router.middleware_stack
    assert isinstance(directory, Directory)
    for route in site.app.router.routes:
        if not isinstance(route, Guarded) or "GET" not in (route.methods or ()):
            continue
        path = re.sub(r"\{[^}]*\}", "x", route.path)
        scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
        usual = next(each for each in site.app.router.routes if each.matches(dict(scope))[0] is Match.FULL)
        found = directory.find(dict(scope))
        assert found is None or found[0] is usual, path
        assert found is not None or not path.startswith("/api"), path
