"""What decoding of bytes that somebody else sent may end with."""

from __future__ import annotations

import msgspec

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec's decoders raise: also for text that is not UTF-8, and for values nested without end."""
