"""The demo's world: an operator in a working folder, its customers, and real files of this machine as packages."""

from __future__ import annotations

import os
import random
import shutil
import socket
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

import charging.invoices.fonts as invoice_fonts
from operator_server import parties
from operator_server.context import Operator, open_operator
from operator_server.delivery.publishing import Package, paid_products, publish
from operator_server.offering.loading import load
from operator_server.parties import NewAccount
from operator_server.store.store import transact
from signalling.clock import SharedClock
from terminal_sim.fleet import enrolment

_STDLIB = Path(sysconfig.get_paths()["stdlib"])
_FONTS = Path(invoice_fonts.__file__).parent

CONTENT: Mapping[str, Path] = {
    "chess": _STDLIB / "json",
    "chess-tournament": _STDLIB / "_pydecimal.py",
    "navigator": _STDLIB / "email",
    "offline-map": _FONTS / "DejaVuSansCondensed.ttf",
    "phrasebook": _STDLIB / "pydoc_data",
    "secure-mail": _STDLIB / "http",
    "diagnostics": _STDLIB / "inspect.py",
    "ringtones-classic": _STDLIB / "importlib",
    "ringtones-winter": _STDLIB / "typing.py",
    "aurora-radio-patch": _STDLIB / "ast.py",
    "voice-mail": _STDLIB / "configparser.py",
    "roaming-info": _STDLIB / "locale.py",
    "fleet-desk": _STDLIB / "socketserver.py",
}
"""Product to what is delivered as it: files and folders that every Python brings along, and the house's own."""

_OTHER = _STDLIB / "argparse.py"
_FIRST = {"secure-mail": "2.0.0", "roaming-info": "2.0"}
"""Versions that offers ask for; all else begins at 1.0.0."""

_NAMES = [
    ("Erika Hansen", "Holtenauer Straße 14|24105 Kiel", "DE", "de"),
    ("Jörn Petersen", "Am Germaniahafen 3|24143 Kiel", "DE", "de"),
    ("Ayşe Yılmaz", "Elisabethstraße 61|24143 Kiel", "DE", "de"),
    ("Søren Kjærgaard", "Havnegade 22|6400 Sønderborg", "DK", "en"),
    ("Mette Østergård", "Jernbanegade 5|6340 Kruså", "DK", "en"),
    ("Γεωργία Παπαδοπούλου", "Ερμού 18|546 24 Θεσσαλονίκη", "GR", "en"),
    ("Νίκος Αλεξίου", "Τσιμισκή 92|546 22 Θεσσαλονίκη", "GR", "en"),
    ("Claire Lefèvre", "12 rue de la Préfecture|59000 Lille", "FR", "fr"),
    ("Łukasz Wójcik", "ul. Morska 7|81-225 Gdynia", "PL", "en"),
    ("Birte Carstensen", "Große Straße 40|24937 Flensburg", "DE", "de"),
    ("Thies Lorenzen", "Süderstraße 9|25813 Husum", "DE", "de"),
    ("Åse Bjørnsen", "Strandgata 2|4610 Kristiansand", "NO", "en"),
]
_OUTSIDE_EU = ("NO",)
_FIRMS = [
    ("Küstenlogistik GmbH", "Ostuferhafen 15|24149 Kiel", "DE", "de", "DE811907980"),
    ("Ærø Færgefart A/S", "Vestergade 1|5970 Ærøskøbing", "DK", "en", "DK12345674"),
    ("Werft Schleimünde KG", "Hafenweg 2|24376 Kappeln", "DE", "de", "DE136695976"),
]


@dataclass(frozen=True)
class Person:
    """A subscriber, the account that pays, and the numbers of the fleet's terminals in this person's hands."""

    subscriber: str
    account: str
    groups: tuple[str, ...]
    terminals: tuple[int, ...]


@dataclass(frozen=True)
class Customers:
    """Who pays and who uses."""

    accounts: Sequence[NewAccount]
    people: Sequence[Person]

    def account_of(self) -> dict[str, str]:
        """Subscriber to account."""
        return {person.subscriber: person.account for person in self.people}

    def untaxed(self, country: str) -> set[str]:
        """Accounts that an operator of this EU country takes no tax from: firms of other EU countries, who owe it
        themselves there, and all who are outside the EU."""
        abroad = [account for account in self.accounts if account.country != country]
        return {account.id for account in abroad if account.vat_id or account.country in _OUTSIDE_EU}


GATEWAY_ACCOUNT = NewAccount(
    "A-90001", "Hafenkontor Kiel e. K.", ["Schifferstraße 2", "24143 Kiel"], "DE", language="de"
)
GATEWAY_USER = Person("A-90001", "A-90001", ("fixed-line",), ())
"""Who has the gateway that is read by SNMP."""

SIM_ACCOUNTS = (
    NewAccount("A-90002", "Wattwagen Büsum GmbH", ["Am Fischereihafen 8", "25761 Büsum"], "DE", language="de"),
    NewAccount("A-90003", "Deichschäferei Nordstrand", ["Süderhafen 3", "25845 Nordstrand"], "DE", language="en"),
)
SIM_USERS = tuple(
    Person(f"{account.id}{suffix}", account.id, ("business",), ()) for account in SIM_ACCOUNTS for suffix in ("", ".1")
)
"""Who has the SIM phones."""

