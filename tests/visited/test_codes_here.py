"""A roamer registers in a visited network, takes its codes, and dials as at home."""

from __future__ import annotations

import msgspec
import pytest
from operator_samples import key_of
from visited_samples import HOME, HOME_CODES, LOCAL, LOCAL_CODES, VISITED, Lands, air_of

from operator_server.store.visited import FeatureTableRow
from operator_server.visited.codes import Features
from operator_server.visited.faults import VisitedError
from signalling.codes import messages as m
from signalling.codes.table import FeatureCode
from signalling.proof import sign
from terminal_sim.roaming import Local, RoamingError
from terminal_sim.trust import Identity

CW = "call-waiting"


@pytest.mark.requirement("H1")
def test_entering_a_network_registers_by_itself(lands: Lands) -> None:
    mobile = lands.here()
    assert [(row.network, row.terminal) for row in lands.visitors()] == [(HOME, "T-1")]
    assert (lands.asked, mobile.sent) == ([], [])


@pytest.mark.requirement("H2")
def test_the_sequence_that_the_mobile_holds_is_ignored(lands: Lands) -> None:
    mobile = lands.here()
    said = len(air_of(mobile).said)
    assert mobile.page(lands.station.overhead()) is False
    assert len(air_of(mobile).said) == said


@pytest.mark.requirement("H3")
def test_another_sequence_brings_the_codes_down_anew(lands: Lands) -> None:
    mobile = lands.here()
    changed = msgspec.structs.replace(
        LOCAL, feature=[FeatureCode(CW, "Call waiting", "*57#", "*58#"), *LOCAL_CODES[1:]]
    )
    assert lands.local_codes(changed) == 2
    assert mobile.page(lands.station.overhead()) is True
    assert (mobile.local().sequence, mobile.local().codes[CW].activate) == (2, "*57#")
    mobile.dial("*66#")
    assert mobile.sent == ["*57#"]


@pytest.mark.requirement("H3")
def test_a_lower_sequence_is_another_one_too_as_after_a_restore(lands: Lands) -> None:
    mobile = lands.mobile(lands.memory(networks={VISITED: Local(9, {CW: FeatureCode(CW, "Old", "*11#", "*12#")})}))
    mobile.enter()
    assert (mobile.local().sequence, mobile.local().codes[CW].activate) == (1, "*55#")
    mobile.dial("*66#")
    assert mobile.sent == ["*55#"]


@pytest.mark.requirement("H4")
def test_the_base_station_learns_what_the_mobile_supports(lands: Lands) -> None:
    mobile = lands.here()
    assert m.StatusRequest() in air_of(mobile).heard
    [visitor] = lands.visitors()
    assert visitor.features == sorted(each.feature for each in HOME_CODES)


@pytest.mark.requirement("H5", "H6")
def test_codes_come_with_the_registration_by_paging_and_on_the_traffic_channel(lands: Lands) -> None:
    mobile = lands.here()
    assert mobile.local().codes[CW].activate == "*55#"
    changed = [FeatureCode(CW, "Call waiting", "*57#", "*58#"), *LOCAL_CODES[1:6]]
    lands.local_codes(msgspec.structs.replace(LOCAL, feature=changed))
    mobile.page(lands.station.overhead())
    assert mobile.local().codes[CW].activate == "*57#"
    lands.answers = [True]
    mobile.dial("*50#")
    assert mobile.local().codes["conference"].activate == "*60#"
    came = air_of(mobile).heard_of(m.FeatureCodes)
    assert [each.channel for each in came] == ["access", "paging"]
    [key] = air_of(mobile).heard_of(m.FeatureKey)
    assert key.channel == "traffic"
    assert {each.header for each in [*came, key]} == {m.UPDATE_HEADER}
    # What carries codes is told apart from everything else by its header.
    others = [each for each in air_of(mobile).heard if not isinstance(each, m.FeatureCodes | m.FeatureKey)]
    assert not any(hasattr(each, "header") for each in others)


@pytest.mark.requirement("H7", "H8")
def test_differing_codes_are_kept_beside_the_originals_which_stay(lands: Lands) -> None:
    mobile = lands.here()
    assert set(mobile.local().codes) == {CW, "call-forwarding", "wake-up"}
    assert mobile.memory.original == HOME_CODES
    mobile.dial("*31#")
    mobile.dial("*66#")
    assert mobile.sent == ["*31#", "*55#"]
    assert mobile.active == {"caller-id", CW}


