"""The dialogue: logon, interrogation, menu, negotiation, delivery, counters, notices, and what goes wrong."""

from __future__ import annotations

import msgspec
import pytest
from terminal_fakes import FakeServer, Pair, entry, one_off, per_use

from signalling import messages as m
from signalling.configuration import Configuration
from signalling.documents import Quote
from signalling.envelope import encode
from signalling.proof import sign
from terminal_sim import counters
from terminal_sim.events import Closed, Interrogated, MenuShown, NoticeArrived, Refused, SectionsSent
from terminal_sim.menu import MenuError
from terminal_sim.negotiation import Quotation
from terminal_sim.state import Agreement


def buy(pair: Pair, mode: str = "use") -> Agreement:
    """Take the first offer all the way, without anything to fetch."""
    line = pair.dialogue.menu.line(1)
    quotation = pair.answer(pair.dialogue.request(line, mode))
    assert isinstance(quotation, Quotation), quotation
    agreement = pair.answer(pair.dialogue.confirm(line, quotation, pair.server.now))
    assert isinstance(agreement, Agreement), agreement
    return deliver(pair, agreement)


def deliver(pair: Pair, agreement: Agreement) -> Agreement:
    from terminal_sim import delivery

    while agreement.step != "done":
        if agreement.step == "granted":
            delivery.succeeded(pair.state, agreement, pair.server.now)
        re = pair.dialogue.advance(agreement, pair.server.now)
        assert re is not None
        pair.pump()
    return agreement


@pytest.mark.requirement("S1")
def test_the_server_inquires_and_the_terminal_answers_with_its_code(pair: Pair) -> None:
    pair.connect()
    assert pair.of(Interrogated)[0].code == pair.state.configuration().code()
    assert pair.link.said(m.ConfigurationReport)[0].code == pair.state.configuration().code()


@pytest.mark.requirement("S2")
def test_sections_are_sent_once(pair: Pair) -> None:
    pair.connect()
    assert pair.of(SectionsSent)[0].sections == ("hardware", "firmware", "base_software", "catalogue_items")
    assert {"model": "aurora-3", "memory_mib": "512"} in pair.server.known_sections.values()
    pair.restart()
    assert pair.of(SectionsSent) == []
    assert pair.of(MenuShown)


def test_a_large_section_travels_in_parts(pair: Pair) -> None:
    software = {f"deb/package-{n}": "1.0" for n in range(5000)}
    pair.state.base = Configuration(base_software=software)
    pair.connect()
    assert len(pair.link.said(m.SectionPart)) > 4
    assert software in pair.server.known_sections.values()


@pytest.mark.requirement("S3")
def test_an_inquiry_in_the_middle_of_a_negotiation_is_answered(pair: Pair) -> None:
    pair.server.offers = [entry()]
    pair.connect()
    re = pair.dialogue.request(pair.dialogue.menu.line(1), "once")
    pair.link.begin(m.Inquiry(trigger="interval"))
    assert isinstance(pair.answer(re), Quotation)
    assert [event.trigger for event in pair.of(Interrogated)] == ["logon", "interval"]


def test_pages_make_one_menu_in_the_servers_order(pair: Pair) -> None:
    pair.server.offers = [entry(f"offer-{n}", f"product-{n}") for n in range(5)]
    pair.connect()
    assert [line.entry.offer for line in pair.dialogue.menu.lines] == [f"offer-{n}" for n in range(5)]


@pytest.mark.requirement("S8")
def test_select_reject_and_later_send_their_signals(pair: Pair) -> None:
    pair.server.offers = [entry("a", "a"), entry("b", "b"), entry("c", "c")]
    pair.connect()
    first, second, third = pair.dialogue.menu.lines
    quotation = pair.answer(pair.dialogue.request(first, "use"))
    assert quotation.quote.mode.mode == "use"
    pair.answer(pair.dialogue.reject(second, "no"))
    pair.answer(pair.dialogue.later(third))
    assert (second.mark, third.mark) == ("rejected", "later")
    assert pair.server.rejected == ["b"]
    assert len(pair.link.said(m.Later)) == 1


