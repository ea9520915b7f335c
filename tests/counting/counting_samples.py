"""An operator with one customer whose terminal uses an item, in a database in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.pool import StaticPool

from charging.ledger.book import available, open_account
from charging.tariffs import Tariff, TariffBook, TariffVersion
from charging.tariffs.build import build_version
from charging.tariffs.document import VersionTable
from operator_server.counting.grants import UsageGrants
from operator_server.counting.intake import Message, present, take_reports
from operator_server.counting.tariffs import TariffVersions
from operator_server.desk import Visitor
from operator_server.settings import Settings
from operator_server.store.accounting import Charge
from operator_server.store.dealings import Agreement, Installation, OfferVersion, QuoteRow, TariffVersionRow
from operator_server.store.engine import writing
from operator_server.store.parties import Account, Subscriber, Terminal, TerminalKey
from operator_server.store.rows import add, table
from operator_server.store.schema import metadata
from signalling.clock import to_micros
from signalling.documents import NO_REPORT, CounterReport, Quote, UsageGrant, decode_document, document_digest
from signalling.messages import CounterNoted, CounterReports, ModeTerms, Signed
from signalling.money import decimal_micros
from signalling.proof import check, public_bytes, sign

AGREED = datetime(2026, 10, 2, 8, tzinfo=UTC)
OCTOBER_END = datetime(2026, 10, 31, 23, tzinfo=UTC)
SIGNING = Ed25519PrivateKey.generate()
TERMINAL_KEY = Ed25519PrivateKey.generate()
SETTINGS = Settings(
    operator={
        "server_id": "op.example",
        "name": "Operator",
        "address": ["Street 1", "24103 Kiel"],
        "country": "DE",
        "vat_id": "DE123456788",
        "iban": "DE02120300000000202051",
        "time_zone": "Europe/Berlin",
    }
)


def tariff(**keys: Any) -> TariffVersion:
    """Five cents a use, ten uses a month included, twenty granted ahead; ``keys`` as they stand in a file."""
    raw = {
        "effective_from": "2026-01-01",
        "currency": "EUR",
        "tax_category": "S",
        "unit": "use",
        "zone": "Europe/Berlin",
        "rounding": {"mode": "half_up", "place": "record", "to": "minor"},
        "included": 10,
        "grant_units": 20,
        "price": {"model": "per_unit", "amount": "0.05"},
    } | keys
    built = build_version("games", raw, VersionTable.model_validate(raw))
    assert isinstance(built, TariffVersion), built
    return built


@dataclass
class Meterer:
    """The terminal's counter: uses, resets, signs reports."""

    installation: str = "inst-1"
    counter: str = "uses"
    epoch: int = 0
    value: int = 0
    sequence: int = 0
    previous: bytes = NO_REPORT
    key: Ed25519PrivateKey = field(default=TERMINAL_KEY)

    def use(self, units: int, at: datetime, *samples: tuple[datetime, int]) -> Signed:
        """Count ``units`` and report."""
        self.value += units
        self.sequence += 1
        report = CounterReport(
            installation=self.installation,
            counter=self.counter,
            epoch=self.epoch,
            sequence=self.sequence,
            value=self.value,
            samples=[(to_micros(instant), value) for instant, value in samples],
            previous=self.previous,
            at=to_micros(at),
        )
        self.previous = document_digest(report.encode())
        return sign(self.key, CounterReport.PURPOSE, report.encode())

    def reset(self) -> None:
        self.epoch, self.value = self.epoch + 1, 0


class House:
    """The server's side."""

    def __init__(self, version: TariffVersion | None = None) -> None:
        self.engine = memory_engine()
        self.version = version or tariff()
        book = TariffBook([Tariff("games", {}, (self.version,))])
        self.tariffs = TariffVersions(lambda: book)
        self.grants = UsageGrants(self.tariffs, SIGNING, SETTINGS)
        self.visitor = visitor()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with writing(self.engine).begin() as connection:
            yield connection

    def take(self, connection: Connection, now: datetime, *reports: Signed, by: Visitor | None = None) -> CounterNoted:
        """Hand in reports within one message."""
        who = by or self.visitor
        [noted] = self.take_all(connection, now, present(who, CounterReports(list(reports))))
        return noted

    def take_all(self, connection: Connection, now: datetime, *messages: Message) -> list[CounterNoted]:
        """Hand in messages together."""
        return take_reports(connection, self.tariffs, self.grants, SETTINGS.operator.zone, messages, now)

    def first(self, connection: Connection, now: datetime = AGREED, installation: str = "inst-1") -> list[UsageGrant]:
        """The grants with the delivery."""
        agreements = table(Agreement)
        row = connection.execute(select(agreements).where(agreements.c.id == f"agr-{installation}")).one()
        return opened(self.grants.first_grants(connection, row, installation, now))