@pytest.mark.requirement("H9", "H10", "H11", "H12", "H16")
def test_home_codes_and_menu_send_the_local_ones_and_are_acknowledged(lands: Lands) -> None:
    mobile = lands.here()
    for digits in ("*66#", "*67#", "*44*555-4444#"):
        mobile.dial(digits)
    mobile.menu("6-5")
    mobile.menu("6-5", "deactivate")
    assert mobile.sent == ["*55#", "*56#", "*72*555-4444#", "*55#", "*56#"]
    # What is on the air says the same.
    wanted = [each for each in air_of(mobile).messages if isinstance(each, m.Origination)]
    assert [(each.digits, each.local) for each in wanted] == [(digits, True) for digits in mobile.sent]
    told = air_of(mobile).heard_of(m.Acknowledged)
    assert [(each.feature, each.active) for each in told] == [
        (CW, True), (CW, False), ("call-forwarding", True), (CW, True), (CW, False)
    ]  # fmt: skip
    assert lands.visitors()[0].active == ["call-forwarding"]
    assert air_of(mobile).heard[-1] == m.Released()


@pytest.mark.requirement("H13", "H14")
def test_on_demand_codes_come_only_when_a_feature_is_wanted_and_the_mobile_goes_on_by_itself(lands: Lands) -> None:
    lands.local_codes(msgspec.structs.replace(LOCAL, download="on_demand"))
    mobile = lands.here()
    assert air_of(mobile).heard_of(m.FeatureCodes) == []
    mobile.menu("6-5")
    [came] = air_of(mobile).heard_of(m.FeatureCodes)
    assert ([each.feature for each in came.codes], came.channel) == ([CW], "paging")
    assert mobile.sent == ["*66#", "*55#"]
    assert air_of(mobile).messages[-2:] == [m.Origination("*66#", local=False), m.OriginationContinuation("*55#")]
    assert mobile.active == {CW}
    # It knows the code by now; a number behind a code is kept on the way.
    mobile.menu("6-5", "deactivate")
    mobile.dial("*44*555-4444#")
    assert mobile.sent[2:] == ["*56#", "*44*555-4444#", "*72*555-4444#"]
    # A code that is the same here is switched at once.
    mobile.dial("*31#")
    assert mobile.sent[5:] == ["*31#"]
    assert len(air_of(mobile).heard_of(m.FeatureCodes)) == 2


@pytest.mark.requirement("H15")
def test_nobody_gets_codes_whose_identity_does_not_hold(lands: Lands) -> None:
    lands.local_codes(msgspec.structs.replace(LOCAL, download="on_demand"))
    mobile = lands.here()
    forger = lands.mobile(mobile.memory)
    forger.network = VISITED
    forger._identity = Identity("T-1", key_of("somebody else"))
    forger.dial("*66#")
    assert [each.code for each in air_of(forger).heard_of(m.Refusal)] == ["bad_proof"]
    assert air_of(forger).heard_of(m.FeatureCodes) == []
    assert lands.visitors()[0].active == []
    # One who never registered gets none either.
    stranger = lands.mobile(lands.memory(terminal="T-2"))
    stranger.network = VISITED
    stranger.dial("*66#")
    assert [each.code for each in air_of(stranger).heard_of(m.Refusal)] == ["not_registered"]


@pytest.mark.requirement("H17")
def test_what_the_network_does_not_have_gives_a_tone_and_words(lands: Lands) -> None:
    mobile = lands.here()
    for digits in ("*80#", "*99#"):
        mobile.dial(digits)
    assert [each.tone for each in air_of(mobile).heard_of(m.Tone)] == ["busy", "busy"]
    assert mobile.said[-2:] == ["feature not available"] * 2
    deaf = lands.mobile(lands.memory(display=False, counter=100))
    deaf.enter()
    deaf.dial("*80#")
    assert (len(air_of(deaf).heard_of(m.Tone)), deaf.said) == (1, [])


@pytest.mark.requirement("H25")
def test_new_features_are_announced_acknowledged_and_usable(lands: Lands) -> None:
    mobile = lands.here()
    assert mobile.said == ["New: Wake-up call, *90#, menu 8-1"]
    assert [each.feature for each in mobile.acknowledge_new()] == ["wake-up"]
    assert lands.visitors()[0].told == ["wake-up"]
    assert mobile.acknowledge_new() == []
    mobile.menu("8-1")
    mobile.dial("*91#")
    assert mobile.sent == ["*90#", "*91#"]
    assert [each.active for each in air_of(mobile).heard_of(m.Acknowledged)] == [True, False]


