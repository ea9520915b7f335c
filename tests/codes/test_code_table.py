"""Feature codes: read, translated, compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalling.codes import keys
from signalling.codes.messages import CodeError, decode_heard, decode_signed, decode_uplink
from signalling.codes.table import (
    FeatureCode,
    by_feature,
    check_codes,
    dial,
    differing,
    menu_digits,
    read_dialled,
    translate,
)

HOME = [
    FeatureCode("call-waiting", "Call waiting", "*66#", "*67#", "6-5"),
    FeatureCode("call-forwarding", "Call forwarding", "*44#", "*45#", "6-2"),
    FeatureCode("caller-id", "Caller number", "*31#", "*32#", "6-7"),
]
LOCAL = [
    FeatureCode("call-waiting", "Call waiting", "*55#", "*56#", "3-1"),
    FeatureCode("call-forwarding", "Call forwarding", "*55#"[:1] + "72#", "*73#"),
    FeatureCode("caller-id", "Caller number", "*31#", "*32#"),
    FeatureCode("wake-up", "Wake-up call", "*90#", "*91#", "8-1"),
]
KEPT = differing(by_feature(HOME), LOCAL)


@pytest.mark.requirement("H9")
def test_the_home_code_becomes_the_local_one() -> None:
    assert translate("*66#", HOME, KEPT) == "*55#"


@pytest.mark.requirement("H12")
def test_activation_and_deactivation_have_local_codes_of_their_own() -> None:
    assert [translate(digits, HOME, KEPT) for digits in ("*66#", "*67#")] == ["*55#", "*56#"]


@pytest.mark.requirement("H11")
def test_only_the_two_digits_behind_the_star_are_replaced() -> None:
    assert translate("*44*555-4444#", HOME, KEPT) == "*72*555-4444#"
    # Digits of the number that look like a code are none.
    assert translate("*44*66-67#", HOME, KEPT) == "*72*66-67#"


@pytest.mark.requirement("H7")
def test_only_what_differs_is_kept_and_what_is_new() -> None:
    assert set(KEPT) == {"call-waiting", "call-forwarding", "wake-up"}
    assert differing(by_feature(HOME), HOME) == {}


@pytest.mark.requirement("H10")
def test_the_menu_dials_the_users_own_code_which_is_translated() -> None:
    assert translate(menu_digits("6-5", "activate", HOME), HOME, KEPT) == "*55#"
    with pytest.raises(CodeError, match="nothing at this place"):
        menu_digits("9-9", "activate", HOME)


def test_what_means_nothing_at_home_is_sent_as_it_is() -> None:
    assert translate("*90#", HOME, KEPT) == "*90#"
    for digits in ("66", "*6#", "*66", "#66*", "*66#x", "*٦٦#"):
        with pytest.raises(CodeError, match="no feature code"):
            translate(digits, HOME, KEPT)


@given(st.text("0123456789*-", max_size=40))
def test_whatever_follows_the_code_comes_through(rest: str) -> None:
    assert translate(f"*44{rest}#", HOME, KEPT) == f"*72{rest}#"
    read = read_dialled(f"*44{rest}#", HOME)
    assert read is not None
    assert dial(HOME[1], read.direction, read.rest) == f"*44{rest}#"


@pytest.mark.parametrize(
    ("second", "named"),
    [
        (FeatureCode("call-waiting", "Again", "*01#", "*02#"), "feature call-waiting is that of call-waiting"),
        (FeatureCode("other", "Other", "*66#", "*02#"), r"code \*66# is that of call-waiting"),
        (FeatureCode("other", "Other", "*01#", "*66#"), r"code \*66# is that of call-waiting"),
        (FeatureCode("other", "Other", "*01#", "*01#"), r"code \*01# is that of other"),
        (FeatureCode("other", "Other", "*01#", "*02#", "6-5"), "menu 6-5 is that of call-waiting"),
        (FeatureCode("other", "Other", "*01#", "*02#", ef=3), "ef 3 is that of call-waiting"),
    ],
)
def test_codes_that_clash_are_named(second: FeatureCode, named: str) -> None:
    first = FeatureCode("call-waiting", "Call waiting", "*66#", "*67#", "6-5", ef=3)
    with pytest.raises(CodeError, match=named):
        check_codes([first, second])
    check_codes([first])


def test_a_key_fits_one_feature_of_one_terminal() -> None:
    secret = bytes(32)
    key = keys.feature_key(secret, "T-1", 3)
    assert keys.fits(key, keys.key_digest(key))
    others = {keys.feature_key(secret, "T-1", 4), keys.feature_key(secret, "T-2", 3), keys.feature_key(b"x", "T-1", 3)}
    assert len(others) == 3
    assert key not in others


@given(st.binary(max_size=200))
def test_bytes_that_are_no_messages_are_refused_as_such(data: bytes) -> None:
    for decode in (decode_heard, decode_signed, decode_uplink):
        try:
            decode(data)
        except CodeError:
            continue
