"""The audio option: a tone is played in a call, recorded, and becomes a tone in the card's slot."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest
from operator_samples import NOW
from tone_network import Network
from tone_samples import TUNES

from operator_server.store.accounting import Charge
from operator_server.store.dealings import Agreement, Installation
from operator_server.store.tones import ToneDelivery
from operator_server.tones import shop
from operator_server.tones.registry import import_tone
from signalling.tones import Note, Style, Tone, ToneError, parse_rtttl
from signalling.tones.messages import pack
from signalling.tones.recognise import decode_recording, encode_recording, played, recognise, recorded, same_sound
from signalling.tones.sound import samples_of, waveform
from signalling.tones.tune import OCTAVES, TEMPOS
from signalling.tones.voice import FRAME_SAMPLES, decode_voice, encode_voice, frames
from terminal_sim.handset import MODERN, Key, without
from terminal_sim.recorder import Recorder

BACH = parse_rtttl(TUNES["tone-bach"][0])
MakeNetwork = Callable[..., Network]


def heard(tone: Tone) -> list[int]:
    """What a phone hears of a tone, in whole frames."""
    return list(decode_voice(b"".join(frames(played(tone)))))


def any_tones(style: Style, count: int) -> list[Tone]:
    """Tones by chance, the same in every run; no note is shorter than 30 ms, in style c than 50 ms."""
    chance, found = random.Random(7), list[Tone]()
    while len(found) < count:
        notes = tuple(
            Note(
                pitch,
                chance.choice(OCTAVES) if pitch else 4,
                chance.choice((2, 4, 8, 8, 16, 32)),
                chance.choice((0, 0, 0, 1, 2, 3)),
            )
            for pitch in (chance.randint(0, 12) for _ in range(chance.randint(1, 10)))
        )
        tone = Tone("Any", notes, chance.choice(TEMPOS[4:22]), style)
        lengths = [samples_of(note, tone.tempo) for note in notes]
        least = 400 if style is Style.CONTINUOUS else 240
        if min(lengths) >= least and sum(lengths) < 8000 * 3 and any(note.pitch for note in notes):
            found.append(tone)
    return found


@pytest.mark.requirement("E8")
@pytest.mark.parametrize("style", list(Style))
def test_the_sound_of_any_tone_becomes_the_tone_again(style: Style) -> None:
    for tone in any_tones(style, 12):
        found = recognise(heard(tone), "Any", tempo=tone.tempo)
        assert same_sound(found, tone)
        assert found.tempo == tone.tempo
        assert found == recorded(tone)
        # Without knowing the tempo it sounds the same, whatever it is written in.
        assert same_sound(recognise(heard(tone), "Any"), tone)


@pytest.mark.parametrize("text", [text for text, _ in TUNES.values()] + ["A:d=8,o=5,b=125:g,g,g,2d#.,p,f,f,f,2d."])
def test_tones_as_people_write_them_come_back_note_by_note(text: str) -> None:
    tone = parse_rtttl(text)
    assert recognise(heard(tone), tone.title, tempo=tone.tempo) == tone


@pytest.mark.parametrize("style", ["n", "c", "s"])
def test_style_is_heard(style: str) -> None:
    tone = parse_rtttl(f"A:d=4,o=5,b=100,s={style}:c,d,8e,p,8f,a")
    assert recognise(heard(tone), "A", tempo=100) == tone


def test_equal_notes_without_a_break_are_one_that_lasts_as_long() -> None:
    tone = parse_rtttl("A:d=8,o=5,b=100,s=c:c,c,d,d,d,e")
    assert recognise(heard(tone), "A", tempo=100) == parse_rtttl("A:d=4,o=5,b=100,s=c:c,d.,8e")


def test_noise_thirty_decibels_below_does_no_harm() -> None:
    chance = random.Random(1)
    noisy = [sample + round(chance.gauss(0, 12000 / 2**0.5 / 31.6)) for sample in waveform(BACH, "sine")]
    assert recognise(decode_voice(encode_voice(noisy)), "Bach", tempo=112) == BACH


@pytest.mark.parametrize(
    "sound",
    [
        [],
        [0] * 8000,
        [12000 if at % 100 < 50 else -12000 for at in range(8000)],
        [(at * 7919) % 24001 - 12000 for at in range(8000)],
    ],
    ids=["nothing", "silence", "below octave 4", "noise"],
)
def test_what_is_no_tone_is_not_made_one(sound: list[int]) -> None:
    with pytest.raises(ToneError):
        recognise(sound, "A")


def test_sounds_differ_where_a_pitch_or_a_length_does() -> None:
    def tone(text: str) -> Tone:
        return parse_rtttl(f"A:d=4,o=5,b=125:{text}")

    assert same_sound(tone("c,d"), tone("c,d"))
    assert not same_sound(tone("c,d"), tone("c,d#"))
    assert not same_sound(tone("c,d"), tone("c,8d"))
    assert not same_sound(tone("c,d"), tone("c,p,d"))
    assert not same_sound(tone("c,d"), tone("c,d,d"))


def test_a_law_is_that_of_the_standard() -> None:
    # ITU-T G.711, table 1a: decision values and what they stand for; silence is D5.
    assert encode_voice([0, 1, 32767, -1, -32768]) == bytes.fromhex("d5d5aa552a")
    assert list(decode_voice(bytes.fromhex("d555aa2a"))) == [8, -8, 32256, -32256]
    assert all(encode_voice(decode_voice(bytes((code,)))) == bytes((code,)) for code in range(256))
    assert [len(each) for each in frames(bytes(FRAME_SAMPLES + 1))] == [FRAME_SAMPLES, FRAME_SAMPLES]


@pytest.mark.parametrize("lost", [0, 5, -1])
def test_a_frame_that_is_missing_leaves_nothing(lost: int) -> None:
    sound = frames(played(BACH))
    recorder = Recorder()
    for place, frame in enumerate(sound):
        if place != lost % len(sound) or lost == -1:
            recorder.heard(place, frame)
    assert recorder.recording() == (encode_recording(decode_voice(b"".join(sound))) if lost == -1 else b"")


@pytest.mark.parametrize(
    "recording",
    [
        b"",
        b"\x90",
        [],
        [[], 8000],
        [[[48, 0, 100]], 8000],
        [[[1, 100, 50]], 8000],
        [[[1, 0, 9000]], 8000],
        [[[1, 0, 50], [1, 40, 90]], 99],
    ],
)
def test_what_is_no_recording_is_refused(recording: object) -> None:
    data = recording if isinstance(recording, bytes) else msgspec.msgpack.encode(recording)
    with pytest.raises(ToneError):
        decode_recording(data)


# From agreement to slot, over sockets.


def wants_calls(network: Network) -> None:
    """The user says on his card's screen that tones are to be played to him."""
    network.run(network.handset.open_menu)
    network.choose("Tones", "Receive as", "Played in a call")
    network.see("Your next tones come so.")
    network.press(Key.OK, Key.RED)


