"""Reminder letters: the operator's templates, or those of the package where the operator has none.

A template is ``templates/reminder.LANGUAGE.txt`` in the configuration folder, or ``reminder-LEVEL.LANGUAGE.txt`` for
one level: a line ``Subject: ...``, an empty line, the text. ``${name}`` stands for what :data:`NAMES` lists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from email.message import EmailMessage
from string import Template
from typing import Any

from babel.dates import format_date
from babel.numbers import format_currency

from charging.price_text import locale_of
from charging.receivables.references import creditor_reference
from operator_server.mail import TemplateError, find_template, mail, one_line, parse_template, read_template
from operator_server.settings import Settings
from signalling.money import format_micros

NAMES = ("operator", "contact", "customer", "account", "level", "text", "items", "fee", "total", "pay_by", "bank")

_WORDS = {
    "en": {
        "text": "these amounts are due and have not arrived:",
        "item": "- {number}, due {due}: {amount}",
        "fee": "Fee for this reminder ({number}): {amount}\n",
        "bank": "Please transfer it to {iban}{bic}, reference {reference}.\n",
    },
    "de": {
        "text": "diese Beträge sind fällig und noch nicht eingegangen:",
        "item": "- {number}, fällig am {due}: {amount}",
        "fee": "Gebühr für diese Mahnung ({number}): {amount}\n",
        "bank": "Bitte überweisen Sie auf {iban}{bic}, Verwendungszweck {reference}.\n",
    },
}
_NAME = re.compile(r"reminder(-[1-9])?\.[a-z]{2}\.txt\Z")


@dataclass(frozen=True, slots=True)
class ReminderLetter:
    """What a letter says. ``items``: number, due day and micros of each debt; ``fee_number`` is empty without a fee."""

    id: str
    recipient: str
    customer: str
    account: str
    language: str
    level: int
    currency: str
    items: tuple[tuple[str, date, int], ...]
    fee: int
    fee_number: str
    total: int
    pay_by: date
    written: datetime


def compose_reminder(settings: Settings, letter: ReminderLetter) -> EmailMessage:
    """The letter, ready to be sent. Raises :class:`operator_server.mail.TemplateError`."""
    place, template = find_template(
        settings,
        "operator_server.receivables",
        letter.language,
        lambda language: [f"reminder-{letter.level}.{language}.txt", f"reminder.{language}.txt"],
    )
    return mail(
        settings, _parse_reminder(place, template), _values(settings, letter),
        id=letter.id, recipient=letter.recipient, language=letter.language, written=letter.written,
    )  # fmt: skip


def _parse_reminder(place: str, template: str) -> tuple[Template, Template]:
    """Subject and text of a template. Raises :class:`operator_server.mail.TemplateError`."""
    subject, text = parse_template(place, template, NAMES)
    if "items" not in text.get_identifiers():
        raise TemplateError(f"{place}: the text lacks ${{items}}; without it nobody knows what is to be paid")
    return subject, text


def check_reminder_templates(settings: Settings) -> None:
    """Raises :class:`operator_server.mail.TemplateError` for the operator's first template that cannot be used."""
    for path in sorted((settings.config_dir / "templates").glob("reminder*.txt")):
        if not _NAME.match(path.name):
            raise TemplateError(f"{path}: is never used; name it reminder.LANGUAGE.txt or reminder-LEVEL.LANGUAGE.txt")
        _parse_reminder(str(path), read_template(path))


def _values(settings: Settings, letter: ReminderLetter) -> dict[str, Any]:
    operator, locale = settings.operator, locale_of(letter.language)
    words = _WORDS.get(letter.language, _WORDS["en"])

    def money(micros: int) -> str:
        amount = Decimal(format_micros(micros, letter.currency))
        return str(format_currency(amount, letter.currency, locale=locale))

    def day(value: date) -> str:
        return str(format_date(value, "long", locale=locale))

    texts = settings.receivables.reminders[letter.level - 1].text
    own = texts.get(letter.language) or texts.get(operator.language)
    fee = words["fee"].format(number=letter.fee_number, amount=money(letter.fee)) if letter.fee else ""
    bic = f" ({operator.bic})" if operator.bic else ""
    reference = creditor_reference(letter.items[0][0]) if len(letter.items) == 1 and not fee else letter.account
    bank = words["bank"].format(iban=operator.iban, bic=bic, reference=reference) if operator.iban else ""
    items = [words["item"].format(number=name, due=day(due), amount=money(left)) for name, due, left in letter.items]
    return {
        "operator": operator.name,
        "contact": operator.email or operator.name,
        "customer": one_line(letter.customer),
        "account": letter.account,
        "level": letter.level,
        "text": own or words["text"],
        "items": "\n".join(items),
        "fee": fee,
        "total": money(letter.total),
        "pay_by": day(letter.pay_by),
        "bank": bank,
    }
