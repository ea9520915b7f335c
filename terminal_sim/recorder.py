"""Records what is played in a call, and makes pitches and times of it: the client application of the audio option."""

from __future__ import annotations

from signalling.tones import ToneError
from signalling.tones.recognise import encode_recording
from signalling.tones.voice import decode_voice

LONGEST_FRAMES = 61 * 50


class Recorder:
    """Takes frames in their order. A frame that is missing, or a call that breaks off, leaves nothing."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._whole = True

    def heard(self, place: int, frame: bytes) -> None:
        """A frame came."""
        if place != len(self._frames) or place >= LONGEST_FRAMES:
            self._whole = False
        else:
            self._frames.append(frame)

    def recording(self) -> bytes:
        """What was heard, for the card; empty where it is not whole, or of no pitch that a tone can have."""
        if not self._whole or not self._frames:
            return b""
        try:
            return encode_recording(decode_voice(b"".join(self._frames)))
        except ToneError:
            return b""
