"""Words of the card's toolkit: devices, tags and results (ETSI TS 102 223; 3GPP TS 31.111).

A card cannot begin to speak. It answers some command with status 91xx, the phone fetches a proactive command
(:mod:`signalling.card.commands`), carries it out with its user, and gives back a terminal response
(:mod:`signalling.card.responses`); by an envelope (:mod:`signalling.card.envelopes`) the phone tells of a choice in the
card's menu or of a message that came for the card.
"""

from __future__ import annotations

from enum import IntEnum

from signalling.card.tlv import CardError

PROACTIVE, SMS_PP, MENU_SELECTION, EVENT_DOWNLOAD, USSD_DOWNLOAD = 0xD0, 0xD1, 0xD3, 0xD6, 0xD9
"""Tags of the BER-TLV objects that a command and the envelopes are."""


class Device(IntEnum):
    """Who speaks, to whom."""

    KEYPAD = 0x01
    DISPLAY = 0x02
    CARD = 0x81
    TERMINAL = 0x82
    NETWORK = 0x83


class Tag(IntEnum):
    """Tags of the objects, without the comprehension bit."""

    COMMAND_DETAILS = 0x01
    DEVICES = 0x02
    RESULT = 0x03
    ALPHA = 0x05
    ADDRESS = 0x06
    USSD = 0x0A
    TPDU = 0x0B
    TEXT = 0x0D
    ITEM = 0x0F
    ITEM_ID = 0x10
    RESPONSE_LENGTH = 0x11
    FILES = 0x12
    LOCATION = 0x13
    IMEI = 0x14
    HELP = 0x15
    DEFAULT_TEXT = 0x17
    EVENTS = 0x19
    CAUSE = 0x1A
    TRANSACTION = 0x1C
    LANGUAGE = 0x2D


class Result(IntEnum):
    """General results of a command."""

    OK = 0x00
    PARTIAL = 0x01
    MISSING_INFORMATION = 0x02
    SESSION_ENDED = 0x10
    BACK = 0x11
    NO_RESPONSE = 0x12
    HELP = 0x13
    TERMINAL_BUSY = 0x20
    NETWORK_BUSY = 0x21
    USER_REFUSED = 0x22
    USER_CLEARED = 0x23
    BEYOND_CAPABILITY = 0x30
    TYPE_NOT_UNDERSTOOD = 0x31
    DATA_NOT_UNDERSTOOD = 0x32
    NUMBER_UNKNOWN = 0x33
    SMS_ERROR = 0x35
    VALUES_MISSING = 0x36
    USSD_ERROR = 0x37


RESULT_TEXTS = {
    0x00: "performed", 0x01: "performed, with partial comprehension", 0x02: "performed, with missing information",
    0x10: "the user ended the session", 0x11: "the user went back", 0x12: "no answer from the user",
    0x13: "the user asks for help", 0x20: "the phone is busy", 0x21: "the network is busy",
    0x22: "the user refused", 0x23: "the user cleared the call before it stood",
    0x30: "beyond the phone's abilities", 0x31: "type of command not understood",
    0x32: "data not understood", 0x33: "number of command not known", 0x35: "the message was not sent",
    0x36: "values are missing", 0x37: "the USSD session failed",
}  # fmt: skip


class CommandError(CardError):
    """A command, an answer or an envelope that does not hold."""
