import contextlib
import io
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalling.card.sms import Reassembler, decode_user_data
from signalling.tones import Note, Style, Tone, ToneError, decode_smart, encode_smart, format_rtttl, parse_rtttl
from signalling.tones.messages import tone_messages, tone_of, unpack
from signalling.tones.sound import RATE, frequency, render
from signalling.tones.tune import LENGTHS, OCTAVES, TEMPOS

SCALE = "Scale:d=4,o=5,b=125:c,d,e,f,8g.,p,16a#6,2c7"

notes = st.builds(
    lambda pitch, octave, length, sign: Note(pitch, octave if pitch else 4, length, sign),
    st.integers(0, 12), st.sampled_from(OCTAVES), st.sampled_from(LENGTHS), st.integers(0, 3),
)  # fmt: skip
titles = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters=":", exclude_categories=("Cc",)),
    min_size=1, max_size=15,
).filter(lambda title: title == title.strip() and title.strip() != "")  # fmt: skip
tones = st.builds(
    Tone, titles, st.lists(notes, min_size=1, max_size=125).map(tuple), st.sampled_from(TEMPOS),
    st.sampled_from(Style), st.integers(0, 15),
)  # fmt: skip


@given(tones)
def test_text_says_the_whole_tone(tone: Tone) -> None:
    assert parse_rtttl(format_rtttl(tone)) == tone


@given(tones)
def test_the_binary_form_holds_the_whole_tone(tone: Tone) -> None:
    assert decode_smart(encode_smart(tone)) == tone


@given(tones, st.integers(0, 255), st.sampled_from(["smart", "rtttl"]))
def test_messages_in_any_order_make_the_tone(tone: Tone, reference: int, form: str) -> None:
    joined, whole = Reassembler(), None
    messages = tone_messages(tone, reference, form)  # type: ignore[arg-type]  # one of the forms
    for each in reversed(messages):
        whole = joined.add("operator", decode_user_data(each.encode(), has_header=True))
    assert whole is not None
    assert tone_of(whole) == tone


@given(st.binary(max_size=420) | st.binary(max_size=60).map(lambda rest: b"\x02\x4a\x3a" + rest))
def test_bytes_that_are_no_tone_raise_their_own_error_alone(data: bytes) -> None:
    with contextlib.suppress(ToneError):
        unpack(data)


@given(tones, st.data())
def test_a_tone_with_flipped_bits_raises_its_own_error_alone(tone: Tone, data: st.DataObject) -> None:
    packed = bytearray(encode_smart(tone))
    for _ in range(3):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ToneError):
        decode_smart(bytes(packed))


@given(st.text(alphabet="abcdefghp#.;&0123456789,:=osl ", max_size=80))
def test_text_that_is_no_tone_raises_its_own_error_alone(text: str) -> None:
    with contextlib.suppress(ToneError):
        parse_rtttl(text)


def test_the_binary_form_bit_by_bit() -> None:
    # 02; 0100101 0; 0011101 001 0001 01000001; one pattern 000 00 0000, 4 instructions; tempo 63, natural,
    # octave 5, quarter c; end.
    bits = "00000010 01001010 0011101001 0001 01000001 00000001 000000000 00000100"
    bits += "100 01000 011 00 010 01 001 0001 010 00"
    joined = bits.replace(" ", "")
    joined += "0" * (-len(joined) % 8) + "00000000"
    assert encode_smart(parse_rtttl("A:d=4,o=5,b=63:c")) == int(joined, 2).to_bytes(len(joined) // 8, "big")


def test_a_pattern_that_comes_again_is_written_out() -> None:
    bits = "00000010 01001010 0011101001 0001 01000001 00000011"
    note = "001 0001 010 00"
    other = "001 0011 010 00"
    bits += f"000 00 0001 00000001 {note} 000 01 0000 00000001 {other} 000 00 0000 00000000"
    joined = bits.replace(" ", "")
    joined += "0" * (-len(joined) % 8) + "00000000"
    tone = decode_smart(int(joined, 2).to_bytes(len(joined) // 8, "big"))
    assert format_rtttl(tone) == "A:d=4,o=5,b=63:c,c,d,c"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no colons", "1 parts"),
        ("A:d=5:c", "d=5"),
        ("A:o=9:c", "o=9"),
        ("A:b=64:c", "tempo 64"),
        ("A:x=1:c", "'x=1'"),
        ("A:d=4,d=8:c", "twice"),
        ("A::c,x", "note 2, 'x'"),
        ("A::c,", "note 2, ''"),
        ("A::p#", "there is no p#"),
        ("A::b#7", "beyond octave 7"),
        (":d=4:c", "title ''"),
        ("Longer than fifteen:d=4:c", "1 to 15"),
        ("A::" + ",".join("c" * 126), "126 notes"),
        ("A" * 2000, "2000 characters"),
    ],
)
def test_an_error_says_where_and_why(text: str, says: str) -> None:
    with pytest.raises(ToneError) as caught:
        parse_rtttl(text)
    assert says in str(caught.value)


def test_names_of_the_same_key_are_the_same_note() -> None:
    assert parse_rtttl("A:o=5:h,e#,b#").notes == parse_rtttl("A:o=5:b,f,c6").notes


def test_sound_is_the_same_each_time_and_as_long_as_the_notes() -> None:
    tone = parse_rtttl(SCALE)
    sound = render(tone)
    assert sound == render(tone) != render(tone, "sine")
    with wave.open(io.BytesIO(render(parse_rtttl("A:d=4,o=5,b=125:c,c")))) as file:
        # Two beats at 125 a minute.
        assert file.getnframes() == 2 * RATE * 60 // 125
    assert frequency(parse_rtttl("A:o=4:a").notes[0]) == pytest.approx(440)
    assert frequency(parse_rtttl("A:o=5:a").notes[0]) == pytest.approx(880)


def test_a_tone_that_never_ends_is_rendered_for_a_minute_at_most() -> None:
    with wave.open(io.BytesIO(render(parse_rtttl("A:d=1,o=5,b=25,l=15:" + ",".join("c" * 20))))) as file:
        assert file.getnframes() == 60 * RATE