@pytest.mark.requirement("H26")
def test_home_brings_changed_and_new_codes_in_the_same_way(lands: Lands) -> None:
    mobile = lands.mobile(station=lands.home_station)
    mobile.enter()
    assert mobile.memory.sequence == 1
    changed = [FeatureCode(CW, "Call waiting", "*68#", "*69#", "6-5"), *HOME_CODES[1:]]
    lands.home_codes([*changed, FeatureCode("chat", "Chat", "*20#", "*21#", "7-1")])
    assert mobile.page(lands.home_station.overhead()) is True
    assert mobile.memory.sequence == 2
    assert mobile.said == ["New: Chat, *20#, menu 7-1"]
    mobile.menu("6-5")
    mobile.menu("7-1")
    assert mobile.sent == ["*68#", "*20#"]
    assert mobile.active == {CW, "chat"}


@pytest.mark.requirement("H27")
def test_who_has_no_display_is_told_of_new_features_by_mail(lands: Lands) -> None:
    lands.mail_address("user@example.net")
    mobile = lands.here(display=False)
    assert mobile.said == []
    [mail] = list((lands.home.folder / "data").rglob("*.eml"))
    text = mail.read_text()
    assert "To: user@example.net" in text
    assert "- Wake-up call" in text
    assert lands.visitors()[0].told == ["wake-up"]


@pytest.mark.requirement("H28")
def test_ordinary_codes_need_no_key(lands: Lands) -> None:
    mobile = lands.here(key_digests={})
    mobile.dial("*66#")
    assert mobile.sent == ["*55#"]
    assert mobile.local().unlocked == []
    assert mobile.active == {CW}


# What is refused.


def code_of(lands: Lands, mobile_message: m.Said, **changes: object) -> str:
    values = {"terminal": "T-1", "home": HOME, "network": VISITED, "counter": 50} | changes
    uplink = m.Uplink(message=mobile_message, **values)  # type: ignore[arg-type]  # fields by name
    signed = sign(key_of("T-1"), m.PURPOSE, m.encode_uplink(uplink))
    [heard] = lands.station.answer(signed)
    assert isinstance(heard, m.Refusal), heard
    assert heard.reason
    return heard.code


def test_unknown_networks_and_terminals_are_refused_and_leave_nothing(lands: Lands) -> None:
    register = m.Register(0)
    assert code_of(lands, register, home="nowhere.example") == "unknown_network"
    assert code_of(lands, register, network="south.example") == "unknown_network"
    assert code_of(lands, register, terminal="T-99") == "unknown_terminal"
    assert code_of(lands, register, terminal="T-2") == "bad_proof"
    assert lands.visitors() == []
    assert lands.home.rows(FeatureTableRow)[0].sequence == 1


def test_a_message_counts_once(lands: Lands) -> None:
    mobile = lands.here()
    mobile.dial("*66#")
    for signed in air_of(mobile).said:
        [heard] = lands.station.answer(signed)
        assert isinstance(heard, m.Refusal)
        assert heard.code == "replayed"
    # Nor does home take the registration again, or for another network.
    register, now = air_of(mobile).said[0], lands.home.clock.now()
    for network, code in ((VISITED, "replayed"), ("south.example", "bad_registration")):
        with pytest.raises(VisitedError) as no:
            lands.home.change(lambda c, name=network: lands.direct.home.vouch(c, name, register, now))
        assert no.value.code == code


def test_a_network_whose_codes_clash_is_not_believed(lands: Lands) -> None:
    mobile = lands.here()
    kept = msgspec.json.encode(mobile.memory.networks)
    clash = [LOCAL_CODES[0], FeatureCode("other", "Other", "*55#", "*59#")]
    with pytest.raises(RoamingError, match="codes that clash"):
        mobile._hear(m.FeatureCodes(2, "paging", clash))
    assert msgspec.json.encode(mobile.memory.networks) == kept
    with pytest.raises(VisitedError) as no:
        lands.local_codes(Features(clash))
    assert no.value.code == "codes_clash"
    assert lands.station.overhead().sequence == 1


def test_the_same_codes_keep_their_number(lands: Lands) -> None:
    assert lands.local_codes(LOCAL) == 1
