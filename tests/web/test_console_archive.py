"""Archives that are written as they are read."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from operator_samples import House
from web_samples import Site

from operator_server.billing.bill_run import run_bills
from operator_server.web.console.archive import pack, zipped
from operator_server.web.jobs import Jobs
from operator_server.web.problems import Problem


def test_an_archive_comes_in_pieces_and_holds_no_more_than_the_file_at_hand() -> None:
    made: list[int] = []
    told: list[int] = []

    def files() -> Iterator[tuple[str, bytes]]:
        for number in range(200):
            made.append(number)
            yield f"{number}.pdf", bytes([number % 251]) * 10_000

    pieces = zipped(files(), told.append)
    whole = b""
    for count, piece in enumerate(pieces, 1):
        whole += piece
        assert len(made) <= count
        assert len(piece) < 200 * 100 + 11_000
    assert told == list(range(1, 201))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None
        assert archive.read("7.pdf") == bytes([7]) * 10_000


def test_the_same_files_make_the_same_archive() -> None:
    def once() -> bytes:
        return b"".join(zipped(iter([("a", b"1"), ("b", b"2")]), lambda count: None))

    assert once() == once()


def test_an_empty_archive_is_an_archive() -> None:
    with zipfile.ZipFile(io.BytesIO(b"".join(zipped(iter(()), lambda count: None)))) as archive:
        assert archive.namelist() == []


@pytest.fixture
def billed(house: House) -> House:
    house.user().take("game", "buy")
    house.clock.advance(timedelta(days=32))
    run_bills(house.engine, house.operator.settings, "2026-11", now=house.clock.now())
    return house


def state_of(client: Any, watch: str) -> tuple[str, str]:
    page = client.get("/console/months/2026-11/packing", params={"watch": watch}, headers={"Accept": "text/html"})
    return page.text, page.headers.get("x-live", "")


def test_how_far_an_archive_is_every_process_says_to_who_fetches_it(billed: House) -> None:
    client, there, watch = Site(billed).logged_on("billing"), Site(billed).logged_on("billing"), "ab" * 16
    assert state_of(there, watch) == ("", "")
    archive = client.get("/console/months/2026-11/invoices.zip", params={"watch": watch})
    assert archive.content.startswith(b"PK")
    end = time.monotonic() + 10
    while state_of(there, watch)[1] != "done":
        assert time.monotonic() < end
        time.sleep(0.02)
    assert "All 1 invoices are in the archive" in state_of(there, watch)[0]
    assert state_of(Site(billed).logged_on("administrator"), watch) == ("", "")


def test_a_download_that_is_broken_off_gives_its_place_back(billed: House) -> None:
    site = Site(billed)
    jobs: Jobs = site.app.state.jobs
    with pytest.raises(Problem, match="404"):
        pack(jobs, billed.engine, "2026-10", "eve", "a")
    # Nobody takes even the first piece of one, and the second of the other.
    first, second = (pack(jobs, billed.engine, "2026-11", "eve", name) for name in "ab")
    with pytest.raises(Problem, match="503"):
        pack(jobs, billed.engine, "2026-11", "eve", "c")
    del first, second
    for name in "ab":
        end = time.monotonic() + 10
        while (found := jobs.named("archive", name)) is None or found.state == "running":
            assert time.monotonic() < end
            time.sleep(0.02)
        assert found.reason == "its download was broken off"
    assert pack(jobs, billed.engine, "2026-11", "eve", "c").status_code == 200
