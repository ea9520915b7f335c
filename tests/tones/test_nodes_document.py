"""The page on nodes names every message and field, and what nodes are told."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from signalling.tones import nodes as n

PAGE = (Path(__file__).parents[2] / "docs" / "nodes.md").read_text(encoding="utf-8")
MESSAGES = sorted({*get_args(n.FromNode), *get_args(n.FromHome)}, key=lambda each: str(each.__struct_config__.tag))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda each: each.__struct_config__.tag)
def test_a_message_stands_on_the_page_with_its_fields(message: type[msgspec.Struct]) -> None:
    cells = [[cell.strip(" `") for cell in line.split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
    rows = [row for row in cells if row[2] == message.__struct_config__.tag]
    assert len(rows) == 1
    assert [each.strip(" `") for each in rows[0][3].split(",")] == [
        each.name for each in msgspec.structs.fields(message)
    ]


def test_reasons_that_mean_something_stand_there() -> None:
    assert n.TAKES_NOTHING_SO in PAGE


def test_what_the_page_says_of_frames_holds() -> None:
    payload = n.encode_node(n.Located("+491701234567"))
    assert msgspec.msgpack.decode(payload) == {"type": "located", "number": "+491701234567"}
    with pytest.raises(n.NodeError):
        n.decode_from_node(msgspec.msgpack.encode({"type": "located", "number": "+49", "more": 1}))
