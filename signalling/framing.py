"""Frames on the link: a length of four bytes, big-endian, then so many bytes of one envelope; at most 64 KiB."""

from __future__ import annotations

import struct

MAX_FRAME = 64 * 1024
_LENGTH = struct.Struct(">I")


class FrameError(ValueError):
    """A length that no frame may have; nothing after it can be read."""


def frame(payload: bytes) -> bytes:
    """The payload with its length before it. Raises :class:`FrameError` when it is empty or over 64 KiB."""
    if not 0 < len(payload) <= MAX_FRAME:
        raise FrameError(f"a frame of {len(payload)} bytes; allowed are 1 to {MAX_FRAME}")
    return _LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Cuts a stream of bytes into frames; holds no more than one unfinished frame."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now. Raises :class:`FrameError` at a bad length; then the link is over."""
        if self._rest:
            data = self._rest + data
        frames: list[bytes] = []
        offset, end = 0, len(data)
        while end - offset >= 4:
            length = _LENGTH.unpack_from(data, offset)[0]
            if not 0 < length <= MAX_FRAME:
                raise FrameError(f"a frame of {length} bytes; allowed are 1 to {MAX_FRAME}")
            if end - offset - 4 < length:
                break
            frames.append(data[offset + 4 : offset + 4 + length])
            offset += 4 + length
        self._rest = data[offset:] if offset < end else b""
        return frames