ROAMING_ACCOUNT = NewAccount(
    "A-90004", "Fähre & Fracht Kappeln OHG", ["Mühlenstraße 36", "24376 Kappeln"], "DE", language="en"
)
ROAMING_USER = Person("A-90004", "A-90004", ("roaming",), ())
"""Who visits another network, with one terminal more than the fleet has."""


def draw_customers(terminals: int, seed: int) -> Customers:
    """People and firms that share ``terminals`` terminals, the users of the gateway and of the SIM phones, and the
    roamer; the same for the same seed."""
    chance = random.Random(f"{seed} customers")
    accounts: list[NewAccount] = []
    people: list[Person] = []
    number = 1
    while number <= terminals:
        account = f"A-{len(accounts) + 1:05d}"
        firm = chance.random() < 0.06
        users = chance.randint(2, 5) if firm else chance.choice((1, 1, 1, 1, 2))
        users = min(users, terminals - number + 1)
        accounts.append(_account(account, firm, chance))
        for user in range(users):
            subscriber = account if user == 0 else f"{account}.{user}"
            held = 2 if number < terminals and user == 0 and chance.random() < 0.05 else 1
            groups = ("business",) if firm else ("staff",) if chance.random() < 0.04 else ()
            people.append(Person(subscriber, account, groups, tuple(range(number, number + held))))
            number += held
            if number > terminals:
                break
    roamer = replace(ROAMING_USER, terminals=(terminals + 1,))
    return Customers(
        [*accounts, GATEWAY_ACCOUNT, *SIM_ACCOUNTS, ROAMING_ACCOUNT], [*people, GATEWAY_USER, *SIM_USERS, roamer]
    )


def _account(account: str, firm: bool, chance: random.Random) -> NewAccount:
    if firm:
        name, address, country, language, vat_id = chance.choice(_FIRMS)
        return NewAccount(account, name, address.split("|"), country, vat_id, language=language)
    name, address, country, language = chance.choice(_NAMES)
    # Some have so little credit that a price or two is refused.
    limit = chance.choice(("4.00", "12.00")) if chance.random() < 0.1 else ""
    return NewAccount(account, name, address.split("|"), country, language=language, credit_limit=limit)


class World:
    """The operator of a configuration folder in a working folder of its own, with a clock that can be set.

    Settings are given by the environment, as to any server; ``environment`` is what its processes need. ``centre``: the
    port of the short message centre.
    """

    def __init__(self, config: Path, folder: Path, start: datetime) -> None:
        self.config = config.resolve()
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clock = SharedClock(self.folder / "clock", start)
        port, web, roaming, self.centre = free_ports(4)
        self.ports = [port, web, roaming]
        self.environment = {
            "TOLLGATE_STORE__DATA": str(self.folder / "server"),
            "TOLLGATE_STORE__URL": "",
            "TOLLGATE_CLOCK": f"file:{self.folder / 'clock'}",
            "TOLLGATE_LINK__PORT": str(port),
            "TOLLGATE_LINK__PUBLIC_HOST": "localhost",
            "TOLLGATE_WEB__PORT": str(web),
            "TOLLGATE_ROAMING__PORT": str(roaming),
            "TOLLGATE_SMS__HOST": "127.0.0.1",
            "TOLLGATE_SMS__PORT": str(self.centre),
            "TOLLGATE_SMS__TLS": "false",
            "TOLLGATE_SMS__PER_SECOND": "1000",
            # The clock runs a day in less than a second: what is due must be looked for more often.
            "TOLLGATE_INTERROGATION__POLL": "0.05",
            "TOLLGATE_DELIVERY__TIMESTAMP_DAYS": "40",
        }
        os.environ.update(self.environment)
        self.operator: Operator = open_operator(self.config)

    def settle(self, customers: Customers, terminals: int, seed: int) -> None:
        """Open the accounts and enrol the fleet, and one terminal more: the roamer's."""
        keys = dict(enumerate(enrolment(terminals + 1, seed), 1))
        now, settings = self.clock.now(), self.operator.settings.operator

        def settle(connection: Connection) -> None:
            for account in customers.accounts:
                parties.create_account(connection, account, settings, now)
            for person in customers.people:
                if person.subscriber == person.account:
                    parties.set_groups(connection, person.subscriber, list(person.groups))
                else:
                    groups = list(person.groups)
                    parties.create_subscriber(connection, person.subscriber, person.account, now, groups=groups)
                for number in person.terminals:
                    terminal, key = keys[number]
                    parties.enroll_terminal(connection, terminal, bytes.fromhex(key), person.subscriber, now)

        transact(self.operator.engine, settle)

    def publish_all(self) -> None:
        """Publish a first release of every product that the catalogue names."""
        self._publish({name: _FIRST.get(name, "1.0.0") for name in load(self.operator.settings).catalogue.products})

    def publish(self, product: str, version: str) -> None:
        """Publish one more release."""
        self._publish({product: version})

    def _publish(self, versions: Mapping[str, str]) -> None:
        paid = paid_products(load(self.operator.settings).catalogue)
        packages = [
            Package(self._content(name, version), name, version, name in paid) for name, version in versions.items()
        ]
        operator = self.operator
        publish(operator.engine, operator.repository, operator.vault, packages, self.clock.now())

    def _content(self, product: str, version: str) -> Path:
        """A copy, so that each release is told from the one before by a file that names it."""
        source = CONTENT.get(product, _OTHER)
        folder = self.folder / "packages" / f"{product}-{version}"
        folder.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, folder / source.name)
        (folder / "RELEASE").write_text(f"{product} {version}\n")
        return folder


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
