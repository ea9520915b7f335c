"""Mail to customers by templates: the operator's own, or those of the package where the operator has none.

A template is a text file in the folder ``templates`` of the configuration: a line ``Subject: ...``, an empty line, the
text. ``${name}`` stands for a value, ``$$`` for a dollar sign.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formataddr
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from operator_server.settings import Settings, SettingsError


class TemplateError(SettingsError):
    """A template that cannot be used; the text says which file, what and how to mend it."""


def parse_template(place: str, template: str, names: Collection[str]) -> tuple[Template, Template]:
    """Subject and text of a template that may name ``names``. Raises :class:`TemplateError`."""
    head, _, body = template.replace("\r\n", "\n").partition("\n\n")
    if not head.startswith("Subject:") or "\n" in head or not body.strip():
        raise TemplateError(f"{place}: must be a line 'Subject: ...', an empty line and the text")
    subject, text = Template(head.removeprefix("Subject:").strip()), Template(body)
    for part in (subject, text):
        if not part.is_valid():
            raise TemplateError(f"{place}: a $ that begins no ${{name}}; write $$ for a dollar sign")
        unknown = sorted(set(part.get_identifiers()) - set(names))
        if unknown:
            raise TemplateError(f"{place}: ${{{unknown[0]}}} is not known; there are {', '.join(names)}")
    return subject, text


def find_template(
    settings: Settings, package: str, language: str, named: Callable[[str], Collection[str]]
) -> tuple[str, str]:
    """Place and content of the first template there is: in the language, the operator's, or English.

    ``named``: the file names for a language, the best first. Raises :class:`TemplateError`.
    """
    folders: tuple[Path | Traversable, ...] = (settings.config_dir / "templates", files(package) / "templates")
    for each in dict.fromkeys((language.partition("-")[0], settings.operator.language, "en")):
        for folder in folders:
            for name in named(each):
                path = folder / name
                if path.is_file():
                    return str(path), read_template(path)
    raise AssertionError("the package has an English template")


def read_template(path: Path | Traversable) -> str:
    """The text of a file. Raises :class:`TemplateError`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def mail(
    settings: Settings,
    template: tuple[Template, Template],
    values: Mapping[str, object],
    *,
    id: str,
    recipient: str,
    language: str,
    written: datetime,
    attachment: tuple[str, bytes] | None = None,
) -> EmailMessage:
    """The message, ready to be sent. ``attachment``: file name and content of a PDF."""
    subject, text = template
    message = EmailMessage()
    sender = settings.outlet.sender or settings.operator.email
    message["From"] = formataddr((one_line(settings.operator.name), sender)) if sender else "nobody@localhost"
    message["To"] = recipient
    message["Subject"] = one_line(subject.substitute(values))
    message["Date"] = written
    message["Message-ID"] = f"<{id}@{settings.operator.server_id}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text.substitute(values), cte="quoted-printable")
    if attachment is not None:
        name, content = attachment
        message.add_attachment(content, maintype="application", subtype="pdf", filename=name)
    # Set before, it would have gone into the part of the text alone.
    message["Content-Language"] = language
    return message


def one_line(text: str) -> str:
    """Without line breaks, which would begin another header."""
    return " ".join(text.split())


def is_address(text: str) -> bool:
    """Whether this can be written to as one mail address."""
    try:
        address = Address(addr_spec=text)
    except (ValueError, IndexError):
        return False
    return bool(address.username and address.domain) and text.isprintable()
