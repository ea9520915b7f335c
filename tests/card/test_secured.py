"""Secured packets, against what a card on the market computes, and against every change on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalling.card import secured
from signalling.card.dialogue import TAR, Hello, MessageError, decode_from_card, encode_message
from signalling.card.keys import agreement_mac, decode_keys, diversify, luhn_digit
from signalling.card.secured import (
    Check,
    Counting,
    PacketError,
    PacketKeys,
    PacketRefused,
    Security,
    Status,
    open_command,
    open_response,
    seal_command,
    seal_response,
)
from signalling.card.tlv import CardError

KEYS = diversify(bytes(range(16)), "8949000000000000018").packets
OTHERS = diversify(bytes(range(16)), "8949000000000000026").packets

# A command to a sysmoISIM-SJA5 and its answer, as pySim's tests have them.
CARD_KEYS = PacketKeys(
    2, bytes.fromhex("200102030405060708090a0b0c0d0e0f"), bytes.fromhex("201102030405060708090a0b0c0d0e0f")
)
CARD_SECURITY = Security(counting=Counting.NONE, by_submit=False)
CARD_COMMAND = bytes.fromhex("00281506192222b00011e87cceebb2d93083011ce294f93fc4d8de80da1abae8c37ca3e72ec4432e5058")
CARD_ANSWER = bytes.fromhex("002412b00011ebc6b497e2cad7aedf36ace0e3a29b38853f0fe9ccde81913be5702b73abce1f")


def test_a_command_is_what_a_card_on_the_market_takes() -> None:
    apdu = bytes.fromhex("00a40004023f00")
    assert seal_command(apdu, CARD_KEYS, bytes.fromhex("B00011"), 0, CARD_SECURITY) == CARD_COMMAND
    opened = open_command(CARD_COMMAND, CARD_KEYS, 0, CARD_SECURITY)
    assert (opened.data, opened.header.tar, opened.counter) == (apdu, bytes.fromhex("B00011"), 0)


def test_its_proof_of_receipt_is_opened() -> None:
    proof = open_response(CARD_ANSWER, CARD_KEYS, CARD_SECURITY)
    assert (proof.status, proof.tar, proof.counter) == (Status.OK, bytes.fromhex("B00011"), 0)
    assert proof.data == bytes.fromhex("016132")


@given(st.binary(max_size=300), st.integers(1, secured.COUNTER_MAX - 1))
def test_what_is_sealed_is_opened(data: bytes, counter: int) -> None:
    opened = open_command(seal_command(data, KEYS, TAR, counter), KEYS, counter - 1)
    assert (opened.data, opened.counter) == (data, counter)
    proof = open_response(seal_response(0, counter, TAR, KEYS, data=data), KEYS)
    assert (proof.data, proof.counter, proof.status) == (data, counter, 0)


@pytest.mark.requirement("S17")
@given(st.integers(0, 200), st.integers(0, 7))
def test_no_bit_can_be_changed(at: int, bit: int) -> None:
    packet = bytearray(seal_command(b"a message of the card's dialogue", KEYS, TAR, 9))
    packet[at % len(packet)] ^= 1 << bit
    with pytest.raises(CardError):
        open_command(bytes(packet), KEYS, 0)


@pytest.mark.requirement("S17")
@pytest.mark.parametrize("last", [7, 8, secured.COUNTER_MAX])
def test_a_counter_that_does_not_rise_is_refused(last: int) -> None:
    packet = seal_command(b"again", KEYS, TAR, 7)
    with pytest.raises(PacketRefused) as no:
        open_command(packet, KEYS, last)
    assert (no.value.status, no.value.counter) == (Status.COUNTER_LOW, 7)
    assert open_command(packet, KEYS, 6).data == b"again"


def test_the_last_counter_of_all_blocks_the_keys() -> None:
    with pytest.raises(PacketRefused) as no:
        open_command(seal_command(b"", KEYS, TAR, secured.COUNTER_MAX), KEYS, 0)
    assert no.value.status is Status.COUNTER_BLOCKED


@pytest.mark.requirement("S17")
def test_another_cards_packet_is_refused() -> None:
    with pytest.raises(PacketRefused) as no:
        open_command(seal_command(b"for another", OTHERS, TAR, 1), KEYS, 0)
    assert no.value.status is Status.CC_FAILED
    with pytest.raises(PacketRefused):
        open_response(seal_response(0, 1, TAR, OTHERS), KEYS)


@pytest.mark.parametrize(
    "weak",
    [
        Security(check=Check.NONE), Security(check=Check.RC), Security(ciphered=False),
        Security(counting=Counting.NONE), Security(counting=Counting.UNCHECKED),
    ],
)  # fmt: skip
def test_a_packet_that_is_less_secured_is_refused(weak: Security) -> None:
    packet = seal_command(b"weak", KEYS, TAR, 1, weak)
    with pytest.raises(PacketRefused) as no:
        open_command(packet, KEYS, 0)
    assert no.value.status is Status.SECURITY_LEVEL
    assert open_command(packet, KEYS, 0, weak).data == b"weak"


def test_a_redundancy_check_finds_a_changed_bit() -> None:
    checked = Security(check=Check.RC, ciphered=False, counting=Counting.NONE)
    packet = seal_command(b"hello", KEYS, TAR, 1, checked)
    with pytest.raises(PacketRefused):
        open_command(packet[:-1] + b"O", KEYS, 0, checked)


def test_signatures_are_told_to_be_missing() -> None:
    with pytest.raises(PacketError, match="signatures"):
        seal_command(b"", KEYS, TAR, 1, Security(check=Check.DS))


@pytest.mark.parametrize("cut", range(1, 45))
def test_a_packet_that_is_cut_short_is_none(cut: int) -> None:
    packet = seal_command(b"whole", KEYS, TAR, 1)
    with pytest.raises(CardError):
        open_command(packet[:-cut], KEYS, 0)


def test_keys_differ_by_card_by_use_and_by_number() -> None:
    master = bytes(range(16))
    sets = [diversify(master, "8949000000000000018"), diversify(master, "8949000000000000026")]
    sets.append(diversify(master, "8949000000000000018", 2))
    keys = [key for each in sets for key in (each.kic, each.kid, each.agreement)]
    assert len(set(keys)) == 9
    assert decode_keys(sets[0].encode()) == sets[0]
    assert sets[0] == diversify(master, "8949000000000000018")


@pytest.mark.parametrize("iccid", ["", "894900000000000001x", "1" * 21])
def test_a_number_that_is_no_iccid_has_no_keys(iccid: str) -> None:
    with pytest.raises(CardError, match="18 to 20 digits"):
        diversify(bytes(16), iccid)


def test_check_digits_are_those_of_the_standard() -> None:
    assert luhn_digit("49015420323751") == "8"
    assert luhn_digit("898821100000046728") == "5"


def test_the_mac_of_an_agreement_is_over_document_and_screen() -> None:
    key = diversify(bytes(16), "8949000000000000018").agreement
    mac = agreement_mac(key, b"document", bytes(32))
    assert mac != agreement_mac(key, b"documen", b"t" + bytes(31))
    assert mac != agreement_mac(key, b"document", bytes(31) + b"\x01")


def test_messages_of_the_dialogue_are_checked() -> None:
    assert decode_from_card(encode_message(Hello())) == Hello()
    for wrong in (b"", b"\x91\x01", b"\x93\x24\x01\x00", encode_message(Hello()) + b"\x00", b"\x91" * 9000):
        with pytest.raises(MessageError):
            decode_from_card(wrong)


def test_security_reads_back() -> None:
    for check in (Check.NONE, Check.RC, Check.CC):
        for ciphered in (False, True):
            each = replace(secured.LEAST, check=check, receipt_ciphered=ciphered)
            assert secured.decode_security(each.encode()) == each
    assert secured.LEAST.encode() == bytes.fromhex("1639")
