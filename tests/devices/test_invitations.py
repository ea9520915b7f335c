"""Messages to devices' users: when one is written, what it says, and how it goes out."""

from __future__ import annotations

import socket
import ssl
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from device_samples import SERVICES, DeviceHouse
from operator_samples import DAY, OFFERS
from sqlalchemy import update

from operator_server.devices.invitations import NotInvited, invite
from operator_server.devices.messages import check_templates, parse
from operator_server.devices.outbox import send_due
from operator_server.devices.page_user import link_in
from operator_server.keys import load_or_create_keys
from operator_server.mail import TemplateError
from operator_server.settings import OutletSettings, SettingsError, load_settings
from operator_server.store.devices import Device, WebToken
from operator_server.store.invitations import Invitation, OutgoingMessage
from operator_server.store.parties import TerminalSession
from operator_server.store.rows import table

MORE = """
[[offer]]
id = "radio"
product = "radio"
kind = "service"
text.en = { title = "Radio" }

[[offer.mode]]
id = "free"
kind = "free"
label = { en = "Free" }
currency = "EUR"
tax_category = "S"
"""


def test_a_user_is_told_once_of_an_offer(house: DeviceHouse) -> None:
    assert house.invite()
    house.clock.advance(2 * DAY)
    assert house.invite() is None
    [told] = {row.message_id for row in house.rows(Invitation)}
    assert {row.offer_id for row in house.rows(Invitation)} == {"volume", "news", "hotline"}
    assert [row.id for row in house.rows(OutgoingMessage)] == [told]


def test_what_is_new_is_told_after_the_pause(house: DeviceHouse) -> None:
    house.invite()
    (house.folder / "configs" / "offers" / "shop.toml").write_text(OFFERS + SERVICES + MORE)
    house.take_over()
    assert house.invite() is None
    house.clock.advance(DAY)
    message = house.invite()
    send_due(house.operator)
    assert message
    text = house.message(message).get_content()
    assert "- Radio" in text
    assert "Hotline" not in text


def test_a_message_names_device_offers_link_and_last_day(house: DeviceHouse) -> None:
    message = house.invite("D-2")
    assert send_due(house.operator) == 1
    mail = house.message(message or "")
    assert mail["To"] == "a-2@users.example"
    assert mail["Subject"] == "Operator: Angebote für Gateway D-2"
    assert mail["Message-ID"] == f"<{message}@op.example>"
    assert mail["Content-Language"] == "de"
    text = mail.get_content()
    for part in ("- Datenvolumen", "https://localhost:7780/o/", "16. November 2026"):
        assert part in text


def test_a_title_cannot_break_out_of_its_line(house: DeviceHouse) -> None:
    house.change(lambda c: c.exec_driver_sql("UPDATE terminal SET label = 'x\r\nBcc: evil@example' WHERE id = 'D-1'"))
    message = house.invite()
    send_due(house.operator)
    mail = house.message(message or "")
    assert mail["Bcc"] is None
    assert "x Bcc: evil@example" in mail["Subject"]


def test_the_token_is_in_the_message_alone(house: DeviceHouse) -> None:
    link = house.link()
    token = link.rpartition("/")[2].encode()
    house.engine.dispose()
    for file in house.operator.data.glob("tollgate.sqlite*"):
        assert token not in file.read_bytes()
    assert [row.sealed_token for row in house.rows(OutgoingMessage)] == [None]
    [mail] = (house.operator.data / "outbox").glob("*.eml")
    assert stat.S_IMODE(mail.stat().st_mode) == 0o600
    assert len(house.rows(WebToken)[0].token_digest) == 32


@pytest.mark.parametrize("contact", ["", "nobody", "a@b\r\nBcc: c@d", "a@b, c@d"])
def test_nobody_is_written_to_without_one_address(house: DeviceHouse, contact: str) -> None:
    devices = table(Device)
    house.change(lambda c: c.execute(update(devices).where(devices.c.terminal_id == "D-1").values(contact=contact)))
    assert house.invite() is None
    assert house.rows(Invitation) == []


def test_a_person_can_have_a_link_sent_again(house: DeviceHouse) -> None:
    first = house.invite()
    again = house.change(lambda c: invite(c, house.operator, "D-1", house.clock.now()))
    send_due(house.operator)
    links = {link_in(house.message(message or "").get_content()) for message in (first, again)}
    assert len(links) == 2
    assert "Hotline" in house.person().open(links.pop()).text


def test_why_nobody_can_be_sent_a_link_is_said(house: DeviceHouse) -> None:
    def refused(terminal: str) -> str:
        with pytest.raises(NotInvited) as caught:
            house.change(lambda c: invite(c, house.operator, terminal, house.clock.now()))
        return str(caught.value)

    device, session = table(Device), table(TerminalSession)
    assert "is not a device that is polled" in refused("T-1")
    house.change(lambda c: c.execute(update(device).values(contact="")))
    assert "device change D-1 --contact" in refused("D-1")
    house.change(lambda c: c.execute(update(session).values(code=None)))
    assert "was never interrogated" in refused("D-1")


