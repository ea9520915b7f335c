"""Reads what mail servers send back of a message that they could not deliver (RFC 3464)."""

from __future__ import annotations

import email
import mailbox
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.policy import compat32
from pathlib import Path

_DELIVERY_STATUS = "message/delivery-status"


class NotABounce(ValueError):
    """A message that is no report on a delivery, or does not say on which; the text says what it lacks."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says of one recipient. ``action``: failed, delayed, delivered, relayed or expanded.

    ``message_id``: of the message that was sent, without its angle brackets. ``status``: such as ``5.1.1``.
    """

    message_id: str
    action: str
    status: str
    recipient: str
    diagnostic: str

    @property
    def text(self) -> str:
        """In one line: ``5.1.1 smtp; 550 no such user``."""
        return " ".join(f"{self.status} {self.diagnostic}".split())[:500]


def read_reports(content: bytes) -> list[Report]:
    """What a message reports. Raises :class:`NotABounce`.

    The report is the part ``message/delivery-status``; which message it is about stands in the part that returns the
    message or its head, or where the server returned neither in the report's own References.
    """
    message = email.message_from_bytes(content, policy=compat32)
    parts = list(message.walk())
    status = next((part for part in parts if part.get_content_type() == _DELIVERY_STATUS), None)
    if status is None:
        raise NotABounce("it has no part of type message/delivery-status")
    about = _about(message, parts)
    if not about:
        raise NotABounce("it does not say which message it is about")
    blocks = [block for block in _blocks(status) if block.get("Action")]
    if not blocks:
        raise NotABounce("its delivery status names no recipient")
    return [
        Report(
            about, _field(block, "Action").lower(), _field(block, "Status"),
            _typed(_field(block, "Final-Recipient") or _field(block, "Original-Recipient")),
            _field(block, "Diagnostic-Code"),
        )
        for block in blocks
    ]  # fmt: skip


def messages_in(path: Path) -> Iterator[tuple[str, bytes]]:
    """The messages of a file, of an mbox file, or of a folder (Maildir, or with a file for each): name and content.

    Raises :class:`OSError`.
    """
    if path.is_dir():
        folders = [path / name for name in ("cur", "new")] if (path / "cur").is_dir() else [path]
        for file in sorted(file for folder in folders if folder.is_dir() for file in folder.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                yield str(file), file.read_bytes()
        return
    with path.open("rb") as opened:
        many = opened.read(5) == b"From "
    if not many:
        yield str(path), path.read_bytes()
        return
    box = mailbox.mbox(path, create=False)
    try:
        for number, key in enumerate(box.iterkeys(), 1):
            yield f"{path}, message {number}", box.get_bytes(key)
    finally:
        box.close()


def _blocks(status: Message) -> list[Message]:
    payload = status.get_payload()
    return [part for part in payload if isinstance(part, Message)] if isinstance(payload, list) else []


def _about(message: Message, parts: list[Message]) -> str:
    for part in parts:
        kind, payload = part.get_content_type(), part.get_payload()
        if kind == "message/rfc822" and isinstance(payload, list) and payload and isinstance(payload[0], Message):
            return _id(_field(payload[0], "Message-ID"))
        if kind in ("text/rfc822-headers", "message/rfc822-headers"):
            decoded = part.get_payload(decode=True)
            if isinstance(decoded, bytes):
                return _id(_field(email.message_from_bytes(decoded, policy=compat32), "Message-ID"))
    return _id(_field(message, "In-Reply-To") or _field(message, "References"))


def _id(text: str) -> str:
    return text.rpartition("<")[2].partition(">")[0].strip()


def _field(message: Message, name: str) -> str:
    return " ".join(str(message.get(name, "")).split())


def _typed(value: str) -> str:
    """The address of ``rfc822;someone@example``."""
    return value.partition(";")[2].strip() if ";" in value else value
