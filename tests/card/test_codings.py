"""Texts, objects and short messages in the codings of cards and networks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalling.card import apdu, sms, text, tlv
from signalling.card.profile import Ability, Profile, make_profile
from signalling.card.tlv import CardError, Tlv

NOW = datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", ""),
        ("hello", "E8329BFD06"),
        ("hellohello", "E8329BFD4697D9EC37"),
    ],
)
def test_septets_are_packed_as_the_standard_says(written: str, expected: str) -> None:
    packed = text.pack(text.to_septets(written))
    assert packed.hex().upper() == expected
    assert text.from_septets(text.unpack(packed, len(written))) == written


def test_the_extension_table_takes_two_septets() -> None:
    assert text.to_septets("€[]") == bytes.fromhex("1B651B3C1B3E")
    assert text.from_septets(bytes.fromhex("1B65")) == "€"
    assert text.from_septets(bytes.fromhex("1B41")) == "A"
    assert len(text._BASIC) == 128


def test_seven_spare_bits_do_not_read_as_a_sign() -> None:
    for written in ("1234567", "12345678", "123456\r", "123456@"):
        assert text.decode_text_string(text.encode_text_string(written, packed=True)) == written


@pytest.mark.parametrize(
    ("written", "form"),
    [("Menu €5", None), ("ЛЕВСКИ", 0x81), ("Grüße ѰҐ", 0x82), ("日本語あ", 0x80), ("Ա and more text", 0x81)],
)
def test_alpha_identifiers_take_the_shortest_form(written: str, form: int | None) -> None:
    coded = text.encode_alpha(written)
    assert (coded[0] if form else None) == form
    assert text.decode_alpha(coded) == written
    assert text.decode_alpha(coded + (b"\xff\xff" if form is None else b"")) == written


def test_alpha_identifiers_read_as_the_standard_shows() -> None:
    assert text.decode_alpha(bytes.fromhex("80041704140420041004120421042204120423041904220415")) == "ЗДРАВСТВУЙТЕ"
    assert text.decode_alpha(bytes.fromhex("810C089794A09092A1A292A399A295")) == "ЗДРАВСТВУЙТЕ"


@given(st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=("Cs",)), max_size=30))
def test_every_text_reads_back(written: str) -> None:
    assert text.decode_alpha(text.encode_alpha(written)) == written
    assert text.decode_text_string(text.encode_text_string(written)) == written
    if text.in_alphabet(written) and "\r" not in written:
        assert text.decode_text_string(text.encode_text_string(written, packed=True)) == written


@given(
    st.lists(
        st.tuples(st.one_of(st.integers(1, 0x7E), st.integers(0x7F, 0x7FFF)), st.binary(max_size=300), st.booleans())
    )
)
def test_objects_read_back(values: list[tuple[int, bytes, bool]]) -> None:
    objects = [Tlv(*value) for value in values]
    assert tlv.decode(tlv.encode(objects)) == objects


@pytest.mark.parametrize("wrong", ["81", "8102", "810201", "818300", "00", "8181", "7F80", "7F800100", "FF00"])
def test_objects_that_do_not_hold_are_refused(wrong: str) -> None:
    with pytest.raises(tlv.TlvError):
        tlv.decode(bytes.fromhex(wrong))


# Short messages.


def test_a_delivery_is_what_a_network_sends() -> None:
    packet = bytes.fromhex("00281506192222b00011e87cceebb2d93083011ce294f93fc4d8de80da1abae8c37ca3e72ec4432e5058")
    content = sms.UserData((sms.Element(sms.COMMAND_PACKET, b""),), packet)
    made = sms.Deliver("12345678", content, datetime(2022, 7, 25, tzinfo=UTC), 0x7F, 0xF6, more=True).encode()
    expected = "4008812143 65877ff6 22705200000000 2d 027000".replace(" ", "") + packet.hex()
    assert made.hex() == expected
    assert sms.decode_deliver(made).content == content


def test_a_submission_of_text_is_what_phones_send() -> None:
    content, dcs = sms.text_content("hellohello")
    made = sms.Submit("+46708251358", content, 0, 0, dcs).encode()
    assert made.hex().upper() == "01000B916407281553F800000AE8329BFD4697D9EC37"
    assert sms.content_text(sms.decode_submit(made)) == "hellohello"


@given(st.text("abc €ä[ÖéΔ", max_size=60), st.booleans())
def test_texts_of_messages_read_back(written: str, headed: bool) -> None:
    elements = (sms.ports_element(16000, 0),) if headed else ()
    content, dcs = sms.text_content(written, elements)
    submit = sms.Submit("+49170", content, 1, 0, dcs)
    again = sms.decode_submit(submit.encode())
    assert sms.content_text(again) == written
    assert again.content.ports == ((16000, 0) if headed else None)


def test_a_text_beyond_the_alphabet_goes_as_ucs2() -> None:
    content, dcs = sms.text_content("日本語")
    assert dcs == 0x08
    assert sms.content_text(sms.decode_submit(sms.Submit("+81", content, dcs=dcs).encode())) == "日本語"


@given(st.binary(max_size=2000), st.integers(0, 65535), st.booleans(), st.randoms())
def test_long_messages_are_joined_in_any_order(data: bytes, reference: int, wide: bool, chance: object) -> None:
    elements = (sms.Element(sms.COMMAND_PACKET, b""),)
    parts = sms.split(elements, data, reference, wide=wide)
    assert all(len(part.encode()) <= 140 for part in parts)
    assert [part.element(sms.COMMAND_PACKET) for part in parts] == [b"", *[None] * (len(parts) - 1)]
    chance.shuffle(parts)  # type: ignore[attr-defined]  # a random.Random
    joiner = sms.Reassembler()
    found = [joiner.add("+49", part) for part in (*parts[:-1], *parts[:1], parts[-1])]
    whole = [each for each in found if each is not None]
    assert whole[0] == sms.UserData(elements, data)


def test_parts_of_two_senders_are_not_mixed_and_the_oldest_wait_ends() -> None:
    one, two = (sms.split((), bytes((fill,)) * 200, 7) for fill in (1, 2))
    joiner = sms.Reassembler(most=2)
    assert joiner.add("a", one[0]) is None
    assert joiner.add("b", two[1]) is None
    assert joiner.add("c", two[0]) is None
    joined = joiner.add("b", two[0])
    assert joined is not None
    assert joined.data == b"\x02" * 200
    assert joiner.add("a", one[1]) is None


def test_a_reference_that_comes_again_begins_anew() -> None:
    old, new = (sms.split((), bytes((fill,)) * 200, 7) for fill in (1, 2))
    joiner = sms.Reassembler()
    joiner.add("a", old[0])
    joiner.add("a", new[0])
    joined = joiner.add("a", new[1])
    assert joined is not None
    assert joined.data == b"\x02" * 200


def test_time_stamps_keep_their_zone() -> None:
    for hours in (-5, 0, 2):
        local = NOW.astimezone(timezone(timedelta(hours=hours)))
        assert sms.decode_time(sms.encode_time(local)) == NOW
    assert sms.encode_time(NOW).hex() == "62111221005000"


@pytest.mark.parametrize("ports", [(240, 255), (5505, 5505), (16000, 1)])
def test_ports_take_as_few_bits_as_they_can(ports: tuple[int, int]) -> None:
    element = sms.ports_element(*ports)
    assert element.id == (sms.PORTS_8 if ports == (240, 255) else sms.PORTS_16)
    assert sms.UserData((element,)).ports == ports


# Commands to the card, and what phones say that they can do.


@pytest.mark.parametrize(
    ("coded", "command"),
    [
        ("80100000", apdu.Apdu(0x80, 0x10)),
        ("8012000010", apdu.Apdu(0x80, 0x12, expected=16)),
        ("8012000000", apdu.Apdu(0x80, 0x12, expected=256)),
        ("00A40004022FE2", apdu.Apdu(0, 0xA4, 0, 4, b"\x2f\xe2")),
        ("80C2000002D30010", apdu.Apdu(0x80, 0xC2, 0, 0, b"\xd3\x00", 16)),
    ],
)
def test_commands_read_back(coded: str, command: apdu.Apdu) -> None:
    assert command.encode().hex().upper() == coded
    assert apdu.decode_apdu(bytes.fromhex(coded)) == command


@pytest.mark.parametrize("wrong", ["", "8010", "8014000005AA", "801400000300112233FF44"])
def test_commands_that_do_not_hold_are_refused(wrong: str) -> None:
    with pytest.raises(CardError):
        apdu.decode_apdu(bytes.fromhex(wrong))


def test_digits_are_swapped() -> None:
    assert apdu.swap_digits("8949000000000000018", 10).hex() == "989400000000000010f8"
    assert apdu.unswap_digits(bytes.fromhex("989400000000000010f8")) == "8949000000000000018"


def test_a_profile_says_what_was_put_into_it() -> None:
    abilities = (Ability.MENU_SELECTION, Ability.DISPLAY_TEXT, Ability.SELECT_ITEM, Ability.SET_UP_MENU)
    profile = make_profile(abilities, (8, 24))
    assert set(profile.abilities()) == set(abilities)
    assert profile.screen == (8, 24)
    assert Profile(profile.data[:2]).abilities() == (Ability.MENU_SELECTION,)
    assert make_profile(abilities).data.hex() == "08000121"