def test_a_terminal_that_is_no_device_is_not_written_to(house: DeviceHouse) -> None:
    assert house.invite("T-1") is None


def test_the_operators_template_takes_the_place_of_ours(house: DeviceHouse) -> None:
    folder = house.folder / "configs" / "templates"
    folder.mkdir()
    (folder / "invitation.en.txt").write_text("Subject: News ($$)\n\nSee ${link}\n")
    message = house.invite()
    send_due(house.operator)
    mail = house.message(message or "")
    assert mail["Subject"] == "News ($)"
    assert mail.get_content().startswith("See https://")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("Hello ${link}", "a line 'Subject: ...'"),
        ("Subject: A\n\n", "a line 'Subject: ...'"),
        ("Subject: A\n\n${link} costs 5 $ only", r"write \$\$ for a dollar sign"),
        ("Subject: A\n\n${lnk} ${link}", "lnk.* is not known"),
        ("Subject: A\n\nno way", "lacks"),
    ],
)
def test_a_template_with_a_fault_is_named(template: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=f"here: .*{reason}"):
        parse("here", template)


def test_a_broken_template_keeps_the_message_waiting_until_it_is_mended(house: DeviceHouse) -> None:
    template = house.folder / "configs" / "templates" / "invitation.en.txt"
    template.parent.mkdir()
    template.write_text("nonsense")
    with pytest.raises(TemplateError, match=r"invitation\.en\.txt"):
        check_templates(house.operator.settings)
    house.invite()
    assert send_due(house.operator) == 0
    [row] = house.rows(OutgoingMessage)
    assert (row.state, row.attempts) == ("waiting", 1)
    assert "invitation.en.txt" in row.reason
    template.write_text("Subject: A\n\n${link}\n")
    assert send_due(house.operator) == 0
    house.clock.advance(timedelta(minutes=1))
    assert send_due(house.operator) == 1


# A real mail server.


