from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offers.versions import Requirement, compare, newest, parse_specifier, parse_version, satisfies


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.9", "1.10"),
        ("1.0rc1", "1.0"),
        ("1.0.dev3", "1.0a1"),
        ("1.4.3-1", "1.4.3-2"),
        ("1.4.3", "1.4.3-1"),
        ("2:1.4.3-1+deb12u1", "2:1.4.3-1+deb12u2"),
        ("2.36-9+deb12u9", "2.36-9+deb12u10"),
        ("2:1.4-1", "1.5"),
        ("1:3.0", "2:1.0"),
        ("1.1.1k-1", "1.1.1n-0+deb11u5"),
        ("1.0~rc1-1", "1.0-1"),
        ("1.0~beta3", "1.0~rc1"),
        ("0~git20200603", "0.1"),
        ("1.2~dfsg-1", "1.2-1"),
        ("20230311", "20240101"),
        ("v1.2", "v1.3"),
        ("4.4-3", "4.4-3build1"),
    ],
)
def test_older_versions_come_before_newer_ones(older: str, newer: str) -> None:
    assert (compare(older, newer) or 0) < 0
    assert (compare(newer, older) or 0) > 0


@pytest.mark.parametrize(("left", "right"), [("1.0", "1.0.0"), ("2:1.4-1", "1.4-1"), ("v1.2", "1.2"), ("r12", "r12")])
def test_versions_that_mean_the_same_are_equal(left: str, right: str) -> None:
    assert compare(left, right) == 0


@pytest.mark.parametrize("text", ["", "unknown", "r12", "1.0 beta", "-1", "1" * 300, "١.٢", "1.0\n2.0"])
def test_a_text_without_a_place_in_the_order_is_neither_older_nor_newer_and_satisfies_no_specifier(text: str) -> None:
    assert compare(text, "1.0") is None
    assert compare("1.0", text) is None
    assert not satisfies(text, parse_specifier(">=0"))
    assert satisfies(text, parse_specifier(""))


@pytest.mark.parametrize(
    ("version", "specifier", "expected"),
    [
        ("3.11.2-1+b1", ">=3.9", True),
        ("2.36-9+deb12u10", ">=2.30,<3", True),
        ("2:1.4.3-1+deb12u1", ">=1.4,<2", True),
        ("2:1.4.3-1+deb12u1", "==1.4.3", True),
        ("2:1.4.3-1+deb12u1", "<=1.4.3", True),
        ("2:1.4.3-1+deb12u1", ">1.4.3", False),
        ("2:1.4.3-1+deb12u1", ">=2!1.4", True),
        ("1.4.3-1", ">=2!1.4", False),
        ("1.0-1", "==1.0", True),
        ("3.0~rc1-1", ">=3.0", False),
        ("3.0~rc1-1", "<3.0", False),
        ("3.0~rc1-1", "<=3.0", True),
        ("1.1.1n-0+deb11u5", "~=1.1.1", True),
        ("2.0.5", "~=1.4", False),
        ("1.4.9", "==1.4.*", True),
    ],
)
def test_a_specifier_speaks_of_the_upstream_version(version: str, specifier: str, expected: bool) -> None:
    assert satisfies(version, parse_specifier(specifier)) is expected


@pytest.mark.parametrize(
    ("text", "name", "specifier"),
    [
        ("python3>=3.9", "python3", ">=3.9"),
        ("deb/libc6 >= 2.30, < 3", "deb/libc6", "<3,>=2.30"),
        ("chess", "chess", ""),
        ("tool~=1.0", "tool", "~=1.0"),
        ("g++-12>=12", "g++-12", ">=12"),
    ],
)
def test_a_requirement_is_a_name_and_a_specifier(text: str, name: str, specifier: str) -> None:
    requirement = Requirement.parse(text)
    assert requirement.name == name
    assert str(requirement.specifier) == specifier


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not begin with the name"),
        (">=1", "does not begin with the name"),
        ("chess>>1", "is not a version specifier"),
        ("chess 1", "is not a version specifier"),
        ("chess===1", "'==='"),
        ("chess==1+build", "after '+'"),
    ],
)
def test_a_bad_requirement_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="^" + ".*" + reason.replace("+", r"\+")):
        Requirement.parse(text)


def test_the_newest_of_several_leaves_out_what_has_no_order() -> None:
    assert newest(["1.9", "latest", "1.10", "1.2"]) == "1.10"
    assert newest(["nightly"]) is None


_numbers = st.integers(0, 20).map(str)
_versions = st.builds(
    lambda numbers, pre, revision: ".".join(numbers) + pre + revision,
    st.lists(_numbers, min_size=1, max_size=3),
    st.sampled_from(["", "~rc1", "rc2", "a1", "n", "~git7", "+dfsg1"]),
    st.sampled_from(["", "-1", "-2", "-1+deb12u1", "-1+deb12u10"]),
)


@settings(deadline=None)
@given(_versions, _versions, _versions)
def test_the_order_is_total_and_transitive_where_no_epoch_is_in_the_way(one: str, two: str, three: str) -> None:
    first, second, third = compare(one, two), compare(two, three), compare(one, three)
    assert first is not None
    assert second is not None
    assert third is not None
    assert compare(two, one) == -first
    if first <= 0 and second <= 0:
        assert third <= 0


@settings(deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"[0-9:.~+a-z-]{0,20}", fullmatch=True))
def test_any_text_either_has_a_place_or_none(text: str) -> None:
    parsed = parse_version(text)
    assert parsed is None or parse_version(str(parsed)) is not None
