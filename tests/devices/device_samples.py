"""An operator with two devices, and their users at the offers page."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from operator_samples import NOW, OFFERS, PLAIN, House
from sqlalchemy import Connection
from starlette.testclient import TestClient

from operator_server.devices.invitations import offer_menu
from operator_server.devices.outbox import send_due
from operator_server.devices.page_user import Answer, PageUser, Seen, link_in
from operator_server.snmp.credentials import Community, store_credential
from operator_server.snmp.registry import NewDevice, add_device
from operator_server.web.app import create_app
from operator_server.web.offers_page import OffersPage

HOST = "https://offers.example"
SERVICES = """
[[offer]]
id = "volume"
product = "volume"
kind = "service"
priority = 90
text.en = { title = "Data volume", description = "Counted at the gateway." }
text.de = { title = "Datenvolumen", description = "Am Gateway gezählt." }

[[offer.mode]]
id = "per-use"
kind = "per_use"
label = { en = "By volume", de = "Nach Volumen" }
tariff = "games"
spending_limit_min = "2.00"
terms = { en = "Billed by the month.", de = "Wird monatlich abgerechnet." }

[[offer.mode]]
id = "flat"
kind = "one_off"
label = { en = "Once", de = "Einmal" }
amount = "9.00"
currency = "EUR"
tax_category = "S"

[[offer]]
id = "news"
product = "news"
kind = "service"
priority = 80
text.en = { title = "<script>alert(1)</script> & \\"News\\"", description = "<img src=x onerror=alert(2)>" }

[[offer.mode]]
id = "free"
kind = "free"
label = { en = "<b>Free</b>" }
currency = "EUR"
tax_category = "S"
terms = { en = "'\\"><script>alert(3)</script>" }
"""


class DeviceHouse(House):
    """Devices D-1 (of A-1) and D-2 (of A-2) beside the terminals."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "configs" / "offers" / "shop.toml").write_text(OFFERS + SERVICES)
        self.take_over()
        self.change(self._add)
        for device in ("D-1", "D-2"):
            self.interrogated(device, PLAIN)
        self.page = OffersPage(self.operator, self.offers)
        self.app = create_app(self.operator.repository_dir, self.page.routes())

    def _add(self, connection: Connection) -> None:
        store_credential(connection, self.operator.vault, "public", Community("public"), NOW)
        for device, account, language in (("D-1", "A-1", "en"), ("D-2", "A-2", "de")):
            add_device(
                connection,
                NewDevice(
                    device, "192.0.2.1", "public", account, contact=f"{account.lower()}@users.example",
                    language=language, label=f"Gateway {device}",
                ),
                NOW,
            )  # fmt: skip

    def invite(self, device: str = "D-1") -> str | None:
        """What follows an interrogation."""
        now = self.clock.now()
        return self.change(lambda c: offer_menu(c, self.operator, device, now, self.offers))

    def messages(self) -> list[EmailMessage]:
        """What the file outlet holds."""
        folder = self.operator.data / "outbox"
        return [self.message(path.stem) for path in sorted(folder.glob("*.eml"))]

    def link(self, device: str = "D-1") -> str:
        """The link that the device's user is sent."""
        message = self.invite(device)
        send_due(self.operator)
        return link_in(self.message(message or "").get_content())

    def message(self, name: str) -> EmailMessage:
        """A message in the file outlet."""
        raw = (self.operator.data / "outbox" / f"{name}.eml").read_bytes()
        return message_from_bytes(raw, policy=policy.default)  # type: ignore[return-value]  # the policy's kind

    def person(self, language: str = "") -> PageUser:
        """Somebody with a browser."""
        client = TestClient(self.app, base_url=HOST, raise_server_exceptions=True, follow_redirects=False)

        def send(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
            answer = client.request(method, path, headers=dict(headers), content=body)
            client.cookies.clear()
            return answer.status_code, list(answer.headers.multi_items()), answer.content

        return PageUser(send, language)

    def at_menu(self, device: str = "D-1") -> tuple[PageUser, Seen]:
        """A user who has opened the link."""
        person = self.person()
        return person, person.open(self.link(device))


def furnish_devices(template: Path, folder: Path) -> DeviceHouse:
    """A house of its own, furnished like the template."""
    shutil.copytree(template, folder, dirs_exist_ok=True)
    return DeviceHouse(folder)