@dataclass
class Postbox:
    """What a mail server does with messages: answers to give before it takes any."""

    answers: list[str] = field(default_factory=list)
    taken: list[Envelope] = field(default_factory=list)
    secured: list[bool] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.secured.append(session.ssl is not None)
        if self.answers:
            return self.answers.pop(0)
        self.taken.append(envelope)
        return "250 taken"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.answers and self.answers[0].startswith("RCPT "):
            return self.answers.pop(0).removeprefix("RCPT ")
        envelope.rcpt_tos.append(address)
        return "250 known"

    def knows(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.users.append(data.login.decode())
        return AuthResult(success=data.password == b"secret")


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


def free_port() -> int:
    """A port that nobody listens on; the mail server cannot choose one itself."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def server(house: DeviceHouse, postbox: Postbox, tmp_path: Path) -> Iterator[Controller]:
    keys = load_or_create_keys(tmp_path / "mail", "mail.example", ["localhost"], datetime.now(UTC))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(keys.certificate, keys.private_key)
    controller = Controller(
        postbox, hostname="127.0.0.1", port=free_port(), tls_context=context, require_starttls=True,
        authenticator=postbox.knows, auth_required=True,
    )  # fmt: skip
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture
def mailing(house: DeviceHouse, server: Controller, tmp_path: Path) -> DeviceHouse:
    """The house with an SMTP outlet to the server."""
    values = {
        "kind": "smtp", "host": "localhost", "port": server.port, "user": "tollgate", "password": "secret",
        "sender": "offers@op.example", "ca_file": str(tmp_path / "mail" / "tls_authority.pem"), "timeout": 5,
        "attempts": 3,
    }  # fmt: skip
    use_outlet(house, **values)
    return house


def use_outlet(house: DeviceHouse, **values: Any) -> None:
    """Settings of the outlet in place of those that hold."""
    settings = house.operator.settings
    outlet = OutletSettings(**settings.outlet.model_dump() | values)
    object.__setattr__(house.operator, "settings", settings.model_copy(update={"outlet": outlet}))


@pytest.mark.peer
def test_a_message_goes_to_the_mail_server_over_tls_after_logon(mailing: DeviceHouse, postbox: Postbox) -> None:
    mailing.invite("D-2")
    assert send_due(mailing.operator) == 1
    [mail] = postbox.taken
    assert (mail.mail_from, mail.rcpt_tos) == ("offers@op.example", ["a-2@users.example"])
    assert (postbox.secured, postbox.users) == ([True], ["tollgate"])
    assert b"Subject: Operator: Angebote" in (mail.content or b"")  # type: ignore[operator]  # bytes unless decode_data is set
    assert send_due(mailing.operator) == 0


@pytest.mark.peer
def test_what_the_server_defers_goes_out_later_and_once(mailing: DeviceHouse, postbox: Postbox) -> None:
    postbox.answers = ["451 come back", "RCPT 450 busy"]
    mailing.invite()
    assert send_due(mailing.operator) == 0
    assert send_due(mailing.operator) == 0
    assert "451 come back" in mailing.rows(OutgoingMessage)[0].reason
    mailing.clock.advance(timedelta(minutes=1))
    assert send_due(mailing.operator) == 0
    mailing.clock.advance(timedelta(minutes=2))
    assert send_due(mailing.operator) == 1
    assert send_due(mailing.operator) == 0
    assert len(postbox.taken) == 1
    assert [(row.state, row.attempts) for row in mailing.rows(OutgoingMessage)] == [("sent", 3)]


@pytest.mark.peer
@pytest.mark.parametrize("answer", ["554 spam", "RCPT 550 unknown user"])
def test_what_the_server_refuses_has_failed_and_the_offers_are_new_again(
    mailing: DeviceHouse, postbox: Postbox, answer: str
) -> None:
    postbox.answers = [answer]
    mailing.invite()
    assert send_due(mailing.operator) == 0
    [row] = mailing.rows(OutgoingMessage)
    assert row.state == "failed"
    assert answer[-4:] in row.reason
    assert row.sealed_token is None
    mailing.clock.advance(DAY)
    assert mailing.invite()
    assert send_due(mailing.operator) == 1


@pytest.mark.peer
def test_tries_end_and_their_reason_is_kept(mailing: DeviceHouse) -> None:
    use_outlet(mailing, port=free_port())
    mailing.invite()
    for _ in range(10):
        send_due(mailing.operator)
        mailing.clock.advance(timedelta(hours=6))
    [row] = mailing.rows(OutgoingMessage)
    assert (row.state, row.attempts) == ("failed", 3)
    assert row.reason.startswith("localhost port ")


@pytest.mark.peer
def test_a_server_that_nobody_vouches_for_gets_neither_password_nor_link(
    mailing: DeviceHouse, postbox: Postbox
) -> None:
    use_outlet(mailing, ca_file="")
    mailing.invite()
    assert send_due(mailing.operator) == 0
    assert (postbox.users, postbox.taken) == ([], [])
    [row] = mailing.rows(OutgoingMessage)
    assert "certificate" in row.reason.lower()
    assert "secret" not in row.reason


def test_a_silent_server_is_left_after_the_timeout(house: DeviceHouse) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        outlet = OutletSettings(kind="smtp", host="127.0.0.1", port=silent.getsockname()[1], security="none", timeout=1)
        object.__setattr__(house.operator, "settings", house.operator.settings.model_copy(update={"outlet": outlet}))
        house.invite()
        begun = time.monotonic()
        assert send_due(house.operator) == 0
        assert time.monotonic() - begun < 5
    assert house.rows(OutgoingMessage)[0].state == "waiting"


def test_a_message_whose_link_expired_while_it_waited_is_not_sent(house: DeviceHouse) -> None:
    house.invite()
    house.clock.advance(14 * DAY)
    assert send_due(house.operator) == 0
    [row] = house.rows(OutgoingMessage)
    assert (row.state, row.reason) == ("failed", "the link expired before the message could be sent")


def test_a_crash_while_sending_loses_nothing(house: DeviceHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    class Power(BaseException):
        pass

    def cut(self: object, name: str, message: object) -> None:
        raise Power

    house.invite()
    with monkeypatch.context() as patched:
        patched.setattr("operator_server.outlets.FileOutlet.send", cut)
        with pytest.raises(Power):
            send_due(house.operator)
    assert send_due(house.operator) == 0
    house.clock.advance(timedelta(minutes=1))
    assert send_due(house.operator) == 1
    assert link_in(house.messages()[0].get_content())


def test_a_password_in_the_file_is_refused(house: DeviceHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    file = house.folder / "configs" / "operator.toml"
    kept = file.read_text()
    file.write_text(kept + '[outlet]\npassword = "plain words"\n')
    with pytest.raises(SettingsError, match="set TOLLGATE_OUTLET__PASSWORD"):
        load_settings(file.parent)
    file.write_text(kept)
    monkeypatch.setenv("TOLLGATE_OUTLET__PASSWORD", "plain words")
    settings = load_settings(file.parent)
    assert settings.outlet.password.get_secret_value() == "plain words"
    assert "plain words" not in repr(settings)


def test_links_are_not_sent_in_the_clear_to_other_machines(house: DeviceHouse) -> None:
    file = house.folder / "configs" / "operator.toml"
    file.write_text(file.read_text() + '[outlet]\nkind = "smtp"\nhost = "mail.example"\nsecurity = "none"\n')
    with pytest.raises(SettingsError, match="only to the loopback"):
        load_settings(file.parent)
