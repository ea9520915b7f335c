"""Messages as mail: the operator's templates, or those of the package where the operator has none.

A template is a text file ``templates/invitation.LANGUAGE.txt`` in the configuration folder: a line ``Subject: ...``,
an empty line, the text. ``${name}`` stands for what :data:`NAMES` lists, ``$$`` for a dollar sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from string import Template

from babel.dates import format_date, format_time

from charging.price_text import locale_of
from operator_server.mail import TemplateError, find_template, mail, one_line, parse_template, read_template
from operator_server.settings import Settings

NAMES = ("operator", "contact", "device", "offers", "link", "until")
"""What a template may name: the operator, whom to ask, the device, the new offers, the link, its last day."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What a message says, and to whom."""

    id: str
    recipient: str
    language: str
    device: str
    titles: Sequence[str]
    link: str
    until: datetime
    written: datetime


def compose(settings: Settings, letter: Letter) -> EmailMessage:
    """The message, ready to be sent. Raises :class:`operator_server.mail.TemplateError`."""
    place, template = find_template(
        settings, "operator_server.devices", letter.language, lambda language: [f"invitation.{language}.txt"]
    )
    until, locale = letter.until.astimezone(settings.operator.zone), locale_of(letter.language)
    values = {
        "operator": settings.operator.name,
        "contact": settings.operator.email,
        "device": one_line(letter.device),
        "offers": "\n".join(f"- {one_line(title)}" for title in letter.titles),
        "link": letter.link,
        "until": f"{format_date(until, 'long', locale=locale)}, {format_time(until, 'HH:mm z', locale=locale)}",
    }
    return mail(
        settings, parse(place, template), values,
        id=letter.id, recipient=letter.recipient, language=letter.language, written=letter.written,
    )  # fmt: skip


def parse(place: str, template: str) -> tuple[Template, Template]:
    """Subject and text of a template. Raises :class:`operator_server.mail.TemplateError`."""
    subject, text = parse_template(place, template, NAMES)
    if "link" not in text.get_identifiers():
        raise TemplateError(f"{place}: the text lacks ${{link}}; without it the user has no way to the offers")
    return subject, text


def check_templates(settings: Settings) -> None:
    """Raises :class:`operator_server.mail.TemplateError` for the operator's first template that cannot be used."""
    for path in sorted((settings.config_dir / "templates").glob("invitation.*.txt")):
        parse(str(path), read_template(path))