def memory_engine() -> Engine:
    """A fresh database; connections share it and transactions nest by hand, as in production."""
    engine = create_engine("sqlite://", connect_args={"check_same_thread": False}, poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    metadata.create_all(engine)
    return engine


def visitor(subscriber: str = "acc-1") -> Visitor:
    return Visitor("T-1", subscriber, subscriber, frozenset(), "en", public_bytes(TERMINAL_KEY))


def opened(grants: list[Signed]) -> list[UsageGrant]:
    """Usage grants whose signature holds."""
    public = public_bytes(SIGNING)
    return [decode_document(UsageGrant, check(public, UsageGrant.PURPOSE, grant)) for grant in grants]


def add_customer(connection: Connection, account: str = "acc-1", credit: str = "200.00", currency: str = "EUR") -> None:
    """An account with a subscriber of the same id."""
    limit = decimal_micros(credit)
    add(
        connection,
        Account(
            id=account, name=f"Customer {account}", address=["Road 2"], country="DE", currency=currency,
            credit_limit=limit, created_at=AGREED,
        ),
        Subscriber(id=account, account_id=account, created_at=AGREED),
    )  # fmt: skip
    open_account(connection, account, currency, limit)


def add_terminal(connection: Connection, terminal: str = "T-1") -> None:
    add(
        connection,
        Terminal(id=terminal, enrolled_at=AGREED),
        TerminalKey(
            id=f"key-{terminal}", terminal_id=terminal, public_key=public_bytes(TERMINAL_KEY), valid_from=AGREED
        ),
    )


def keep_version(connection: Connection, version: TariffVersion) -> None:
    """Let the books know a tariff version, as they do when it first charged something."""
    add(
        connection,
        TariffVersionRow(
            id=version.version_id, tariff_id=version.tariff_id, content=version.content,
            effective_from=version.effective_from, first_loaded_at=AGREED,
        ),
    )  # fmt: skip


def add_installation(
    connection: Connection,
    version: TariffVersion,
    installation: str = "inst-1",
    *,
    account: str = "acc-1",
    limit: str | None = None,
    kind: str = "per_use",
    amount: int = 50_000,
    tax: tuple[str, int] = ("S", 1900),
    state: str = "granted",
    payment: str = "postpaid",
) -> str:
    """An agreement that installed an item on terminal T-1; its id."""
    agreement, spending = f"agr-{installation}", None if limit is None else decimal_micros(limit)
    by_use = kind == "per_use"
    terms = ModeTerms(
        mode=kind, kind=kind, label="Pay per game" if by_use else "Buy once", price_text="0.05 EUR per use",
        currency=version.currency, amount=amount, tax_category=tax[0], tax_rate=tax[1], unit="use" if by_use else "",
        counter="uses" if by_use else "", tariff_version=version.version_id if by_use else "",
        payment=payment,
    )  # fmt: skip
    quote = Quote(
        quote=f"quote-{installation}", server="op.example", subscriber=account, terminal="T-1", offer="chess",
        offer_version="chess@1", product="chess", release="1.0", digest=b"", length=0, mode=terms,
        amount=0 if by_use else amount, tax=0, currency=version.currency, tariff_version=terms.tariff_version,
        terms="", issued=to_micros(AGREED), expires=to_micros(AGREED + timedelta(hours=1)), spending_limit=spending,
    )  # fmt: skip
    signed = sign(SIGNING, Quote.PURPOSE, quote.encode())
    offers = table(OfferVersion)
    if connection.execute(select(offers.c.id)).first() is None:
        content = {"text": {"en": {"title": "Chess"}, "de": {"title": "Schach"}}}
        add(
            connection,
            OfferVersion(id="chess@1", offer_id="chess", product="chess", content=content, first_loaded_at=AGREED),
        )
    add(
        connection,
        QuoteRow(
            id=quote.quote, subscriber_id=account, terminal_id="T-1", offer_id="chess", offer_version="chess@1",
            mode=kind, document=signed.document, signature=signed.signature, issued_at=AGREED, expires_at=AGREED,
        ),
        Agreement(
            id=agreement, quote_id=quote.quote, subscriber_id=account, account_id=account, terminal_id="T-1",
            offer_id="chess", offer_version="chess@1", product="chess", release="1.0", mode=kind, mode_kind=kind,
            currency=version.currency, amount=quote.amount, tax_category=tax[0], tax_rate=tax[1],
            spending_limit=spending, tariff_version=terms.tariff_version, evidence_kind="ed25519", confirmation=b"",
            proof=b"", digest=bytes(32), agreed_at=AGREED, state=state,
        ),
        Installation(
            id=installation, agreement_id=agreement, terminal_id="T-1", product="chess", release="1.0", digest=b"",
        ),
    )  # fmt: skip
    return agreement


def charges(connection: Connection) -> list[Charge]:
    """All charges, in the order of what they count."""
    charge = table(Charge)
    rows = connection.execute(select(charge).order_by(charge.c.installation_id, charge.c.epoch, charge.c.counter_from))
    return [Charge(**row._mapping) for row in rows]


def left(connection: Connection, account: str = "acc-1", currency: str = "EUR") -> int | None:
    return available(connection, account, currency)
