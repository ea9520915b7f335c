"""Where messages go: a folder of ``.eml`` files, or a mail server."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Protocol

from operator_server.files import sync_directory, write_atomically
from operator_server.settings import OutletSettings, Settings


class NotSent(Exception):
    """A message that did not go out. ``final``: it never will, so that there is no use in another try."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


class Outlet(Protocol):
    """Sends one message, and has sent it when it returns."""

    def send(self, name: str, message: EmailMessage) -> None:
        """Send. ``name`` is the message's own and the same at each try. Raises :class:`NotSent`."""


class FileOutlet:
    """Writes each message as ``NAME.eml``, for a trial or for another program that sends them.

    The files hold links: folder and files are for the operator's user alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, name: str, message: EmailMessage) -> None:
        """Write the file, whole or not at all; another try writes the same again."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(self._folder / f"{name}.eml", message.as_bytes(policy=SMTP), mode=0o600)
            sync_directory(self._folder)
        except OSError as error:
            raise NotSent(f"{self._folder}: {error.strerror or error}") from None


class SmtpOutlet:
    """Hands each message to a mail server, over TLS unless the server is on this machine."""

    def __init__(self, settings: OutletSettings) -> None:
        self._settings = settings

    def send(self, name: str, message: EmailMessage) -> None:
        """Hand the message over; the server's 2xx to it is the end of our duty."""
        server = f"{self._settings.host} port {self._settings.port}"
        try:
            with self._connected() as smtp:
                smtp.send_message(message)
        except smtplib.SMTPRecipientsRefused as refused:
            codes = [(code, text) for code, text in refused.recipients.values()]
            told = "; ".join(f"{code} {_text(text)}" for code, text in codes)
            raise NotSent(
                f"{server}: the recipient is refused: {told}", final=all(c >= 500 for c, _ in codes)
            ) from None
        except (smtplib.SMTPAuthenticationError, smtplib.SMTPConnectError, smtplib.SMTPHeloError) as error:
            raise NotSent(f"{server}: {error.smtp_code} {_text(error.smtp_error)}") from None
        except smtplib.SMTPResponseException as error:
            told = f"{error.smtp_code} {_text(error.smtp_error)}"
            raise NotSent(f"{server}: the message is refused: {told}", final=error.smtp_code >= 500) from None
        except (smtplib.SMTPException, OSError) as error:
            raise NotSent(f"{server}: {error}") from None

    def _connected(self) -> smtplib.SMTP:
        settings, context = self._settings, self._context()
        if settings.security == "tls":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                settings.host, settings.port, timeout=settings.timeout, context=context
            )
        else:
            smtp = smtplib.SMTP(settings.host, settings.port, timeout=settings.timeout)
        try:
            if settings.security == "starttls":
                smtp.starttls(context=context)
            if settings.user:
                smtp.login(settings.user, settings.password.get_secret_value())
        except (smtplib.SMTPException, OSError):
            smtp.close()
            raise
        return smtp

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._settings.ca_file or None)


def outlet_of(settings: Settings) -> Outlet:
    """The outlet that the settings name."""
    outlet = settings.outlet
    if outlet.kind == "smtp":
        return SmtpOutlet(outlet)
    return FileOutlet(Path(outlet.folder) if outlet.folder else settings.store.data / "outbox")


def _text(answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return " ".join(text.split())[:300]
