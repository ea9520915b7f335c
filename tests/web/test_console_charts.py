"""Charts: nothing that is drawn is only drawn, and nothing in them runs."""

from __future__ import annotations

from operator_server.web.console.charts import Bar, bars, funnel, lines


def test_a_bar_is_as_long_as_its_share_and_says_its_value() -> None:
    drawn = bars("Charges", [Bar("use", 3_000_000, "3.00 EUR"), Bar("free", 0), Bar("credit", -5)])
    assert 'width="100.00%"' in drawn
    assert drawn.count('width="0.00%"') == 2
    assert 'aria-label="Charges: use 3.00 EUR; free 0; credit -5"' in drawn


def test_amounts_beyond_what_a_float_holds_keep_their_share() -> None:
    assert 'width="99.99%"' in bars("x", [Bar("a", 2**62), Bar("b", 2**62 - 1)])


def test_a_funnel_says_what_share_is_left_of_the_step_before() -> None:
    drawn = funnel("Offers", [("shown", 1_200), ("selected", 300), ("agreed", 0), ("delivered", 0)])
    assert "1\u202f200" in drawn
    assert "300, 25 % of the step before" in drawn
    assert "delivered 0" in drawn


def test_lines_stand_as_a_table_too() -> None:
    drawn = lines("Use", ["1 Nov", "2 Nov"], [("min", [1, -1]), ("MB", [0, 4])], [["1 min", "-1 min"], ["0", "4 MB"]])
    assert drawn.count("<polyline") == 2
    for text in ("1 min", "-1 min", "4 MB", "1 Nov"):
        assert text in drawn


def test_a_chart_of_nothing_is_drawn_too() -> None:
    assert "<svg" in bars("Nothing", [])
    assert "<svg" in lines("Nothing", [], [])
    assert "<polyline" in lines("One", ["today"], [("a", [1])])


def test_names_in_a_chart_are_text() -> None:
    bad = '<script>alert(1)</script>"'
    for drawn in (bars(bad, [Bar(bad, 1, bad)]), funnel(bad, [(bad, 1)]), lines(bad, [bad], [(bad, [1])])):
        assert "<script" not in drawn
        assert '"&lt;' in drawn or "&#34;" in drawn