def bought(network: Network) -> None:
    network.choose_bach()
    network.agree()
    network.see("Call to record Bach?")


def call(network: Network) -> None:
    network.run(lambda: network.handset.press(Key.OK))


def delivery(network: Network) -> ToneDelivery:
    network.wait(lambda: network.house.rows(ToneDelivery))
    [row] = network.house.rows(ToneDelivery)
    return row


@pytest.mark.requirement("E8")
@pytest.mark.requirement("E16")
def test_a_tone_is_played_recorded_digitized_and_kept_on_the_card(network: Network) -> None:
    wants_calls(network)
    bought(network)
    assert not network.house.rows(Charge)
    call(network)
    network.wait(lambda: delivery(network).state == "kept")
    # A real connection over a channel for speech; what came over it is sound, and nothing of the tone went otherwise.
    assert "CHANNEL TCH" in network.heard
    voice = b"".join(bytes.fromhex(line.split(" ")[3]) for line in network.heard if line.startswith("VOICE "))
    assert voice == b"".join(frames(played(BACH)))
    assert network.slots() == {"tone-bach": ("1", pack(BACH))}
    assert delivery(network).form == "audio"
    [agreement] = network.house.rows(Agreement, terminal_id="SIM-1")
    assert agreement.state == "installed"
    assert [each.net for each in network.house.rows(Charge, agreement_id=agreement.id)] == [1_000_000]
    network.see("Kept: Bach")


@pytest.mark.requirement("E8")
@pytest.mark.parametrize("how", ["the phone hangs up", "the radio is lost", "the node loses home", "home hangs up"])
def test_a_call_that_breaks_off_stores_and_charges_nothing_and_can_be_made_again(
    make_network: MakeNetwork, how: str
) -> None:
    network = make_network(voice_frame_ms=20)
    network.house.change(lambda c: shop.set_wish(c, "SIM-1", form="audio"))
    bought(network)
    call(network)
    network.wait(lambda: any(line.startswith("VOICE 1 3 ") for line in network.heard))
    north = network.nodes["north"]
    if how == "the phone hangs up":
        network.run(network.air.hang_up)
    elif how == "the radio is lost":
        network.run(lambda: network.air.radio.transport.abortConnection())  # type: ignore[union-attr]  # it is connected
    elif how == "the node loses home":
        network.run(lambda: north.home._side.transport.abortConnection())  # type: ignore[union-attr]  # it is connected
    else:
        [link] = [each for each in network.role.home.nodes.values() if each.calls]
        network.run(lambda: next(iter(link.calls.values()))._over())
    network.see("The tone was not recorded.")
    assert not network.slots()
    assert not network.house.rows(Charge)
    assert delivery(network).state == "sent"
    if how == "the radio is lost":
        network.move("south")
    network.wait(lambda: all(node.home.attached for node in network.nodes.values()))
    network.role.home.settings.voice_frame_ms = 0
    network.choose("Call again")
    network.see("Call to record Bach?")
    call(network)
    network.wait(lambda: delivery(network).state == "kept")
    assert network.slots() == {"tone-bach": ("1", pack(BACH))}


