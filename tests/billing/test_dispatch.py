"""Invoices by e-mail: what goes out, what mail servers say to it, what comes back."""

from __future__ import annotations

import email
import mailbox
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import facturx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

sys.path.insert(0, str(Path(__file__).parent.parent / "receivables"))

from receivable_samples import Books

from charging.invoices.mirror import as_credit_note
from operator_server.billing.bounces import NotABounce, messages_in, read_reports
from operator_server.billing.dispatch import (
    DispatchError,
    Round,
    ask,
    ask_period,
    check_invoice_templates,
    checked_address,
    compose_invoice,
    dispatches_of,
    find_dispatches,
    parse_mail,
    send_due_invoices,
    take_report,
)
from operator_server.billing.invoices import UnknownInvoice, load_invoice
from operator_server.mail import TemplateError
from operator_server.settings import OutletSettings, Settings
from operator_server.store.dispatch import InvoiceDispatch
from operator_server.store.parties import Account, Event
from operator_server.store.rows import table
from operator_server.store.store import transact


@dataclass
class Postbox:
    """A mail server's mind: answers to give at RCPT before it takes any message."""

    rcpt: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    taken: list[EmailMessage] = field(default_factory=list)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.rcpt:
            answer = self.rcpt.pop(0)
            if not answer.startswith("250"):
                return answer
        envelope.rcpt_tos.append(address)
        return "250 known"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.data:
            return self.data.pop(0)
        self.taken.append(email.message_from_bytes(envelope.content or b"", policy=default))  # type: ignore[arg-type]  # bytes unless decode_data is set
        return "250 taken"


