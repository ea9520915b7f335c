"""What crosses a card's interface, byte by byte in words: for ``--trace`` and for the documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from signalling.card import apdu, responses, secured, sms, text, usat, ussd
from signalling.card.commands import COMMANDS, Happening, SetUpCall
from signalling.card.profile import Profile
from signalling.card.tlv import CardError, decode, decode_ber

Line = tuple[int, bytes, str]
"""Depth, bytes, what they are."""

_INSTRUCTIONS = {
    apdu.SELECT: "SELECT", apdu.READ_BINARY: "READ BINARY", apdu.STATUS: "STATUS",
    apdu.TERMINAL_PROFILE: "TERMINAL PROFILE", apdu.FETCH: "FETCH", apdu.TERMINAL_RESPONSE: "TERMINAL RESPONSE",
    apdu.ENVELOPE: "ENVELOPE", apdu.UPDATE_BINARY: "UPDATE BINARY",
}  # fmt: skip
_OUTER = {
    usat.PROACTIVE: "proactive command", usat.SMS_PP: "SMS-PP download", usat.MENU_SELECTION: "menu selection",
    usat.EVENT_DOWNLOAD: "event download", usat.USSD_DOWNLOAD: "USSD download",
}  # fmt: skip


def explain_command(data: bytes) -> list[Line]:
    """What a phone says to the card."""
    try:
        command = apdu.decode_apdu(data)
    except apdu.ApduError as error:
        return [(0, data, f"no command: {error}")]
    lines: list[Line] = [(0, data[:4], _INSTRUCTIONS.get(command.ins, f"instruction {command.ins:02X}"))]
    if command.data:
        lines.append((0, bytes((len(command.data),)), f"{len(command.data)} bytes of data"))
    if command.ins == apdu.TERMINAL_PROFILE:
        names = [each.name.replace("_", " ").lower() for each in Profile(command.data).abilities()]
        lines.append((1, command.data, "the phone can: " + ", ".join(names)))
    elif command.ins == apdu.TERMINAL_RESPONSE:
        lines += _safely(_objects, command.data, 1)
    elif command.ins == apdu.ENVELOPE:
        lines += _safely(_outer, command.data, 1)
    elif command.data:
        lines.append((1, command.data, "data"))
    if command.expected is not None:
        lines.append((0, bytes((command.expected & 0xFF,)), f"{command.expected} bytes are expected"))
    return lines


def explain_answer(data: bytes) -> list[Line]:
    """What the card answers."""
    try:
        reply = apdu.decode_reply(data)
    except apdu.ApduError as error:
        return [(0, data, f"no answer: {error}")]
    lines: list[Line] = []
    if reply.data[:1] == bytes((usat.PROACTIVE,)):
        lines += _safely(_outer, reply.data, 1)
    elif reply.data:
        lines.append((1, reply.data, "data"))
    return [*lines, (0, data[-2:], apdu.status_text(reply.status))]


def as_text(lines: list[Line], width: int = 12) -> str:
    """The lines one below the other: bytes in hexadecimal, ``width`` a row, and what they are beside the first."""
    out: list[str] = []
    for depth, data, words in lines:
        indent = "  " * depth
        rows = [data[at : at + width].hex(" ").upper() for at in range(0, len(data), width)] or [""]
        column = 3 * width + 10
        out.append(f"{indent + rows[0]:<{column}}{words}".rstrip())
        out += [indent + row for row in rows[1:]]
    return "\n".join(out)


def _safely(explain: Callable[[bytes, int], Iterator[Line]], data: bytes, depth: int) -> list[Line]:
    try:
        return list(explain(data, depth))
    except CardError as error:
        return [(depth, data, f"does not hold: {error}")]


def _outer(data: bytes, depth: int) -> Iterator[Line]:
    tag, body, end = decode_ber(data)
    yield depth, data[: end - len(body)], f"{_OUTER.get(tag, 'object')}, {len(body)} bytes"
    yield from _objects(body, depth + 1)


def _objects(data: bytes, depth: int) -> Iterator[Line]:
    offset, kind = 0, 0
    for each in decode(data):
        tag_bytes = 3 if data[offset] == 0x7F else 1
        first = data[offset + tag_bytes]
        length_bytes = 1 if first < 0x80 else 1 + (first & 0x7F)
        raw = data[offset : offset + tag_bytes + length_bytes + len(each.value)]
        offset += len(raw)
        if each.tag == usat.Tag.COMMAND_DETAILS and len(each.value) >= 3:
            kind = each.value[1]
        yield depth, raw, _meaning(each.tag, each.value, kind)
        if each.tag == usat.Tag.TPDU:
            yield from _safely(_tpdu, each.value, depth + 1)


def _meaning(tag: int, value: bytes, kind: int) -> str:
    try:
        return _words(tag, value, kind)
    except (CardError, ValueError, IndexError) as error:
        return f"object {tag:02X}: {error}"


def _words(tag: int, value: bytes, kind: int) -> str:
    match tag:
        case usat.Tag.COMMAND_DETAILS:
            name = COMMANDS[value[1]].NAME if value[1] in COMMANDS else f"type {value[1]:02X}"
            return f"command {value[0]}: {name}, qualifier {value[2]:02X}"
        case usat.Tag.DEVICES:
            names = [usat.Device(each).name.lower() for each in value]
            return f"from {names[0]} to {names[1]}"
        case usat.Tag.RESULT:
            extra = f" ({value[1:].hex().upper()})" if value[1:] else ""
            return f"result: {usat.RESULT_TEXTS.get(value[0], 'unknown')}{extra}"
        case usat.Tag.ALPHA:
            return f"title {text.decode_alpha(value)!r}"
        case usat.Tag.TEXT | usat.Tag.DEFAULT_TEXT:
            return f"text {text.decode_text_string(value)!r}"
        case usat.Tag.ITEM:
            return f"item {value[0]}: {text.decode_alpha(value[1:])!r}"
        case usat.Tag.ITEM_ID:
            return f"item {value[0]} chosen"
        case usat.Tag.RESPONSE_LENGTH:
            return f"{value[0]} to {value[1]} characters"
        case usat.Tag.TPDU:
            return "short message"
        case usat.Tag.ADDRESS:
            return "number to call" if kind == SetUpCall.TYPE else "service centre"
        case usat.Tag.USSD:
            words = "a secured packet" if ussd.is_for_card(value[0]) else repr(ussd.decode_ussd(value[0], value[1:]))
            return f"USSD string, coding {value[0]:02X}: {words}"
        case usat.Tag.EVENTS:
            return "events: " + ", ".join(Happening(each).name.lower().replace("_", " ") for each in value)
        case usat.Tag.TRANSACTION:
            return f"transaction {value[0]}"
        case usat.Tag.CAUSE:
            return f"cause {value[1] & 0x7F}" if len(value) > 1 else "no cause: the radio was lost"
        case usat.Tag.IMEI:
            return f"IMEI {responses.decode_imei(value)}"
        case usat.Tag.LOCATION:
            place = responses.decode_location(value)
            return f"network {place.network}, area {place.area}, cell {place.cell}"
        case usat.Tag.HELP:
            return "the user asks for help"
    return f"object {tag:02X}"


def _tpdu(data: bytes, depth: int) -> Iterator[Line]:
    message: sms.Submit | sms.Deliver
    if data[:1] and data[0] & 0x03 == 0x01:
        message = sms.decode_submit(data)
        words = f"SMS-SUBMIT to {message.to}"
    else:
        message = sms.decode_deliver(data)
        words = f"SMS-DELIVER from {message.sender} at {message.at:%Y-%m-%d %H:%M:%S} UTC"
    content = message.content.encode()
    yield depth, data[: len(data) - len(content)], f"{words}, PID {message.pid:02X}, DCS {message.dcs:02X}"
    header = message.content.header()
    yield depth, header, "header: " + ", ".join(_element(each) for each in message.content.elements)
    packet = message.content.data
    if message.content.element(sms.COMMAND_PACKET) is not None and len(packet) >= 10:
        security = secured.decode_security(packet[3:5])
        yield depth, packet[:2], f"command packet of {int.from_bytes(packet[:2], 'big')} bytes"
        yield depth, packet[2:3], f"its header has {packet[2]}"
        receipt = ("none", "always", "on an error")[security.receipt]
        yield (
            depth,
            packet[3:5],
            f"SPI: {security.check.name}, ciphered {security.ciphered}, proof of receipt {receipt}",
        )
        yield depth, packet[5:7], f"KIc and KID: AES, key set {packet[5] >> 4}"
        yield depth, packet[7:10], "TAR of the applet"
        yield depth, packet[10:], "ciphered: counter, padding count, checksum, data"
    elif message.content.element(sms.RESPONSE_PACKET) is not None and len(packet) >= 6:
        yield depth, packet[:3], "response packet: the proof of receipt"
        yield depth, packet[3:6], "TAR of the applet"
        yield depth, packet[6:], "ciphered: counter, padding count, status, checksum"
    else:
        yield depth, packet, "data: a further part"


def _element(each: sms.Element) -> str:
    names = {sms.COMMAND_PACKET: "a secured packet", sms.RESPONSE_PACKET: "a proof of receipt"}
    if each.id in (sms.CONCAT_8, sms.CONCAT_16) and len(each.value) >= 3:
        return f"part {each.value[-1]} of {each.value[-2]}"
    return names.get(each.id, f"element {each.id:02X}")
