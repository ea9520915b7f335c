"""Features that cost something in the visited network: asked first, charged at home, settled between the two."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from operator_samples import CENT, key_of
from visited_samples import HOME, LOCAL, VISITED, Lands, air_of

from operator_server.store.accounting import Charge
from operator_server.store.dealings import Agreement, QuoteRow
from operator_server.visited.codes import Features
from operator_server.visited.faults import VisitedError
from operator_server.visited.partners import block_partner
from operator_server.visited.records import (
    claim_of,
    compare,
    lines_of,
    month_records,
    read_file,
    totals_of,
    write_file,
)
from operator_server.visited.settling import settle_due
from operator_server.visited.wire import Wanted
from signalling.codes import keys
from signalling.codes import messages as m
from signalling.documents import Confirmation, Quote, decode_document
from signalling.messages import Signed
from signalling.proof import sign
from terminal_sim.roaming import Mobile, RoamingError


def wanting(lands: Lands, *answers: bool, **changes: Any) -> Mobile:
    """A mobile here whose user answers so."""
    mobile = lands.here(**changes)
    lands.answers = list(answers)
    return mobile


@pytest.mark.requirement("H18", "H20")
def test_a_surcharge_is_shown_confirmed_and_then_the_number_and_the_code_come_and_are_activated(lands: Lands) -> None:
    mobile = wanting(lands, True)
    before: list[Any] = []

    def asked(text: str, quote: Quote) -> bool:
        # While the user thinks, the notice is on the display, and nothing was unlocked, agreed or owed.
        before.append((mobile.said[-1], air_of(mobile).heard_of(m.FeatureKey), lands.records()))
        lands.asked.append((text, quote))
        return True

    mobile._accept = asked
    mobile.dial("*50#")
    [(text, quote)] = lands.asked
    assert before == [(text, [], ([], []))]
    assert text.startswith("Toll for Conference: ")
    assert "2.38" in text
    assert (quote.server, quote.terminal, quote.amount) == (HOME, "T-1", 200 * CENT)
    [key] = air_of(mobile).heard_of(m.FeatureKey)
    assert (key.ef, key.code.activate) == (7, "*60#")
    assert mobile.sent == ["*50#", "*60#"]
    assert isinstance(air_of(mobile).messages[-1], m.Activate)
    assert mobile.active == {"conference"}
    assert lands.visitors()[0].active == ["conference"]
    # From now on it is a code as any other.
    mobile.dial("*51#")
    mobile.dial("*50#")
    assert mobile.sent[2:] == ["*61#", "*60#"]
    assert len(lands.asked) == 1


@pytest.mark.requirement("H19")
def test_nothing_comes_down_before_it_is_accepted_and_nothing_when_it_is_refused(lands: Lands) -> None:
    mobile = wanting(lands, False)
    before = msgspec.json.encode(mobile.memory.networks)
    mobile.dial("*50#")
    codes = [code for each in air_of(mobile).heard_of(m.FeatureCodes) for code in each.codes]
    assert [each for each in codes if each.ef or each.feature in ("conference", "radio")] == []
    assert air_of(mobile).heard_of(m.FeatureKey) == []
    assert msgspec.json.encode(mobile.memory.networks) == before
    assert lands.records() == ([], [])
    assert [row.state for row in lands.home.rows(QuoteRow)] == ["declined"]
    assert lands.home.rows(Charge) == []
    # Refused is not refused for ever.
    lands.answers = [True]
    mobile.dial("*50#")
    assert mobile.active == {"conference"}


def test_the_code_of_what_was_not_accepted_does_not_switch_it(lands: Lands) -> None:
    mobile = wanting(lands, False)
    mobile._talk(m.Activate("*60#"))
    mobile._talk(m.OriginationContinuation("*60#"))
    assert [each.code for each in air_of(mobile).heard_of(m.Refusal)] == ["surcharge_first"] * 2
    assert mobile.active == set()


@pytest.mark.requirement("H21")
def test_a_mobile_without_the_option_answers_not_available(lands: Lands) -> None:
    mobile = wanting(lands, True, key_digests={})
    mobile.dial("*50#")
    assert m.EfResponse(7, available=False) in air_of(mobile).messages
    assert air_of(mobile).heard_of(m.SurchargeNotice) == []
    assert mobile.said[-1] == "feature not available"
    assert (lands.asked, lands.records()) == ([], ([], []))
    assert lands.visitors()[0].waiting == {}


@pytest.mark.requirement("H22", "H28")
def test_only_the_key_that_fits_unlocks(lands: Lands) -> None:
    mobile = wanting(lands, True)
    secret = keys.feature_key(b"guessed", "T-1", 7)
    code = next(each for each in LOCAL.feature if each.ef == 7)
    before = msgspec.json.encode(mobile.memory.networks)
    assert mobile._hear(m.FeatureKey(7, secret, code)) == []
    assert mobile.said[-1] == "Conference: the key does not fit"
    assert msgspec.json.encode(mobile.memory.networks) == before
    mobile.dial("*50#")
    assert mobile.local().unlocked == [7]
    assert mobile.local().codes["conference"] == code


@pytest.mark.requirement("H23")
def test_the_key_of_one_feature_neither_unlocks_nor_bills_another(lands: Lands) -> None:
    mobile = wanting(lands, True, False)
    mobile.dial("*50#")
    [key] = air_of(mobile).heard_of(m.FeatureKey)
    mobile.dial("*84#")
    radio = next(each for each in LOCAL.feature if each.ef == 9)
    assert mobile._hear(m.FeatureKey(9, key.key, radio)) == []
    assert mobile._hear(m.FeatureKey(7, key.key, radio)) == []
    assert mobile.local().unlocked == [7]
    assert [row.feature for row in lands.records()[1]] == ["conference"]
    assert [row.net for row in lands.home.rows(Charge)] == [200 * CENT]


@pytest.mark.requirement("H24")
def test_at_most_one_message_about_a_surcharge_is_outstanding(lands: Lands) -> None:
    mobile = wanting(lands)
    air = air_of(mobile)
    # The mobile is silent on the notice of one feature, and wants another.
    mobile._exchange(m.Origination("*50#", local=False))
    [notice] = mobile._exchange(m.EfResponse(7, available=True))
    assert isinstance(notice, m.SurchargeNotice)
    [no] = mobile._exchange(m.Origination("*84#", local=False))
    assert isinstance(no, m.Refusal)
    assert no.code == "outstanding"
    assert len(air.heard_of(m.SurchargeNotice)) == 1
    # What runs out is outstanding no longer.
    lands.visited.clock.advance(timedelta(days=1))
    [page] = mobile._exchange(m.Origination("*84#", local=False))
    assert page == m.GeneralPage(9)
    [no] = mobile._exchange(m.EfResponse(7, available=True))
    assert isinstance(no, m.Refusal)


def test_what_was_paid_for_follows_a_change_of_codes_and_nothing_else_comes_with_it(lands: Lands) -> None:
    mobile = wanting(lands, True)
    mobile.dial("*50#")
    changed = [
        msgspec.structs.replace(each, activate="*65#") if each.feature == "conference" else each
        for each in LOCAL.feature
    ]
    lands.local_codes(msgspec.structs.replace(LOCAL, feature=changed))
    mobile.page(lands.station.overhead())
    assert mobile.local().codes["conference"].activate == "*65#"
    assert "radio" not in mobile.local().codes
    mobile.dial("*50#")
    assert mobile.sent[-1] == "*65#"
    assert len(lands.asked) == 1
    # A network that sends the code of what was not paid for is not believed.
    mobile._hear(m.FeatureCodes(mobile.local().sequence, "paging", changed))
    assert "radio" not in mobile.local().codes


def test_a_number_stays_with_its_feature(lands: Lands) -> None:
    def refused(**numbers: int) -> str:
        changed = [msgspec.structs.replace(each, ef=numbers.get(each.feature, each.ef)) for each in LOCAL.feature]
        with pytest.raises(VisitedError) as no:
            lands.local_codes(msgspec.structs.replace(LOCAL, feature=changed))
        return no.value.reason

    assert refused(conference=8) == "feature conference: its ef was 7 and stays it"
    assert refused(conference=9, radio=7) == "feature conference: ef 9 was that of radio"
    without = [each for each in LOCAL.feature if each.feature != "radio"]
    lands.local_codes(Features(without, surcharge={"conference": LOCAL.surcharge["conference"]}))
    assert refused(conference=9, radio=10) == "feature conference: ef 9 was that of radio"


# Money.


def test_it_is_charged_by_an_agreement_as_at_home_and_settled_exactly_once(lands: Lands) -> None:
    mobile = wanting(lands, True, True)
    mobile.dial("*50#")
    mobile.dial("*84#")
    theirs, ours = lands.records()
    assert [(row.feature, row.amount, row.state) for row in theirs] == [
        ("conference", 1_250_000, "acknowledged"), ("radio", 333_333, "acknowledged")
    ]  # fmt: skip
    assert [(row.id, row.digest, row.amount) for row in ours] == [(row.id, row.digest, row.amount) for row in theirs]
    assert {(row.direction, row.network) for row in theirs} == {("receivable", HOME)}
    assert {(row.direction, row.network) for row in ours} == {("payable", VISITED)}
    agreements = lands.home.rows(Agreement)
    assert {row.id for row in agreements} == {row.agreement_id for row in ours}
    assert {(row.evidence_kind, row.state) for row in agreements} == {("ed25519", "installed")}
    assert sum(row.net for row in lands.home.rows(Charge)) == 250 * CENT


def test_a_lost_answer_or_line_costs_nothing_twice_and_unlocks_when_it_is_back(lands: Lands) -> None:
    mobile = wanting(lands, True)
    air = air_of(mobile)
    mobile._exchange(m.Origination("*50#", local=False))
    [notice] = mobile._exchange(m.EfResponse(7, available=True))
    lands.direct.down = "behind"
    [no] = mobile._exchange(mobile._ask(notice))
    assert isinstance(no, m.Refusal)
    assert no.code == "home_unreachable"
    [row] = lands.records()[0]
    assert (row.state, row.attempts) == ("waiting", 1)
    lands.direct.down = "before"
    mobile.dial("*50#")
    assert len(lands.asked) == 1
    # What is owed outlasts a registration, and is handed over once the line is there.
    mobile.enter()
    lands.direct.down = ""
    assert settle_due(lands.visited.operator, lambda partner: lands.direct) == {}
    lands.visited.clock.advance(timedelta(hours=2))
    assert settle_due(lands.visited.operator, lambda partner: lands.direct) == {"acknowledged": 1}
    assert settle_due(lands.visited.operator, lambda partner: lands.direct, all_=True) == {}
    assert len(lands.home.rows(Charge)) == 1
    assert [len(rows) for rows in lands.records()] == [1, 1]
    mobile.dial("*50#")
    assert mobile.active == {"conference"}
    assert len(lands.asked) == 1
    assert air.heard_of(m.FeatureKey)


def test_what_home_refuses_is_not_unlocked_and_owed_by_nobody(lands: Lands) -> None:
    mobile = wanting(lands, True)
    mobile._exchange(m.Origination("*50#", local=False))
    [notice] = mobile._exchange(m.EfResponse(7, available=True))
    yes = mobile._ask(notice)
    lands.home.clock.advance(timedelta(days=2))
    heard = mobile._exchange(yes)
    assert isinstance(heard[0], m.Refusal)
    assert "expired" in heard[0].reason
    theirs, ours = lands.records()
    assert ([row.state for row in theirs], ours) == (["refused"], [])
    assert lands.visitors()[0].paid == {}
    assert lands.home.rows(Charge) == []


def test_a_price_that_home_did_not_sign_is_not_shown(lands: Lands) -> None:
    mobile = wanting(lands, True)
    mobile._exchange(m.Origination("*50#", local=False))
    [notice] = mobile._exchange(m.EfResponse(7, available=True))
    assert isinstance(notice, m.SurchargeNotice)
    quote = decode_document(Quote, notice.quote.document)
    cheaper = Signed(msgspec.structs.replace(quote, amount=1).encode(), notice.quote.signature)
    with pytest.raises(RoamingError, match="home did not sign"):
        mobile._hear(msgspec.structs.replace(notice, quote=cheaper))
    mobile.memory.terminal = "T-2"
    with pytest.raises(RoamingError, match="made for T-1"):
        mobile._hear(notice)
    assert lands.asked == []


def test_home_takes_no_claim_that_its_subscriber_did_not_sign_or_that_says_other_than_the_quote(lands: Lands) -> None:
    mobile = wanting(lands, True)
    mobile.dial("*50#")
    [row] = lands.records()[0]
    claim = claim_of(row, VISITED)
    home, now = lands.direct.home, lands.home.clock.now()

    def refused(**changes: Any) -> str:
        with pytest.raises(VisitedError) as no:
            lands.home.change(lambda c: home.settle(c, msgspec.structs.replace(claim, **changes), now))
        return no.value.code

    assert refused(amount=claim.amount + 1) == "record_conflict"
    other = lands.home.change(lambda c: home.quote(c, VISITED, "T-1", Wanted("radio", 9, 5, "EUR"), now))
    quote = decode_document(Quote, other.document).quote
    fresh = {"id": "r-2", "quote": quote, "feature": "radio", "ef": 9, "amount": 5, "agreement": "agr-9"}
    assert refused(**fresh) == "bad_record"
    assert refused(**fresh | {"amount": 6}) == "bad_record"
    assert refused(**fresh | {"home": "south.example"}) == "bad_record"
    assert refused(**fresh | {"quote": "none"}) == "unknown_quote"
    assert refused(**fresh | {"currency": "XXY"}) == "bad_record"
    assert refused(**fresh | {"visited": "south.example"}) == "not_registered"
    forged = Confirmation("agr-9", quote, bytes(32), "once", 1).encode()
    assert refused(**fresh | {"confirmation": Signed(forged, bytes(64))}) == "bad_proof"
    assert len(lands.records()[1]) == 1
    assert len(lands.home.rows(Charge)) == 1


def test_both_sides_write_the_same_file_and_find_what_differs(lands: Lands) -> None:
    mobile = wanting(lands, True, True)
    mobile.dial("*50#")
    mobile.dial("*84#")
    month = "2026-11"
    theirs = lands.visited.change(lambda c: month_records(c, HOME, "receivable", month))
    ours = lands.home.change(lambda c: month_records(c, VISITED, "payable", month))
    file = write_file(lines_of(theirs))
    assert file == write_file(lines_of(ours))
    assert totals_of(ours) == {"EUR": 1_583_333}
    assert ",1.25,EUR," in file
    assert ",0.333333,EUR," in file
    assert compare(lines_of(ours), read_file(file)) == []
    changed = read_file(file.replace("0.333333", "0.34"))
    [difference] = compare(lines_of(ours), changed)
    assert difference.what == "amount 0.333333 here, 0.34 there"
    assert [each.what for each in compare(lines_of(ours)[:1], read_file(file))] == ["only there"]
    assert [each.what for each in compare(lines_of(ours), read_file(file)[:1])] == ["only here"]
    for text, named in (("a,b\n", "line 1"), (file + file.splitlines()[1] + "\n", "stands twice"), (file + "x\n", "4")):
        with pytest.raises(VisitedError, match=named):
            read_file(text)
    with pytest.raises(VisitedError, match="not a billing period"):
        lands.home.change(lambda c: month_records(c, VISITED, "payable", "November"))


def test_roaming_that_has_ended_serves_nobody(lands: Lands) -> None:
    mobile = wanting(lands, True)
    now = lands.home.clock.now()
    lands.visited.change(lambda c: block_partner(c, HOME, now, actor="cli:test"))
    mobile.dial("*66#")
    mobile.enter()
    assert [each.code for each in air_of(mobile).heard_of(m.Refusal)] == ["unknown_network"] * 2


def test_the_same_feature_is_bought_again_in_another_network_and_never_twice_in_one(lands: Lands) -> None:
    mobile = wanting(lands, True)
    mobile.dial("*50#")
    south, now = "south.example", lands.home.clock.now()
    home, wanted = lands.direct.home, Wanted("conference", 7, 1_000_000, "EUR")

    def ask(network: str) -> Quote:
        signed = lands.home.change(lambda c: home.quote(c, network, "T-1", wanted, now))
        return decode_document(Quote, signed.document)

    with pytest.raises(VisitedError, match=f"paid for it in {VISITED}") as no:
        ask(VISITED)
    assert no.value.code == "already_present"
    uplink = m.Uplink(terminal="T-1", home=HOME, network=south, counter=99, message=m.Register(0))
    lands.home.change(lambda c: home.vouch(c, south, sign(key_of("T-1"), m.PURPOSE, m.encode_uplink(uplink)), now))
    assert ask(south).amount == 200 * CENT
