"""SMPP messages as they come from a centre: read by smpplib, and what does not hold raises one error alone."""

from __future__ import annotations

import struct
from typing import Any

from smpplib import smpp
from smpplib.exceptions import PDUError, UnknownCommandError

from signalling.card.text import from_septets, in_alphabet, to_septets
from signalling.card.tlv import CardError

UDHI = 0x40
RECEIPT = 0x04
"""Of ``esm_class``: a delivery receipt of the centre."""

DELIVERED = 2
"""Of ``message_state``."""

_FAULTS = (UnknownCommandError, struct.error, ValueError, LookupError, TypeError, AttributeError)
"""What smpplib raises, beside its own error, where fields are cut short, unknown or not where they belong."""


def read_pdu(raw: bytes, client: Any) -> Any:
    """The message in these bytes, which begin with its length. Raises ``smpplib.exceptions.PDUError``."""
    if len(raw) < 16:
        raise PDUError(f"{len(raw)} bytes; a message has at least 16")
    try:
        pdu = smpp.parse_pdu(raw, client=client, allow_unknown_opt_params=True)
    except _FAULTS as fault:
        raise PDUError(f"a message that does not hold: {fault!r}") from None
    if pdu is None:
        raise PDUError("a message of no known command")
    return pdu


def message_of(pdu: Any) -> tuple[str, bytes, bool, int]:
    """What a deliver_sm brings: the sender's number, user data, whether they begin with a header, their coding.

    A long message may come in the optional ``message_payload``.
    """
    source = getattr(pdu, "source_addr", None)
    digits = source.decode("ascii", "replace") if isinstance(source, bytes) else str(source or "")
    data = getattr(pdu, "short_message", None) or getattr(pdu, "message_payload", None) or b""
    header = bool((getattr(pdu, "esm_class", None) or 0) & UDHI)
    return "+" + digits.removeprefix("+"), data, header, int(getattr(pdu, "data_coding", None) or 0)


def receipt_of(pdu: Any) -> tuple[str, bool] | None:
    """The centre's id of the message that a delivery receipt is of, and whether it arrived; ``None`` for no receipt.

    By the optional parameters, else by the text that centres write (SMPP 3.4, appendix B).
    """
    if not (getattr(pdu, "esm_class", None) or 0) & RECEIPT:
        return None
    text = (getattr(pdu, "short_message", None) or b"").decode("ascii", "replace")
    words = dict(word.split(":", 1) for word in text.split() if ":" in word)
    named = getattr(pdu, "receipted_message_id", None) or words.get("id", "")
    name = named.decode("ascii", "replace") if isinstance(named, bytes) else str(named)
    state = getattr(pdu, "message_state", None)
    return name.rstrip("\x00"), state == DELIVERED if state is not None else words.get("stat", "").startswith("DELIVRD")


def text_of(data: bytes, coding: int) -> str:
    """The text of user data by its data_coding: 0 the GSM alphabet, a byte a character; 1 ASCII; 3 Latin-1; 8 UCS2.

    Raises :class:`signalling.card.tlv.CardError` for data.
    """
    if coding == 0:
        return from_septets(data)
    codec = {1: "ascii", 3: "latin-1", 8: "utf-16-be"}.get(coding)
    if codec is None:
        raise CardError(f"coding {coding:02X} is data, not text")
    return data.decode(codec, "replace")


def text_data(text: str) -> tuple[bytes, int]:
    """A text as user data and its data_coding."""
    if in_alphabet(text):
        return to_septets(text), 0
    return text.encode("utf-16-be", "replace"), 8
