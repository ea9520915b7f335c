"""Archives that are written as they are read."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import pytest

from operator_server.web.console.archive import Packings, zipped
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


def test_few_archives_are_made_at_once_and_nobody_sees_those_of_others() -> None:
    packings = Packings()
    first = packings.begin("eve", "a", "2026-11", 9)
    packings.begin("eve", "b", "2026-11", 9)
    with pytest.raises(Problem, match="503"):
        packings.begin("adam", "c", "2026-11", 9)
    first.state = "done"
    assert packings.begin("adam", "c", "2026-11", 9).of == 9
    assert packings.find("adam", "a") is None
    assert packings.find("eve", "a") is first
