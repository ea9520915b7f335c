"""Ring tones: written as RTTTL, packed as Nokia smart messages, and rendered to sound."""

from signalling.tones.smart import decode_smart, encode_smart
from signalling.tones.tune import Note, Style, Tone, ToneError, format_rtttl, parse_rtttl

__all__ = ["Note", "Style", "Tone", "ToneError", "decode_smart", "encode_smart", "format_rtttl", "parse_rtttl"]