def test_an_offer_that_needs_another_waits_for_it(pair: Pair) -> None:
    pair.server.offers = [entry("a", "a"), entry("b", "b", needs=["a"])]
    pair.connect()
    with pytest.raises(MenuError, match="A first"):
        pair.dialogue.request(pair.dialogue.menu.line(2), "once")
    buy(pair)
    pair.dialogue.request(pair.dialogue.menu.line(2), "once")


@pytest.mark.requirement("S10")
def test_a_counter_proposal_is_answered_by_another_quote(pair: Pair) -> None:
    pair.server.offers = [entry()]
    pair.connect()
    line = pair.dialogue.menu.line(1)
    first = pair.answer(pair.dialogue.request(line, "once"))
    second = pair.answer(pair.dialogue.counter(line, first, "use", 3_000_000))
    assert (second.answer, second.quote.mode.mode, second.quote.spending_limit) == ("accepted", "use", 3_000_000)
    agreement = pair.answer(pair.dialogue.confirm(line, second, pair.server.now))
    assert agreement.confirmed.spending_limit == 3_000_000


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"amount": 2_010_000}, "shown was 2.00 EUR"),
        ({"mode": one_off(2_500_000)}, "shown was 2.00 EUR"),
        ({"tax": 500_000}, "tax"),
        ({"currency": "USD"}, "USD"),
        ({"terminal": "T-2"}, "not from and for us"),
        ({"server": "other"}, "not from and for us"),
        ({"release": "0.9"}, "asked was"),
        ({"offer_version": "navigator-offer@2"}, "another version"),
        ({"expires": 5}, "expired"),
        ({"mode": per_use(50_000, included=1), "amount": 0, "tax": 0}, "includes 1"),
        ({"mode": msgspec.structs.replace(one_off(), mode="other")}, "no charging mode"),
        ({"mode": msgspec.structs.replace(one_off(), unit="day")}, "unit differ"),
        ({"mode": per_use(), "amount": 0, "tax": 0}, "asked was once"),
    ],
)
def test_a_quote_that_is_worse_than_the_menu_is_not_shown(pair: Pair, change: dict, word: str) -> None:
    pair.server.offers = [entry()]
    pair.connect()
    asked = "use" if word == "includes 1" else "once"

    def alter(message: m.Message) -> m.Message:
        if not isinstance(message, m.QuoteMessage):
            return message
        quote = msgspec.msgpack.decode(message.quote.document, type=Quote)
        worse = msgspec.structs.replace(quote, **change)
        return m.QuoteMessage(quote=sign(pair.server.key, "quote", worse.encode()))

    pair.server.alter = alter
    answer = pair.answer(pair.dialogue.request(pair.dialogue.menu.line(1), asked))
    assert isinstance(answer, Refused)
    assert word in answer.reason
    assert not pair.state.agreements


def test_a_quote_with_an_altered_byte_is_not_shown(pair: Pair) -> None:
    pair.server.offers = [entry()]
    pair.connect()

    def alter(message: m.Message) -> m.Message:
        if isinstance(message, m.QuoteMessage):
            document = message.quote.document.replace(b"navigator", b"navigatoR", 1)
            return m.QuoteMessage(quote=m.Signed(document, message.quote.signature))
        return message

    pair.server.alter = alter
    answer = pair.answer(pair.dialogue.request(pair.dialogue.menu.line(1), "once"))
    assert isinstance(answer, Refused)
    assert "signature" in answer.reason


def test_a_lost_agreed_is_made_good_with_the_same_agreement(pair: Pair) -> None:
    pair.server.offers = [entry()]
    pair.connect()
    line = pair.dialogue.menu.line(1)
    quotation = pair.answer(pair.dialogue.request(line, "use"))
    pair.server.alter = lambda message: None if isinstance(message, m.Agreed) else message
    pair.dialogue.confirm(line, quotation, pair.server.now)
    pair.pump()
    pair.server.alter = lambda message: message
    pair.restart()
    (agreement,) = pair.state.open_agreements()
    assert agreement.step == "confirmed"
    deliver(pair, agreement)
    assert list(pair.server.agreements) == [agreement.id]


