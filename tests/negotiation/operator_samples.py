"""A small operator on a real database with a repository, and users who speak to its desks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert
from sqlmodel import SQLModel
from twisted.internet.defer import Deferred, fail, succeed

from charging.ledger.book import Balance, available, balances
from operator_server import parties
from operator_server.context import Operator
from operator_server.counting.grants import UsageGrants
from operator_server.counting.tariffs import TariffVersions
from operator_server.delivery.desk import DeliveryDesk
from operator_server.delivery.publishing import Package, publish
from operator_server.desk import Desks, Refused, Visitor
from operator_server.negotiation.book import last_code, rejections_of
from operator_server.negotiation.desk import NegotiationDesk
from operator_server.offering.live import LiveOffers, read_configurations, read_supply
from operator_server.offering.loading import load
from operator_server.offering.menus import ActiveRejection, LogonContext
from operator_server.settings import load_settings
from operator_server.store.configurations import ConfigurationRow, Section
from operator_server.store.engine import writing
from operator_server.store.parties import TerminalSession
from operator_server.store.rows import add, table
from operator_server.store.store import transact
from operator_server.store.writer import one_by_one
from operator_server.validation.desk import StatusDesk
from signalling.clock import SettableClock, to_micros
from signalling.configuration import Configuration, encode_section
from signalling.documents import (
    Confirmation,
    DeliveryGrant,
    DeliveryOrder,
    DeliveryReceipt,
    Quote,
    decode_document,
    document_digest,
)
from signalling.ids import new_id
from signalling.messages import (
    Agreed,
    Confirm,
    CounterProposal,
    DeliveryGrantMessage,
    DeliveryRequest,
    Message,
    OfferEntry,
    QuoteMessage,
    Receipt,
    ReceiptNoted,
    Request,
    Signed,
)
from signalling.proof import check, public_bytes, sign

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CENT = 10_000
PRICE_OF_GAME = 6_990_000
PLAIN = Configuration(hardware={"model": "aurora-3"})
GAME = b"the game's bytes" * 100

OPERATOR = """
[operator]
server_id = "op.example"
name = "Operator"
address = ["Street 1", "24103 Kiel"]
country = "DE"
time_zone = "Europe/Berlin"
[link]
port = 0
[store]
data = "{data}"
"""

TARIFF = """
id = "games"
[[version]]
effective_from = 2026-01-01
currency = "EUR"
tax_category = "S"
unit = "use"
zone = "Europe/Berlin"
rounding = { mode = "half_up", place = "record", to = "minor" }
included = 10
grant_units = 20
price = { model = "per_unit", amount = "0.05" }

[[version]]
effective_from = 2026-12-01
currency = "EUR"
tax_category = "S"
unit = "use"
zone = "Europe/Berlin"
rounding = { mode = "half_up", place = "record", to = "minor" }
grant_units = 20
price = { model = "per_unit", amount = "0.07" }
"""

OFFERS = """
[[offer]]
id = "game"
product = "game"
kind = "software"
priority = 50
text.en = { title = "Game" }
text.de = { title = "Spiel" }

[[offer.mode]]
id = "per-use"
kind = "per_use"
label = { en = "Pay per game" }
tariff = "games"
spending_limit_min = "1.00"

[[offer.mode]]
id = "buy"
kind = "one_off"
label = { en = "Buy once" }
amount = "6.99"
currency = "EUR"
tax_category = "S"

[[offer.mode]]
id = "staff"
kind = "free"
label = { en = "For our own people" }
currency = "EUR"
tax_category = "S"
groups = ["staff"]

[[offer]]
id = "notes"
product = "notes"
kind = "software"
priority = 40
text.en = { title = "Notes" }
rejection = { until = "30d" }

[[offer.mode]]
id = "free"
kind = "free"
label = { en = "Free" }
currency = "EUR"
tax_category = "S"

[[offer]]
id = "levels"
product = "levels"
kind = "data"
depends_on = ["game"]
text.en = { title = "More levels" }

[[offer.mode]]
id = "free"
kind = "free"
label = { en = "Free" }
currency = "EUR"
tax_category = "S"

[[offer]]
id = "hotline"
product = "hotline"
kind = "service"
text.en = { title = "Hotline" }

