"""Proactive commands and their answers, by the test vectors of ETSI TS 102 384 and as round trips."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalling.card.commands import (
    Command,
    DisplayText,
    GetInkey,
    GetInput,
    Item,
    Local,
    ProvideLocalInformation,
    Refresh,
    SelectItem,
    SendShortMessage,
    SetUpMenu,
    decode_command,
    encode_command,
)
from signalling.card.envelopes import MenuSelection, SmsDownload, decode_envelope
from signalling.card.responses import Location, Response, decode_response
from signalling.card.tlv import CardError
from signalling.card.usat import CommandError, Result

FOUR = tuple(Item(number, f"Item {number}") for number in range(1, 5))
SELECT_FOUR = (
    "D03D810301240082028182850E546F6F6C6B69742053656C6563748F07014974656D20318F07024974656D20328F07034974656D2033"
    "8F07044974656D2034"
)
VECTORS: list[tuple[Command, str]] = [
    (SelectItem("Toolkit Select", FOUR), SELECT_FOUR),
    (DisplayText("Toolkit Test 1"), "D01A8103012180820281028D0F04546F6F6C6B697420546573742031"),
    (DisplayText("Toolkit Test 1", urgent=True), "D01A8103012181820281028D0F04546F6F6C6B697420546573742031"),
    (DisplayText("Toolkit Test 3", wait=False), "D01A8103012100820281028D0F04546F6F6C6B697420546573742033"),
    (
        SetUpMenu("Toolkit Menu", FOUR),
        "D03B810301250082028182850C546F6F6C6B6974204D656E758F07014974656D20318F07024974656D20328F07034974656D2033"
        "8F07044974656D2034",
    ),
    (GetInkey('Enter "+"', characters=False), "D0158103012200820281828D0A04456E74657220222B22"),
    (GetInput("Enter 12345", 5, 5), "D01B8103012300820281828D0C04456E746572203132333435 9102 0505".replace(" ", "")),
    (ProvideLocalInformation(Local.LOCATION), "D009810301260082028182"),
    (ProvideLocalInformation(Local.IMEI), "D009810301260182028182"),
]


@pytest.mark.parametrize(("command", "expected"), VECTORS, ids=lambda value: getattr(value, "NAME", ""))
def test_vectors_come_out_bit_for_bit_and_read_back(command: Command, expected: str) -> None:
    assert encode_command(command).hex().upper() == expected
    assert decode_command(bytes.fromhex(expected)).command == command


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (Response(1, 0x24, 0, Result.OK, item=2), "810301240082028281830100900102"),
        (Response(1, 0x24, 0, Result.BACK), "810301240082028281830111"),
        (Response(1, 0x21, 0x80, Result.OK), "810301218082028281830100"),
        (Response(1, 0x21, 0x80, Result.TERMINAL_BUSY, extra=b"\x01"), "81030121808202828183022001"),
        (Response(1, 0x22, 0, Result.OK, text="+"), "8103012200820282818301008D02042B"),
    ],
)
def test_answers_come_out_bit_for_bit_and_read_back(response: Response, expected: str) -> None:
    assert response.encode().hex().upper() == expected.upper()
    assert decode_response(bytes.fromhex(expected)) == response


def test_local_information_carries_imei_and_location() -> None:
    imei = Response(1, 0x26, 1, Result.OK, imei="123456789012345")
    assert imei.encode().hex().upper() == "8103012601820282818301009408" + "1A32547698103254"
    place = Response(1, 0x26, 0, Result.OK, location=Location("00101", 1, 1))
    assert place.encode().hex().upper() == "8103012600820282818301009307" + "00F11000010001"
    assert decode_response(imei.encode()) == imei
    assert decode_response(place.encode()) == place
    assert decode_response(Response(1, 0x26, 0, 0, location=Location("310410", 7, None)).encode()).location == (
        "310410",
        7,
        None,
    )


def test_objects_count_with_and_without_the_comprehension_bit() -> None:
    lenient = bytes.fromhex("0103012400020282810301001001" + "02")
    assert decode_response(lenient) == Response(1, 0x24, 0, Result.OK, item=2)


def test_a_command_of_an_unknown_type_keeps_its_details() -> None:
    fetched = decode_command(bytes.fromhex("D009810305410082028182"))
    assert (fetched.number, fetched.type, fetched.command) == (5, 0x41, None)


def test_what_cannot_be_fetched_is_not_encoded() -> None:
    with pytest.raises(CommandError, match="at most 256"):
        encode_command(DisplayText("x" * 250))


def test_envelopes_read_back() -> None:
    assert MenuSelection(1).encode().hex().upper() == "D30782020181900101"
    assert decode_envelope(MenuSelection(7, help=True).encode()) == MenuSelection(7, help=True)
    download = SmsDownload(bytes(range(160)), bytes.fromhex("9144"))
    assert decode_envelope(download.encode()) == download


plain = st.text("abc XYZ 123 äöü€[]", max_size=20)
any_text = st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), max_size=15)
items = st.lists(st.tuples(st.integers(1, 255), any_text), min_size=1, max_size=4).map(
    lambda pairs: tuple(Item(*pair) for pair in pairs)
)
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(SelectItem, any_text, items, st.none() | st.integers(1, 255), st.booleans()),
    st.builds(SetUpMenu, any_text, items, st.booleans()),
    st.builds(DisplayText, any_text.filter(bool), st.booleans(), st.booleans()),
    st.builds(GetInkey, any_text, st.booleans(), st.booleans(), st.booleans()),
    st.builds(
        GetInput, any_text, st.integers(0, 9), st.integers(9, 255), st.booleans(), st.booleans(), st.booleans(),
        st.booleans(), plain,
    ),
    st.builds(SendShortMessage, st.binary(max_size=164), plain),
    st.builds(Refresh, st.integers(0, 6)),
)  # fmt: skip


@given(commands, st.integers(1, 254))
def test_every_command_reads_back(command: Command, number: int) -> None:
    fetched = decode_command(encode_command(command, number))
    assert (fetched.number, fetched.command) == (number, command)


@given(st.binary(max_size=80), st.sampled_from([bytes.fromhex(each) for _, each in VECTORS]), st.integers(0, 60))
def test_decoders_raise_their_own_error_alone(noise: bytes, vector: bytes, at: int) -> None:
    for data in (noise, vector[:at] + noise, vector[:at] + noise[:1] + vector[at + 1 :]):
        for decoder in (decode_command, decode_response, decode_envelope):
            try:
                decoder(data)
            except CardError:
                continue