@pytest.mark.requirement("E8")
@pytest.mark.requirement("E18")
def test_who_does_without_pays_nothing(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is played is another tone: the card knows that it is not the one that was agreed on.
    other = played(parse_rtttl("Bach:d=4,o=5,b=112:c,d,e"))
    monkeypatch.setattr("operator_server.nodes.home.shop.to_play", lambda connection, number, code: other)
    network.house.change(lambda c: shop.set_wish(c, "SIM-1", form="audio"))
    bought(network)
    call(network)
    network.choose("Do without")
    network.wait(lambda: delivery(network).state == "not_kept")
    assert delivery(network).reason == "broken"
    assert network.house.left() == 20_000_000
    assert not network.slots()
    assert not network.house.rows(Installation, terminal_id="SIM-1")


def test_who_puts_the_call_off_is_asked_again_with_the_next_offers(network: Network) -> None:
    network.house.change(lambda c: shop.set_wish(c, "SIM-1", form="audio"))
    bought(network)
    network.press(Key.RED)
    network.wait(lambda: not network.handset.asked)
    network.run(network.handset.open_menu)
    network.choose("Ask for offers")
    network.wait(lambda: network.handset.asked)
    while not network.shows[0].startswith("Call to record"):
        network.press(Key.RED)
    call(network)
    network.wait(lambda: delivery(network).state == "kept")


def test_nobody_hears_what_another_has_bought(network: Network) -> None:
    network.house.change(lambda c: shop.set_wish(c, "SIM-1", form="audio"))
    bought(network)
    code = delivery(network).code
    read = network.house.change
    assert read(lambda c: shop.to_play(c, "+491701234567", code))
    assert read(lambda c: shop.to_play(c, "+491709999999", code)) is None
    assert read(lambda c: shop.to_play(c, "+491701234567", "9999")) is None
    call(network)
    network.wait(lambda: delivery(network).state == "kept")
    assert read(lambda c: shop.to_play(c, "+491701234567", code)) is None


def test_a_tone_too_fast_to_be_recorded_comes_as_a_message(network: Network) -> None:
    fast = "Bach:d=32,o=5,b=900:c,d,e,f,g,a,b,c6"
    with pytest.raises(ToneError, match="Bach"):
        recorded(parse_rtttl(fast))
    network.house.change(lambda c: import_tone(c, fast, NOW, product="tone-bach", kinds=("classical",)))
    network.house.change(lambda c: shop.set_wish(c, "SIM-1", form="audio"))
    network.choose_bach()
    network.agree()
    network.wait(lambda: delivery(network).state == "kept")
    assert delivery(network).form == "smart"


def test_a_phone_that_makes_no_calls_is_not_offered_them(make_network: MakeNetwork) -> None:
    network = make_network(profile=without(MODERN, ["set-up-call"]))
    network.run(network.handset.open_menu)
    network.choose("Tones", "Receive as")
    network.wait(lambda: network.shows[0] == "Message")
    assert network.shows == ["Message", "Text (RTTTL)"]


def test_a_tone_comes_as_text_where_the_user_says_so(network: Network) -> None:
    for line in ("*100#", "4", "2"):
        said = network.dial(line)
    assert said == "Your next tones come so."
    network.choose_bach()
    network.agree()
    network.wait(lambda: delivery(network).state == "kept")
    assert delivery(network).form == "rtttl"
    assert network.slots() == {"tone-bach": ("1", pack(BACH, "rtttl"))}


def test_an_unknown_number_is_not_answered(network: Network) -> None:
    for number, cause in (("+4900999", 1), ("+49001000001", 21)):
        network.run(lambda number=number: network.air.call(number))  # type: ignore[misc]  # bound to this turn
        network.wait(lambda cause=cause: any(line.endswith(f" {cause}") for line in network.heard))  # type: ignore[misc]  # bound to this turn
