"""Messages as mail: the operator's templates, or those of the package where the operator has none.

A template is a text file ``templates/invitation.LANGUAGE.txt`` in the configuration folder: a line ``Subject: ...``,
an empty line, the text. ``${name}`` stands for what :data:`NAMES` lists, ``$$`` for a dollar sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import formataddr
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from babel.dates import format_date, format_time

from charging.price_text import locale_of
from operator_server.settings import Settings, SettingsError

NAMES = ("operator", "contact", "device", "offers", "link", "until")
"""What a template may name: the operator, whom to ask, the device, the new offers, the link, its last day."""


class TemplateError(SettingsError):
    """A template that cannot be used; the text says which file, what and how to mend it."""


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
    """The message, ready to be sent. Raises :class:`TemplateError`."""
    place, template = _template(settings, letter.language)
    until, locale = letter.until.astimezone(settings.operator.zone), locale_of(letter.language)
    values = {
        "operator": settings.operator.name,
        "contact": settings.operator.email,
        "device": _one_line(letter.device),
        "offers": "\n".join(f"- {_one_line(title)}" for title in letter.titles),
        "link": letter.link,
        "until": f"{format_date(until, 'long', locale=locale)}, {format_time(until, 'HH:mm z', locale=locale)}",
    }
    subject, text = parse(place, template)
    message = EmailMessage()
    sender = settings.outlet.sender or settings.operator.email
    message["From"] = formataddr((_one_line(settings.operator.name), sender)) if sender else "nobody@localhost"
    message["To"] = letter.recipient
    message["Subject"] = _one_line(subject.substitute(values))
    message["Date"] = letter.written
    message["Message-ID"] = f"<{letter.id}@{settings.operator.server_id}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text.substitute(values), cte="quoted-printable")
    message["Content-Language"] = letter.language
    return message


def parse(place: str, template: str) -> tuple[Template, Template]:
    """Subject and text of a template. Raises :class:`TemplateError`."""
    head, _, body = template.replace("\r\n", "\n").partition("\n\n")
    if not head.startswith("Subject:") or "\n" in head or not body.strip():
        raise TemplateError(f"{place}: must be a line 'Subject: ...', an empty line and the text")
    subject, text = Template(head.removeprefix("Subject:").strip()), Template(body)
    for part in (subject, text):
        if not part.is_valid():
            raise TemplateError(f"{place}: a $ that begins no ${{name}}; write $$ for a dollar sign")
        unknown = sorted(set(part.get_identifiers()) - set(NAMES))
        if unknown:
            raise TemplateError(f"{place}: ${{{unknown[0]}}} is not known; there are {', '.join(NAMES)}")
    if "link" not in text.get_identifiers():
        raise TemplateError(f"{place}: the text lacks ${{link}}; without it the user has no way to the offers")
    return subject, text


def check_templates(settings: Settings) -> None:
    """Raises :class:`TemplateError` for the first of the operator's templates that cannot be used."""
    for path in sorted((settings.config_dir / "templates").glob("invitation.*.txt")):
        parse(str(path), _read(path))


def _template(settings: Settings, language: str) -> tuple[str, str]:
    own, ours = settings.config_dir / "templates", files("operator_server.devices") / "templates"
    for each in dict.fromkeys((language, settings.operator.language, "en")):
        name = f"invitation.{each}.txt"
        folders: tuple[Path | Traversable, ...] = (own, ours)
        for folder in folders:
            path = folder / name
            if path.is_file():
                return str(path), _read(path)
    raise AssertionError("the package has an English template")


def _read(path: Path | Traversable) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def _one_line(text: str) -> str:
    return " ".join(text.split())
