"""The dialogue in the documents is the one that card and phone have."""

from __future__ import annotations

import pytest

from signalling.card.explain import as_text, explain_answer, explain_command
from tools.applet_document import PAGE, written


@pytest.mark.requirement("S17")
def test_the_page_shows_the_dialogue_as_it_is() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert written(page) == page, "run: python -m tools.applet_document"
    for said in ("SET UP MENU", "SELECT ITEM", "DISPLAY TEXT", "GET INKEY", "SEND SHORT MESSAGE", "Agreed: News."):
        assert said in page


@pytest.mark.parametrize("data", ["", "80", "8014000003FFFFFF", "80C2000003D10180", "80100000021F", "9000", "D0036F00"])
def test_nonsense_is_explained_too(data: str) -> None:
    raw = bytes.fromhex(data)
    assert as_text(explain_command(raw))
    assert as_text(explain_answer(raw))