[[offer.mode]]
id = "buy"
kind = "one_off"
label = { en = "Open it" }
amount = "5.00"
currency = "EUR"
tax_category = "S"

[[offer]]
id = "yen"
product = "yen"
kind = "service"
text.en = { title = "Priced in yen" }

[[offer.mode]]
id = "buy"
kind = "one_off"
label = { en = "Buy" }
amount = "100"
currency = "JPY"
tax_category = "S"
"""

MAPS = """id = "maps"
product = "maps"
kind = "service"
text.en = { title = "Maps" }
target = { model = ["aurora-*"] }

[[mode]]
id = "free"
kind = "free"
label = { en = "Free" }
currency = "EUR"
tax_category = "S"
"""
"""An offer for itself, in the form that is published; it fits the terminals of the samples."""

M = TypeVar("M", bound=SQLModel)


class StoreAtOnce:
    """The store's interface on this thread: each operation is a transaction of its own, done when it returns."""

    def __init__(self, operator: Operator) -> None:
        self.engine = operator.engine

    def write(self, operation: Callable[[Connection], Any]) -> Deferred[Any]:
        with writing(self.engine).begin() as connection:
            [result] = one_by_one(connection, [operation])
        return fail(result) if isinstance(result, Exception) else succeed(result)

    read = write