class Post:
    """Books whose two customers can be written to, and a mail server on this machine."""

    def __init__(self, books: Books, port: int) -> None:
        self.books = books
        outlet = OutletSettings(kind="smtp", host="127.0.0.1", port=port, security="none", timeout=2, attempts=3)
        operator = books.settings.operator.model_copy(update={"email": "billing@op.example"})
        self.settings: Settings = books.settings.model_copy(update={"outlet": outlet, "operator": operator})
        self.account("acc-1", email="erika@muster.example", language="de")
        self.account("acc-2", email="max@beispiel.example")

    def account(self, account: str, **values: Any) -> None:
        accounts = table(Account)
        transact(
            self.books.engine, lambda c: c.execute(update(accounts).where(accounts.c.id == account).values(**values))
        )

    def ask(self, number: str, **how: Any) -> str:
        return transact(self.books.engine, lambda c: ask(c, number, self.books.now, **how))

    def send(self) -> Round:
        return send_due_invoices(self.books.engine, self.settings, self.books.now)

    def row(self, number: str) -> Any:
        return self.books.read(lambda c: dispatches_of(c, number)[0])

    def bounce(self, content: bytes) -> list[Any]:
        server = self.settings.operator.server_id
        reports = read_reports(content)
        return transact(self.books.engine, lambda c: [take_report(c, r, server, self.books.now) for r in reports])

    def later(self, **time: int) -> None:
        self.books.now += timedelta(**time)

    def events(self) -> list[str]:
        event = table(Event)
        kinds = self.books.read(lambda c: c.execute(select(event.c.kind).order_by(event.c.id)).scalars().all())
        return [kind for kind in kinds if kind.startswith("invoice_")]


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
def post(books: Books, postbox: Postbox) -> Iterator[Post]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(postbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield Post(books, port)
    finally:
        controller.stop()


@pytest.fixture
def books() -> Books:
    return Books()


def test_an_invoice_goes_out_once_in_the_customers_language_with_its_pdf(post: Post, postbox: Postbox) -> None:
    number = post.books.invoice("10.00")
    name = post.ask(number, by="eve")
    assert post.send() == Round(sent=1)
    assert post.send() == Round()
    [mail] = postbox.taken
    assert mail["To"] == "erika@muster.example"
    assert mail["Subject"].startswith(f"Rechnung {number} von ")
    assert mail["Message-ID"] == f"<{name}@{post.settings.operator.server_id}>"
    assert mail["Content-Language"] == "de"
    assert mail["Auto-Submitted"] == "auto-generated"
    body = mail.get_body()
    assert body
    assert "11,90" in body.get_content()
    [attached] = mail.iter_attachments()
    assert attached.get_filename() == f"{number}.pdf"
    assert attached.get_content_type() == "application/pdf"
    assert attached.get_content().startswith(b"%PDF-")
    row = post.row(number)
    assert (row.state, row.asked_by, row.sent_at, row.attempts) == ("sent", "eve", post.books.now, 1)
    assert sorted(post.events()) == ["invoice_queued", "invoice_sent"]


def test_factur_x_is_attached_where_that_is_asked_for(
    post: Post, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = post.books.invoice("10.00")
    post.ask(number, form="facturx")
    if post.send().refused:
        # What EN 16931 lacks is named, and it is not tried again.
        row = post.row(number)
        assert row.state == "refused"
        assert "EN 16931" in row.reason
        return
    [attached] = postbox.taken[0].iter_attachments()
    _, xml = facturx.get_facturx_xml_from_pdf(attached.get_content())
    assert f">{number}<".encode() in xml


def test_a_recipient_that_is_refused_is_not_tried_again_and_holds_nobody_up(post: Post, postbox: Postbox) -> None:
    first, second = post.books.invoice("10.00"), post.books.invoice("5.00", account="acc-2")
    # Those of one millisecond have no order, unless their names say so.
    post.ask(first, id="dispatch-1")
    post.ask(second, id="dispatch-2")
    postbox.rcpt = ["550 5.1.1 no such user here"]
    done = post.send()
    assert (done.sent, done.refused, done.waiting) == (1, 1, 0)
    row = post.row(first)
    assert (row.state, row.sent_at) == ("refused", None)
    assert "550 5.1.1 no such user here" in row.reason
    assert [mail["To"] for mail in postbox.taken] == ["max@beispiel.example"]
    post.later(days=30)
    assert post.send() == Round()
    assert post.events().count("invoice_refused") == 1


def test_a_passing_refusal_is_tried_again_after_a_pause_and_then_taken(post: Post, postbox: Postbox) -> None:
    number = post.books.invoice("10.00")
    post.ask(number)
    postbox.rcpt = ["451 4.7.1 greylisted", "451 4.7.1 still"]
    assert post.send().waiting == 1
    assert post.send() == Round()
    row = post.row(number)
    assert (row.state, row.attempts) == ("waiting", 1)
    assert "451 4.7.1 greylisted" in row.reason
    post.later(seconds=60)
    assert post.send().waiting == 1
    post.later(seconds=60)
    assert post.send() == Round()
    post.later(seconds=60)
    assert post.send() == Round(sent=1)
    row = post.row(number)
    assert (row.state, row.reason, row.attempts) == ("sent", "", 3)
    assert len(postbox.taken) == 1


def test_after_the_last_try_it_has_failed(post: Post, postbox: Postbox) -> None:
    number = post.books.invoice("10.00")
    post.ask(number)
    postbox.data = ["451 come again"] * 9
    for _ in range(5):
        post.send()
        post.later(hours=7)
    row = post.row(number)
    assert (row.state, row.attempts) == ("failed", 3)
    assert len(postbox.data) == 6
    assert post.events().count("invoice_failed") == 1


def test_a_mail_server_that_is_away_ends_the_round_and_loses_nothing(post: Post, postbox: Postbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        away = free.getsockname()[1]
    here = post.settings.outlet.port
    numbers = [post.books.invoice("1.00") for _ in range(5)]
    for number in numbers:
        post.ask(number)
    post.settings = post.settings.model_copy(
        update={"outlet": post.settings.outlet.model_copy(update={"port": away})}
    )  # fmt: skip
    done = post.send()
    assert (done.sent, done.waiting) == (0, 3)
    assert "refused" in done.faults[0].lower()
    post.settings = post.settings.model_copy(
        update={"outlet": post.settings.outlet.model_copy(update={"port": here})}
    )  # fmt: skip
    post.later(minutes=1)
    assert post.send() == Round(sent=5)


def test_who_has_no_address_is_told_and_another_address_may_be_named(post: Post, postbox: Postbox) -> None:
    post.account("acc-1", email="")
    number = post.books.invoice("10.00")
    with pytest.raises(DispatchError, match="acc-1: has no e-mail address; set it by"):
        post.ask(number)
    post.ask(number, to="office@muster.example")
    post.send()
    assert postbox.taken[0]["To"] == "office@muster.example"
    with pytest.raises(UnknownInvoice):
        post.ask("R-1999-000001")


@pytest.mark.parametrize("address", ["", "nobody", "a@b\r\nBcc: c@d", "a@b, c@d", "Erika <a@b>", "a b@c"])
def test_only_one_plain_address_is_written_to(address: str) -> None:
    with pytest.raises(DispatchError):
        checked_address(address, "here")


def test_a_name_cannot_break_out_of_its_line(post: Post, postbox: Postbox) -> None:
    operator = post.settings.operator.model_copy(update={"name": "Op\r\nBcc: evil@example.com"})
    post.settings = post.settings.model_copy(update={"operator": operator})
    post.ask(post.books.invoice("10.00"))
    assert post.send().sent == 1
    assert postbox.taken[0]["Bcc"] is None


def test_the_same_request_is_done_once(post: Post) -> None:
    number, other = post.books.invoice("10.00"), post.books.invoice("4.00")
    assert post.ask(number, id="form-1") == post.ask(number, id="form-1") == "form-1"
    assert len(post.books.read(lambda c: dispatches_of(c, number))) == 1
    with pytest.raises(DispatchError, match="used before"):
        post.ask(other, id="form-1")


def test_a_month_goes_out_once_and_again_only_what_came_back(post: Post, postbox: Postbox) -> None:
    post.account("acc-2", email="")
    numbers = [post.books.invoice("1.00"), post.books.invoice("2.00")]
    without = post.books.invoice("3.00", account="acc-2")
    period = post.books.read(lambda c: c.exec_driver_sql("SELECT min(period) FROM invoice").scalar_one())

    def month() -> Any:
        return transact(post.books.engine, lambda c: ask_period(c, period, post.books.now))

    asked = month()
    assert (len(asked.dispatches), asked.no_address, asked.before) == (2, (without,), 0)
    post.send()
    assert (month().dispatches, month().before) == ((), 2)
    post.bounce(dsn(post.row(numbers[0]).id, server=post.settings.operator.server_id))
    assert len(month().dispatches) == 1
    assert {row.state for row in post.books.read(lambda c: find_dispatches(c, period=period))} == {
        "sent", "waiting", "bounced",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("Hello", "a line 'Subject: ...'"),
        ("Subject: A\n\n5 $", r"write \$\$"),
        ("Subject: A\n\n${x}", "x.* is not known"),
    ],
)
def test_a_template_with_a_fault_is_named(template: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=f"here: .*{reason}"):
        parse_mail("here", template)


def test_the_package_has_a_template_for_each_language_of_invoices() -> None:
    from charging.invoices.labels import languages

    folder = Path(parse_mail.__code__.co_filename).parent / "templates"
    kinds = ("invoice", "credit-note")
    assert {path.name for path in folder.glob("*.txt")} == {
        f"{kind}.{language}.txt" for kind in kinds for language in languages()
    }
    for path in folder.glob("*.txt"):
        subject, text = parse_mail(path.name, path.read_text(encoding="utf-8"))
        assert "number" in subject.get_identifiers()
        named = {"number", "total", "period"} | ({"due"} if path.name.startswith("invoice") else set())
        assert named == set(text.get_identifiers()) - {"customer", "contact", "operator"}


def test_a_bill_that_gives_money_back_is_no_invoice_in_the_mail_either(post: Post) -> None:
    number = post.books.invoice("10.00")
    name = post.ask(number)
    with post.books.engine.connect() as connection:
        row = connection.execute(select(table(InvoiceDispatch)).where(table(InvoiceDispatch).c.id == name)).one()
        note = as_credit_note(load_invoice(connection, number))
    mail = compose_invoice(post.settings, row, note, b"%PDF")
    assert mail["Subject"].startswith(f"Rechnungskorrektur {number} von ")
    body = mail.get_body()
    assert body
    assert "fällig" not in body.get_content()


@pytest.mark.parametrize(
    ("name", "reason"), [("invoice.de-AT.txt", "is never used"), ("credit-note.de.txt", "Subject")]
)
def test_templates_that_cannot_be_used_are_found_before_a_mail_goes_out(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / name).write_text("Hello")
    with pytest.raises(TemplateError, match=f"{name}: .*{reason}"):
        check_invoice_templates(Books().settings.model_copy(update={"config_dir": tmp_path}))


# What comes back.


def dsn(name: str, *, action: str = "failed", server: str = "op.example", returns: str = "message/rfc822") -> bytes:
    """A report as Postfix writes it (RFC 3464)."""
    head = f"From: billing@op.example\r\nTo: erika@muster.example\r\nMessage-ID: <{name}@{server}>\r\n\r\n"
    return (
        "Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example\r\nTo: billing@op.example\r\nSubject: Undelivered Mail\r\n"
        'MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nI'm sorry\r\n\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.example\r\n\r\n"
        "Final-Recipient: rfc822; erika@muster.example\r\n"
        f"Action: {action}\r\nStatus: 5.1.1\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 <erika@muster.example>:\r\n    user unknown\r\n\r\n"
        f"--b\r\nContent-Type: {returns}\r\n\r\n{head}\r\n--b--\r\n"
    ).encode()


@pytest.mark.parametrize("returns", ["message/rfc822", "text/rfc822-headers"])
def test_an_invoice_that_comes_back_is_bounced_with_the_reason(post: Post, returns: str) -> None:
    number = post.books.invoice("10.00")
    name = post.ask(number)
    post.send()
    report = dsn(name, server=post.settings.operator.server_id, returns=returns)
    post.later(minutes=5)
    [first] = post.bounce(report)
    assert (first.number, first.account, first.state) == (number, "acc-1", "bounced")
    row = post.row(number)
    assert (row.state, row.bounced_at) == ("bounced", post.books.now)
    assert row.reason == "5.1.1 smtp; 550 5.1.1 <erika@muster.example>: user unknown"
    post.later(days=1)
    assert post.bounce(report) == [first]
    assert post.row(number) == row
    assert post.events().count("invoice_bounced") == 1


def test_a_delay_is_noted_and_a_delivery_changes_nothing(post: Post) -> None:
    number = post.books.invoice("10.00")
    name = post.ask(number)
    post.send()
    server = post.settings.operator.server_id
    post.bounce(dsn(name, action="delivered", server=server))
    assert (post.row(number).state, post.row(number).reason) == ("sent", "")
    post.bounce(dsn(name, action="delayed", server=server))
    assert post.row(number).state == "sent"
    assert post.row(number).reason.startswith("delayed: 5.1.1")


def test_a_report_on_what_is_not_ours_is_left_alone(post: Post) -> None:
    number = post.books.invoice("10.00")
    name = post.ask(number)
    post.send()
    assert post.bounce(dsn(name, server="another.example")) == [None]
    assert post.bounce(dsn("unknown", server=post.settings.operator.server_id)) == [None]
    assert post.row(number).state == "sent"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "message/delivery-status"),
        (b"Subject: hello\n\nI am on holiday", "message/delivery-status"),
        (dsn("x").replace(b"Message-ID", b"X-Other"), "which message"),
        (dsn("x").replace(b"Action:", b"Acting:"), "names no recipient"),
    ],
)
def test_what_is_no_report_is_told(content: bytes, reason: str) -> None:
    with pytest.raises(NotABounce, match=reason):
        read_reports(content)


