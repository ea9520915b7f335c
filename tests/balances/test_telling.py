"""Whose threshold is crossed is told at once: on the terminals that use the account, and by mail."""

from __future__ import annotations

from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from balance_samples import EURO, NOW, Purse, use
from counting_samples import SETTINGS
from sqlalchemy import update

from charging.invoices.labels import languages
from operator_server.balances.buckets import add_bucket
from operator_server.balances.mails import check_balance_templates, send_balance_mails
from operator_server.balances.thresholds import add_threshold
from operator_server.mail import TemplateError
from operator_server.outlets import NotSent
from operator_server.parties import bind_terminal
from operator_server.store.dispatch import BalanceMail
from operator_server.store.parties import Account, Notice, Terminal
from operator_server.store.rows import add, table

MINUTE = timedelta(minutes=1)


class Box:
    """An outlet that keeps what is sent, or says why not."""

    def __init__(self) -> None:
        self.sent: list[EmailMessage] = []
        self.refuses: NotSent | None = None

    def send(self, name: str, message: EmailMessage) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.sent.append(message)


def watched(purse: Purse, language: str = "en", email: str = "a@example.com", **threshold: object) -> None:
    """acc-1 has 1.00 paid ahead, a threshold, and its subscriber kid a terminal."""
    with purse.writing() as connection:
        connection.execute(update(table(Account)).values(email=email, language=language))
        add(connection, Terminal(id="T-1", label="phone", enrolled_at=NOW))
        bind_terminal(connection, "T-1", "kid", NOW)
    purse.top_up(EURO)
    purse.do(add_threshold, "acc-1", id="low", **({"sense": "below", "value": 995_000} | threshold))


def told(purse: Purse) -> list[tuple[str | None, str, str, str]]:
    return [(row.subscriber_id, row.kind, row.state, row.text) for row in purse.rows(Notice)]


def test_a_terminal_gets_a_message_and_the_account_a_mail(purse: Purse) -> None:
    watched(purse)
    purse.do(purse.desk.consume, "u-1", use(30))
    assert told(purse) == []
    purse.do(purse.desk.consume, "u-2", use(60))
    text = "Your balance: €0.98929 left, less than €0.995."
    assert told(purse) == [("kid", "charge", "threshold", text)]
    box = Box()
    assert send_balance_mails(purse.engine, SETTINGS, purse.now, box) == []
    assert send_balance_mails(purse.engine, SETTINGS, purse.now, box) == []
    [mail] = box.sent
    assert (mail["To"], text in mail.get_content(), text in mail["Subject"]) == ("a@example.com", True, True)
    assert [row.state for row in purse.rows(BalanceMail)] == ["sent"]


def test_it_is_told_again_only_once_the_balance_has_risen(purse: Purse) -> None:
    watched(purse)
    for number in range(3):
        purse.now += MINUTE
        purse.do(purse.desk.consume, f"u-{number}", use(60))
    assert len(told(purse)) == 1
    purse.now += MINUTE
    purse.top_up(EURO, "t-2")
    purse.do(purse.desk.consume, "more", use(9_000, at=NOW - 1000 * MINUTE))
    assert len(told(purse)) == len(purse.rows(BalanceMail)) == 2


def test_without_an_address_there_is_no_mail_and_without_a_terminal_no_message(purse: Purse) -> None:
    watched(purse, email="")
    with purse.writing() as connection:
        bind_terminal(connection, "T-1", "acc-2", NOW + MINUTE)
    purse.now += 2 * MINUTE
    purse.do(purse.desk.consume, "u-1", use(60))
    purse.do(purse.desk.consume, "u-2", use(60))
    assert purse.rows(BalanceMail) == []
    assert told(purse) == []
    assert len(purse.events("threshold_crossed")) == 1


def test_units_of_a_bucket_are_told_in_words(purse: Purse) -> None:
    purse.do(add_bucket, "acc-1", "second", 100, id="b")
    watched(purse, "de", sense="above", value=5000, percent=True, bucket="b")
    purse.do(purse.desk.consume, "u-1", use(60))
    [(_, _, _, text)] = told(purse)
    assert text == "Sekunden: mehr als 50\N{NO-BREAK SPACE}% verbraucht, noch 40 Sekunden."


@pytest.mark.parametrize("language", sorted(languages()))
def test_each_language_of_invoices_has_its_words(purse: Purse, language: str) -> None:
    watched(purse, language)
    purse.do(purse.desk.consume, "u-1", use(60))
    [(_, _, _, text)] = told(purse)
    assert ("left" in text) == (language == "en")
    box = Box()
    send_balance_mails(purse.engine, SETTINGS, purse.now, box)
    assert ("Dear" in box.sent[0].get_content()) == (language == "en")


def test_a_mail_that_fails_is_tried_again_with_pauses_and_not_for_ever(purse: Purse) -> None:
    watched(purse)
    purse.do(purse.desk.consume, "u-1", use(60))
    box = Box()
    box.refuses = NotSent("away")
    for _ in range(SETTINGS.outlet.attempts + 2):
        send_balance_mails(purse.engine, SETTINGS, purse.now, box)
        purse.now += timedelta(days=1)
    [row] = purse.rows(BalanceMail)
    assert (row.state, row.attempts, row.reason) == ("failed", SETTINGS.outlet.attempts, "away")


def test_an_address_that_the_server_refuses_is_not_tried_again(purse: Purse) -> None:
    watched(purse)
    purse.do(purse.desk.consume, "u-1", use(60))
    box = Box()
    box.refuses = NotSent("no such user", final=True)
    send_balance_mails(purse.engine, SETTINGS, purse.now, box)
    assert [row.state for row in purse.rows(BalanceMail)] == ["refused"]


def test_the_operators_own_template_goes_first_and_is_checked(purse: Purse, tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    own = SETTINGS.model_copy(update={"config_dir": folder.parent})
    (folder / "threshold.en.txt").write_text("Subject: Low\n\nDear ${customer}, ${text}\n")
    check_balance_templates(own)
    watched(purse)
    purse.do(purse.desk.consume, "u-1", use(60))
    box = Box()
    send_balance_mails(purse.engine, own, purse.now, box)
    assert box.sent[0]["Subject"] == "Low"
    (folder / "threshold.en.txt").write_text("Subject: Low\n\nDear ${nobody}\n")
    with pytest.raises(TemplateError, match=r"\$\{nobody\} is not known"):
        check_balance_templates(own)
    (folder / "threshold.en.txt").rename(folder / "threshold.txt")
    with pytest.raises(TemplateError, match="is never used"):
        check_balance_templates(own)
