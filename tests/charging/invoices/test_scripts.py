"""Lines of scripts that are written from right to left, as they are drawn."""

from __future__ import annotations

from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.invoices.scripts import drawn

ALL = range(0x110000)
ARABIC = st.text("\u0634\u0631\u0643\u0629\u0627\u0644\u0645\u0649\u0640 1,5%(a)", max_size=20)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Weg 1, 24103 Kiel", "Weg 1, 24103 Kiel"),
        ("Ελλάδα Москва", "Ελλάδα Москва"),
        ("שלום", "םולש"),
        ("abc שלום 123 def", "abc 123 םולש def"),
        ("שלום (12,50%) abc", "abc (12,50%) םולש"),
        ("Nr. 7 שלום", "Nr. 7 םולש"),
        # Sheen, reh, kaf, teh marbuta: two pairs, since reh holds nothing behind it.
        ("\u0634\u0631\u0643\u0629", "\ufe94\ufedb\ufeae\ufeb7"),
        # Seen, lam and alef in one, meem.
        ("\u0633\u0644\u0627\u0645", "\ufee1\ufefc\ufeb3"),
        # A mark stays behind its letter and parts nobody.
        ("\u0628\u064e\u062a", "\ufe96\ufe91\u064e"),
    ],
)
def test_a_line_is_drawn_from_left_to_right(text: str, shown: str) -> None:
    assert drawn(text, ALL) == shown


def test_letters_that_the_typeface_has_in_one_form_only_keep_it() -> None:
    assert drawn("\u0644\u0627", range(0x700)) == "\u0627\u0644"


@given(ARABIC)
def test_nothing_is_lost_or_made_up(text: str) -> None:
    assert sorted(normalize("NFKC", drawn(text, ALL)).translate({0x29: 0x28})) == sorted(
        normalize("NFKC", text).translate({0x29: 0x28})
    )