def write_configuration(folder: Path, data: Path, *, offers: str = OFFERS, tariff: str = TARIFF) -> Path:
    """A configuration folder, ready for use."""
    for name in ("offers", "tariffs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "operator.toml").write_text(OPERATOR.replace("{data}", str(data)))
    (folder / "tariffs" / "games.toml").write_text(tariff)
    (folder / "offers" / "shop.toml").write_text(offers)
    return folder


def furnish(folder: Path) -> None:
    """What every test begins with: two accounts, three terminals, three releases. Made once, then copied."""
    operator = open_at(folder)
    settings = operator.settings.operator

    def people(connection: Connection) -> None:
        for account, terminals in (("A-1", ("T-1", "T-2")), ("A-2", ("T-3",))):
            parties.create_account(
                connection, parties.NewAccount(account, f"Customer {account}", credit_limit="20.00"), settings, NOW
            )
            for terminal in terminals:
                parties.enroll_terminal(connection, terminal, public_bytes(key_of(terminal)), account, NOW)

    transact(operator.engine, people)
    packages = []
    for product, content in (("game", GAME), ("notes", b"notes"), ("levels", b"levels")):
        file = folder / f"{product}.bin"
        file.write_bytes(content)
        packages.append(Package(file, product, "1.0", sealed=product == "game"))
    publish(operator.engine, operator.repository, operator.vault, packages, NOW)
    operator.engine.dispose()


def open_at(folder: Path) -> Operator:
    """The operator whose configuration and data lie in ``folder``, on a clock that stands."""
    config = write_configuration(folder / "configs", folder / "data")
    return Operator(load_settings(config), SettableClock(NOW))


def key_of(terminal: str) -> Ed25519PrivateKey:
    """The terminal's key, the same in every run."""
    return Ed25519PrivateKey.from_private_bytes(document_digest(terminal.encode()))


class House:
    """The operator's desks over one database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.operator = open_at(folder)
        self.clock: SettableClock = self.operator.clock  # type: ignore[assignment]  # open_at gives it this clock
        self.store = StoreAtOnce(self.operator)
        self.engine = self.operator.engine
        with self.engine.connect() as connection:
            self.offers = LiveOffers(load(self.operator.settings), read_supply(connection, NOW), self.clock)
        self.interrogated("T-1", PLAIN)
        self.interrogated("T-2", PLAIN)
        self.interrogated("T-3", PLAIN)

    @cached_property
    def desks(self) -> Desks:
        operator, store, clock = self.operator, self.store, self.clock
        settings, keys = operator.settings, operator.keys
        usage = UsageGrants(TariffVersions(lambda: self.offers.tariffs), keys.signing, settings)
        return {
            **NegotiationDesk(store, self.offers, keys, settings, clock).handlers(),  # type: ignore[arg-type]  # has the interface, answers at once
            **DeliveryDesk(store, keys, operator.vault, usage, settings, clock).handlers(),  # type: ignore[arg-type]  # has the interface, answers at once
            **StatusDesk(store, clock).handlers(),  # type: ignore[arg-type]  # has the interface, answers at once
        }

    def interrogated(self, terminal: str, configuration: Configuration) -> bytes:
        """The terminal answered with this configuration just now."""
        code = configuration.code()
        self.offers.learn(code, configuration)
        session, now = table(TerminalSession), self.clock.now()

        def keep(connection: Connection) -> None:
            keep_configuration(connection, configuration, now)
            connection.execute(session.delete().where(session.c.terminal_id == terminal))
            add(connection, TerminalSession(terminal_id=terminal, code=code, interrogated_at=now))

        transact(self.engine, keep)
        return code

    def publish(self, product: str, version: str, content: bytes, *, sealed: bool = False) -> None:
        """A further release, taken over at once."""
        self.put(product, version, content, sealed=sealed)
        self.take_over()

    def put(self, product: str, version: str, content: bytes, *, sealed: bool = False) -> None:
        """A further release."""
        file = self.folder / f"{product}-{version}.bin"
        file.write_bytes(content)
        operator = self.operator
        package = Package(file, product, version, sealed=sealed)
        publish(operator.engine, operator.repository, operator.vault, [package], self.clock.now())

    def take_over(self) -> None:
        """What changed in files and releases."""
        with self.engine.connect() as connection:
            supply = read_supply(connection, self.clock.now())
            self.offers.take_over(load(self.operator.settings), supply, read_configurations(connection))

    def user(self, terminal: str = "T-1", subscriber: str = "A-1", *groups: str, language: str = "en") -> User:
        key = key_of(terminal)
        visitor = Visitor(terminal, subscriber, subscriber, frozenset(groups), language, public_bytes(key))
        return User(self, key, visitor)

    def rows(self, model: type[M], **where: Any) -> list[M]:
        """The rows of a table."""
        rows = table(model)
        query = select(rows).where(*(rows.c[name] == value for name, value in where.items()))
        with self.engine.connect() as connection:
            return [model(**row._mapping) for row in connection.execute(query)]

    def change(self, operation: Callable[[Connection], Any]) -> Any:
        return transact(self.engine, operation)

    def left(self, account: str = "A-1") -> int | None:
        """What the account can still spend, in euros."""
        with self.engine.connect() as connection:
            return available(connection, account, "EUR")

    def unbilled(self, account: str = "A-1") -> Balance:
        with self.engine.connect() as connection:
            return next(each for each in balances(connection, account) if each.kind == "unbilled")


@dataclass
class User:
    """A terminal with its user; speaks to the desks as the link would."""

    house: House
    key: Ed25519PrivateKey
    visitor: Visitor
    wrap: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)

    def say(self, message: Message) -> Any:
        """The answer, or :class:`Refused`."""
        answers: list[Any] = []
        self.house.desks[type(message)](self.visitor, message).addBoth(answers.append)
        [answer] = answers
        if isinstance(answer, tuple):
            return answer[0] if answer else None
        answer.raiseException()
        raise AssertionError

    def menu(self) -> dict[str, OfferEntry]:
        """The offers of the terminal's menu, as negotiation knows them."""
        with self.house.engine.connect() as connection:
            code = last_code(connection, self.visitor.terminal)
            records = rejections_of(connection, self.visitor.subscriber)
        assert code is not None
        rejections = tuple(
            ActiveRejection(
                each.product, each.offer, each.offer_version, each.price_digest, each.release,
                None if each.until is None else to_micros(each.until),
            )
            for each in records
        )  # fmt: skip
        menu = self.house.offers.menu(code, self.visitor, LogonContext(self.visitor, rejections, code))
        entries = [msgspec.msgpack.decode(bytes(entry), type=OfferEntry) for entry in menu.entries]
        return {entry.offer: entry for entry in entries}

    def version(self, offer: str) -> str:
        current = self.house.offers.current(offer)
        assert current is not None
        return current.offer.version

    def request(self, offer: str = "game", mode: str = "buy") -> Signed:
        """The signed quote for a request signal."""
        answer = self.say(Request(offer, self.version(offer), mode))
        assert isinstance(answer, QuoteMessage)
        return answer.quote

    def propose(self, quote: Signed, mode: str, limit: int | None = None) -> QuoteMessage:
        return self.say(CounterProposal(opened(self.house, quote).quote, mode, limit))

    def confirmation(self, signed: Signed, agreement: str = "agr-1", **changes: Any) -> Signed:
        """The signed yes to a quote, but for what ``changes`` say."""
        said = opened(self.house, signed)
        fields = {
            "agreement": agreement, "quote": said.quote, "quote_digest": document_digest(signed.document),
            "mode": said.mode.mode, "at": to_micros(self.house.clock.now()), "spending_limit": said.spending_limit,
        } | changes  # fmt: skip
        return sign(self.key, Confirmation.PURPOSE, Confirmation(**fields).encode())

    def confirm(self, signed: Signed, agreement: str = "agr-1", **changes: Any) -> Agreed:
        return self.say(Confirm(self.confirmation(signed, agreement, **changes)))

    def agree(self, offer: str = "game", mode: str = "buy", agreement: str | None = None) -> Agreed:
        """Request and confirm."""
        return self.confirm(self.request(offer, mode), agreement or new_id(self.house.clock.micros()))

    def order(self, agreed: Agreed, **changes: Any) -> DeliveryGrantMessage:
        """Start the transmission."""
        fields = {
            "agreement": agreed.agreement, "agreement_digest": agreed.digest,
            "wrap_key": self.wrap.public_key().public_bytes_raw(), "at": to_micros(self.house.clock.now()),
        } | changes  # fmt: skip
        signed = sign(self.key, DeliveryOrder.PURPOSE, DeliveryOrder(**fields).encode())
        return self.say(DeliveryRequest(signed))

    def granted(self, agreed: Agreed, **changes: Any) -> DeliveryGrant:
        """The grant for an order, its signature checked."""
        signed = self.order(agreed, **changes).grant
        server = self.house.operator.keys.public_key()
        return decode_document(DeliveryGrant, check(server, DeliveryGrant.PURPOSE, signed))

    def receipt(self, grant: DeliveryGrant, outcome: str = "installed", **changes: Any) -> ReceiptNoted:
        """Tell what became of a delivery."""
        fields = {
            "agreement": grant.agreement, "installation": grant.installation, "outcome": outcome,
            "reason": "" if outcome == "installed" else "disk: full", "at": to_micros(self.house.clock.now()),
        } | changes  # fmt: skip
        signed = sign(self.key, DeliveryReceipt.PURPOSE, DeliveryReceipt(**fields).encode())
        return self.say(Receipt(signed))

    def take(self, offer: str = "game", mode: str = "buy") -> DeliveryGrant:
        """The whole way: request, confirm, order, install."""
        grant = self.granted(self.agree(offer, mode))
        self.receipt(grant)
        return grant

    def refused(self, action: Callable[..., Any], *args: Any, **keys: Any) -> str:
        """The code of the refusal that an action meets."""
        with pytest.raises(Refused) as no:
            action(*args, **keys)
        assert no.value.reason
        return no.value.code


def keep_configuration(connection: Connection, configuration: Configuration, now: datetime) -> None:
    """Store a configuration as interrogation does."""
    seen = {"first_terminal": "", "first_seen_at": now}
    for name, digest in configuration.digests().items():
        canonical = encode_section(name, configuration.section(name))
        row = {"digest": digest, "name": name, "canonical": canonical, **seen}
        connection.execute(insert(table(Section)).values(row).on_conflict_do_nothing())
    code = {"code": configuration.code(), **configuration.digests(), **seen}
    connection.execute(insert(table(ConfigurationRow)).values(code).on_conflict_do_nothing())


def opened(house: House, quote: Signed) -> Quote:
    """The quote, its signature checked."""
    return decode_document(Quote, check(house.operator.keys.public_key(), Quote.PURPOSE, quote))


def copied(template: Path, folder: Path) -> House:
    """A house of its own, furnished like the template."""
    shutil.copytree(template, folder, dirs_exist_ok=True)
    return House(folder)