@pytest.mark.requirement("S11")
@pytest.mark.parametrize("lost", [m.Agreed, m.DeliveryGrantMessage, m.ReceiptNoted])
def test_whatever_answer_is_lost_there_is_one_agreement_and_one_receipt(pair: Pair, lost: type[m.Message]) -> None:
    pair.server.offers = [entry()]
    pair.connect()
    pair.server.alter = lambda message: None if isinstance(message, lost) else message
    line = pair.dialogue.menu.line(1)
    quotation = pair.answer(pair.dialogue.request(line, "use"))
    pair.dialogue.confirm(line, quotation, pair.server.now)
    pair.pump()
    from terminal_sim import delivery

    (agreement,) = pair.state.agreements.values()
    for _ in range(3):
        if agreement.step == "granted":
            delivery.succeeded(pair.state, agreement, pair.server.now)
        pair.dialogue.advance(agreement, pair.server.now)
        pair.pump()
    assert agreement.step != "done"
    pair.server.alter = lambda message: message
    pair.restart()
    deliver(pair, pair.state.agreements[agreement.id])
    assert len(pair.server.agreements) == len(pair.server.grants) == len(pair.server.receipts) == 1
    assert pair.state.agreements[agreement.id].charge == "charged"


def test_what_is_installed_is_in_the_next_code(pair: Pair) -> None:
    pair.server.offers = [entry()]
    pair.connect()
    before = pair.state.configuration().code()
    buy(pair)
    pair.link.begin(m.Inquiry(trigger="manual"))
    pair.pump()
    assert pair.of(Interrogated)[-1].code != before
    assert {"navigator": "1.0"} in pair.server.known_sections.values()


@pytest.mark.requirement("S15")
def test_counters_are_reported_when_the_server_asks(pair: Pair) -> None:
    pair.server.offers = [entry()]
    pair.connect()
    agreement = buy(pair)
    installation = agreement.granted().installation
    counters.use(pair.state, installation, 3, pair.server.now)
    pair.link.begin(m.CounterInquiry())
    pair.pump()
    (kept,) = pair.server.reports.values()
    assert msgspec.msgpack.decode(kept)["value"] == 3
    assert pair.state.counters[installation, "uses"].waiting == {}


def test_a_notice_reaches_the_user_and_the_server_learns_that_it_was_read(pair: Pair) -> None:
    pair.server.notices = [m.Notice(notice="n1", kind="validity", text="Navigator 1.0 was revoked")]
    pair.connect()
    assert [event.notice.text for event in pair.of(NoticeArrived)] == ["Navigator 1.0 was revoked"]
    assert pair.server.read == []
    pair.dialogue.read(["n1"], pair.server.now)
    pair.pump()
    assert pair.server.read == ["n1"]
    pair.restart()
    assert pair.of(NoticeArrived) == []
    assert pair.server.read == ["n1", "n1"]


@pytest.mark.requirement("S16")
def test_status_is_asked_for(pair: Pair) -> None:
    pair.connect()
    status = pair.answer(pair.dialogue.status())
    assert status.charges[0].available == 9


def test_an_unknown_type_is_answered_with_an_error_and_the_link_stays(pair: Pair) -> None:
    pair.connect()

    class Novelty(m.Message, frozen=True):
        TYPE = "novelty"

    payload = encode(Novelty(), id=999, exchange=8)
    assert pair.dialogue.receive(payload, 0) == []
    pair.pump()
    assert pair.link.said(m.Error)[0].code == "unknown_type"
    assert pair.answer(pair.dialogue.ping()) == m.Pong()


@pytest.mark.parametrize("payload", [b"", b"\x00", b"garbage", encode(m.Welcome("s", 1, 1, 1), id=1), b"\x81" * 40])
def test_garbage_and_wrong_order_end_the_link(pair: Pair, payload: bytes) -> None:
    pair.connect()
    (event,) = pair.dialogue.receive(payload, 0)
    assert isinstance(event, Closed)
    pair.pump()
    assert pair.link.closed


def test_a_server_with_another_name_gets_no_proof(pair: Pair, server: FakeServer) -> None:
    server.alter = lambda message: (
        msgspec.structs.replace(message, server="tollgate.evil") if isinstance(message, m.Challenge) else message
    )
    pair.connect()
    assert pair.link.said(m.Logon) == []
    assert "tollgate.evil" in pair.of(Closed)[0].reason