@given(st.binary(max_size=400), st.integers(0, 900))
def test_no_message_breaks_the_reader(noise: bytes, at: int) -> None:
    whole = dsn("x")
    for content in (noise, whole[:at] + noise + whole[at:], whole[:at] + noise):
        try:
            reports = read_reports(content)
        except NotABounce:
            continue
        assert all(len(each.text) <= 500 and "\n" not in each.text for each in reports)


def test_mailboxes_of_every_kind_are_read(tmp_path: Path) -> None:
    content = dsn("x")
    (tmp_path / "one.eml").write_bytes(content)
    maildir, mbox = mailbox.Maildir(tmp_path / "mail"), mailbox.mbox(tmp_path / "box")
    for box in (maildir, mbox):
        box.add(content)
        box.add(content)
        box.close()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_bytes(content)
    (folder / ".hidden").write_bytes(b"")
    for path, count in ((tmp_path / "one.eml", 1), (tmp_path / "mail", 2), (tmp_path / "box", 2), (folder, 1)):
        found = list(messages_in(path))
        assert len(found) == count
        assert all(read_reports(each)[0].action == "failed" for _, each in found)
    with pytest.raises(OSError, match="nowhere"):
        list(messages_in(tmp_path / "nowhere"))


def test_the_time_of_a_mail_is_when_it_was_asked_for(post: Post, postbox: Postbox) -> None:
    post.ask(post.books.invoice("10.00"))
    asked = post.books.now
    post.later(hours=1)
    post.send()
    assert postbox.taken[0]["Date"].datetime == asked == datetime(2026, 11, 2, 9, tzinfo=UTC)
