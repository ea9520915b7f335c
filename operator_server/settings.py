"""The operator's settings: ``operator.toml`` in the configuration folder, environment variables above it.

``TOLLGATE_LINK__PORT=7001`` sets ``port`` in section ``[link]``.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from signalling.clock import Clock, SharedClock, SystemClock
from signalling.money import MoneyError, checked_currency, decimal_micros


class SettingsError(ValueError):
    """Settings that cannot be used; one line per fault, each with file, key and reason."""


class Section(BaseModel):
    """Base of the sections: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid")


class OperatorSettings(Section):
    """Who the operator is, as it stands on invoices and in signatures."""

    server_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$", description="Name in signatures")]
    name: Annotated[str, Field(min_length=1, description="Seller's name on invoices")]
    address: Annotated[list[str], Field(min_length=1, description="Seller's address, a line an element")]
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166 code")]
    vat_id: Annotated[str, Field(description="Seller's VAT id on invoices")] = ""
    email: Annotated[str, Field(description="Seller's address for questions, on invoices")] = ""
    iban: Annotated[str, Field(description="Account to pay to; empty: invoices name none")] = ""
    bic: Annotated[str, Field(description="Bank of that account")] = ""
    currency: Annotated[str, Field(description="ISO 4217 code of new accounts")] = "EUR"
    time_zone: Annotated[str, Field(description="IANA zone in which months begin and calendars run")] = "UTC"
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$", description="Used where a user's has no text")] = "en"
    credit_limit: Annotated[str, Field(description="Default credit limit of an account, in its currency")] = "200.00"
    payment_days: Annotated[int, Field(ge=0, le=365, description="Days until an invoice is due")] = 14
    invoice_series: Annotated[str, Field(pattern=r"^[A-Z0-9-]{0,16}$", description="Prefix of invoice numbers")] = "R"
    minimum_amount: Annotated[
        str,
        Field(description="Bills below this are left to the next one, in each bill's currency; 0: every bill is made"),
    ] = "0"
    negative_bills: Annotated[
        Literal["credit_note", "carry"],
        Field(description="A bill that gives money back: a credit note at once, or carried forward to the next bill"),
    ] = "credit_note"
    bill_approval: Annotated[
        bool, Field(description="Bill runs make drafts, which somebody approves before they are final")
    ] = False
    tax_rates: Annotated[dict[str, str], Field(description="Tax category to percentage")] = {"S": "19", "Z": "0"}

    @field_validator("currency")
    @classmethod
    def _currency(cls, value: str) -> str:
        try:
            return checked_currency(value)
        except MoneyError as error:
            raise ValueError(str(error)) from None

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"{value!r} is not a zone of the IANA time zone database")
        return value

    @field_validator("credit_limit", "minimum_amount")
    @classmethod
    def _limit(cls, value: str) -> str:
        if decimal_micros(value) < 0:
            raise ValueError(f"{value!r} is below zero")
        return value

    @field_validator("tax_rates")
    @classmethod
    def _rates(cls, value: dict[str, str]) -> dict[str, str]:
        for category, rate in value.items():
            if not 0 <= decimal_micros(rate) <= decimal_micros("100") or decimal_micros(rate) % 10_000:
                raise ValueError(f"{category}: {rate!r} is not a percentage from 0 to 100 with at most two decimals")
        return value

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which months begin."""
        return ZoneInfo(self.time_zone)

    def tax_basis_points(self) -> dict[str, int]:
        """Tax category to basis points: 19 per cent are 1900."""
        return {category: decimal_micros(rate) // 10_000 for category, rate in self.tax_rates.items()}


class LinkSettings(Section):
    """The terminal link."""

    host: Annotated[str, Field(description="Address to listen on; 0.0.0.0 is every one of IPv4")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0: any free one")] = 7707
    public_host: Annotated[str, Field(description="Host that terminals are told to connect to")] = "localhost"
    tls: Annotated[bool, Field(description="Off only on the loopback, for trials")] = True
    channel_bindings: Annotated[
        list[Literal["tls-exporter", "tls-server-end-point"]],
        Field(description="What a logon proof may be bound to"),
    ] = ["tls-exporter", "tls-server-end-point"]
    key_exchange: Annotated[
        list[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]],
        Field(min_length=1, description="TLS key exchanges by preference; X25519MLKEM768 costs about 5 KiB a link"),
    ] = ["X25519", "P-256"]
    handshake_timeout: Annotated[int, Field(ge=1, description="Seconds for TLS and logon")] = 15
    answer_timeout: Annotated[int, Field(ge=1, description="Seconds to wait for an answer to an inquiry")] = 20
    idle_timeout: Annotated[int, Field(ge=5, description="Seconds without a word before a link is closed")] = 300
    messages_per_second: Annotated[int, Field(ge=1, description="Messages a link may send, on average")] = 50
    message_burst: Annotated[int, Field(ge=1, description="Messages a link may send at once")] = 200
    max_links: Annotated[int, Field(ge=1, description="Links a process takes at a time")] = 20_000
    max_links_per_address: Annotated[int, Field(ge=1, description="Links from one address at a time")] = 2_000
    new_codes_per_day: Annotated[int, Field(ge=1, description="New codes a terminal may bring in 24 hours")] = 20

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not self.tls and not _is_loopback(self.host):
            raise ValueError(f"tls = false: only on the loopback, but host is {self.host!r}; a logon could be relayed")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class CalendarPlan(Section):
    """Interrogation at predetermined times: every day, or on one weekday or day of the month, at a time of day."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$", description="Its due time is stored under it")]
    at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="Local time HH:MM")]
    every: Annotated[
        str,
        Field(
            pattern=r"^(day|monday|tuesday|wednesday|thursday|friday|saturday|sunday|month-day-([1-9]|[12]\d|3[01]))$",
            description="day, monday to sunday, or month-day-1 to -31; a short month runs it on its last day",
        ),
    ] = "day"
    missed: Annotated[Literal["run", "skip"], Field(description="What to do when the server was down")] = "run"


def _named_once(plans: list[CalendarPlan]) -> list[CalendarPlan]:
    names = [plan.name for plan in plans]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two plans have the name {name!r}; each needs its own, its due time is stored under it")
    return plans


class InterrogationSettings(Section):
    """The three triggers."""

    interval: Annotated[
        int, Field(ge=0, description="Seconds between interrogations of a connected terminal; 0: none")
    ] = 86_400
    jitter: Annotated[int, Field(ge=0, description="Seconds over which a fleet's due times are spread")] = 600
    retries: Annotated[int, Field(ge=0, le=10, description="Further inquiries to a terminal that is silent")] = 2
    calendar: Annotated[
        list[CalendarPlan], AfterValidator(_named_once), Field(description="Plans, each an [[interrogation.calendar]]")
    ] = []
    poll: Annotated[float, Field(gt=0, description="Seconds between looks at what is due")] = 0.5


class NegotiationSettings(Section):
    """Quotes and counter-proposals."""

    quote_validity: Annotated[int, Field(ge=10, description="Seconds a quote holds")] = 900
    max_rounds: Annotated[int, Field(ge=1, description="Quotes per negotiation")] = 5
    withdrawal_days: Annotated[
        int, Field(ge=0, le=365, description="Days after an agreement in which it may be withdrawn; 0: never")
    ] = 14


class DeliverySettings(Section):
    """Repository and grants."""

    grant_validity: Annotated[int, Field(ge=60, description="Seconds a delivery grant holds")] = 7 * 86_400
    hash_bins: Annotated[
        int, Field(ge=2, le=256, description="Parts of the list of packages, a power of two; fixed at the creation")
    ] = 16
    public_urls: Annotated[
        list[str], Field(description="Repository base URLs told to terminals; empty: this server's")
    ] = []
    timestamp_days: Annotated[int, Field(ge=1, description="Days that the newest signature of all holds")] = 7

    @field_validator("hash_bins")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("a power of two from 2 to 256 is needed")
        return value


class CountingSettings(Section):
    """Usage grants."""

    grant_validity: Annotated[int, Field(ge=60, description="Seconds a usage grant is valid")] = 45 * 86_400
    report_within: Annotated[int, Field(ge=60, description="Seconds until a terminal must report")] = 35 * 86_400


class SnmpSettings(Section):
    """Devices that are polled by SNMP."""

    enabled: Annotated[
        bool, Field(description="Run the role snmp with `tollgate serve`; it runs anyway once there is a device")
    ] = False
    timeout: Annotated[float, Field(ge=0.1, le=60, description="Seconds to wait for a device's answer")] = 2.0
    retries: Annotated[int, Field(ge=0, le=5, description="Further requests to a device that is silent")] = 1
    window: Annotated[int, Field(ge=1, le=1000, description="Requests that are worked on at a time")] = 64
    most_polls: Annotated[int, Field(ge=1, le=20_000, description="Devices that are polled at a time")] = 2_000
    poll_seconds: Annotated[int, Field(ge=5, description="Seconds between polls of a new device's counters")] = 300
    backoff: Annotated[int, Field(ge=1, description="Seconds until a device that failed is tried again; doubled")] = 30
    backoff_most: Annotated[int, Field(ge=1, description="Seconds that this grows to")] = 3_600
    max_rows: Annotated[int, Field(ge=1, le=50_000, description="Rows of a table that are read")] = 20_000
    max_bytes: Annotated[int, Field(ge=1_000, description="Bytes of values that one interrogation reads")] = 4_194_304
    max_seconds: Annotated[float, Field(ge=1, description="Seconds that one interrogation may take")] = 60.0
    trap_host: Annotated[str, Field(description="Address to receive traps and informs on")] = "127.0.0.1"
    trap_port: Annotated[int, Field(ge=0, le=65535, description="Port for them, often 162; 0: none are received")] = 0
    trap_pause: Annotated[int, Field(ge=1, description="Least seconds between polls that traps bring about")] = 60


class WebSettings(Section):
    """The HTTP server of the repository and of the pages for devices' users."""

    host: Annotated[str, Field(description="Address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on")] = 7780
    tls: Annotated[
        bool, Field(description="HTTPS with the link's certificate; off behind a proxy that has its own")
    ] = True
    public_url: Annotated[
        str,
        Field(
            pattern=r"^(https://[^/?#\s]+)?$",
            description="How links in messages begin, such as https://offers.example; empty: the link's public host, "
            "this port",
        ),
    ] = ""
    requests_per_minute: Annotated[
        int,
        Field(ge=0, description="Of the offers page, from one address; 0: no limit, for a proxy that has its own"),
    ] = 240
    session_idle: Annotated[int, Field(ge=60, description="Seconds without a request until a person is logged off")] = (
        1_800
    )
    session_validity: Annotated[int, Field(ge=60, description="Seconds until a person has to log on again anyway")] = (
        43_200
    )
    logons_per_minute: Annotated[
        int, Field(ge=1, description="Tries to log on from one address; a third of it for one user name")
    ] = 12


class InvitationSettings(Section):
    """Links for the users of devices that have no screen."""

    link_validity: Annotated[int, Field(ge=60, description="Seconds a link can be opened, once")] = 14 * 86_400
    session_validity: Annotated[int, Field(ge=60, description="Seconds a page stays open after its link was")] = 1_800
    pause: Annotated[int, Field(ge=0, description="Least seconds between messages to the user of one device")] = 86_400


class SmsSettings(Section):
    """The short message centre that takes packets to SIM cards, by SMPP 3.4."""

    host: Annotated[str, Field(description="The centre; empty: cards are reached over terminal links alone")] = ""
    port: Annotated[int, Field(ge=1, le=65535, description="Its port")] = 2775
    tls: Annotated[bool, Field(description="Off only to a centre on this machine")] = True
    system_id: Annotated[str, Field(pattern=r"^[ -~]{1,15}$", description="Who we are to the centre")] = "tollgate"
    password: Annotated[SecretStr, Field(description="By environment alone; a file that names it is refused")] = (
        SecretStr("")
    )
    number: Annotated[
        str, Field(pattern=r"^\+?[0-9]{3,15}$", description="The number that cards send to and are written from")
    ] = "+4900000"
    per_second: Annotated[int, Field(ge=1, le=1000, description="Messages a second that the centre takes")] = 20
    enquire_seconds: Annotated[int, Field(ge=1, le=600, description="Between two looks whether it is there")] = 30

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.host and not self.tls and not _is_loopback(self.host):
            raise ValueError(
                f"tls = false: only to the loopback, but host is {self.host!r}; the password would be read"
            )
        return self


class RoamingSettings(Section):
    """The interconnect: where partner operators reach us, both sides known by their certificates."""

    enabled: Annotated[
        bool, Field(description="Run the role roaming with `tollgate serve`; it runs anyway once there is a partner")
    ] = False
    host: Annotated[str, Field(description="Address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0: any free one")] = 7790
    public_url: Annotated[
        str,
        Field(
            pattern=r"^(https://[^/?#\s]+)?$",
            description="What partners are told to call; empty: the link's public host, this port",
        ),
    ] = ""
    requests_per_minute: Annotated[int, Field(ge=1, description="Of one partner, on average")] = 1_200
    max_connections: Annotated[int, Field(ge=1, description="Connections at a time")] = 200


class NodesSettings(Section):
    """The home register: nodes that serve phones attach here, for short messages, USSD and calls that play tones."""

    host: Annotated[str, Field(description="Address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port for nodes, often 7795; 0: none is opened")] = 0
    tls: Annotated[bool, Field(description="Off only on the loopback, for trials")] = True
    secret: Annotated[
        SecretStr, Field(description="What nodes prove themselves with; by environment alone, needed off the loopback")
    ] = SecretStr("")
    ussd_code: Annotated[
        str, Field(pattern=r"^\*[0-9*]{1,10}#$", description="What phones dial for the menu of tones as text")
    ] = "*100#"
    keyword: Annotated[
        str, Field(pattern=r"^[A-Za-z]{2,20}$", description="What they write by short message for the same menu")
    ] = "TONES"
    voice_number: Annotated[
        str, Field(pattern=r"^\+[0-9]{3,15}$", description="Number that plays tones; a code of four digits follows it")
    ] = "+4900100"
    voice_frame_ms: Annotated[
        int, Field(ge=0, le=100, description="Milliseconds between frames of 20 ms of sound; 0: as fast as they go")
    ] = 20
    tone_form: Annotated[
        Literal["smart", "rtttl", "audio"], Field(description="Form of tones to cards whose users wish for none")
    ] = "smart"

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not _is_loopback(self.host) and not (self.tls and self.secret.get_secret_value()):
            raise ValueError(
                f"host is {self.host!r}: off the loopback tls = true and TOLLGATE_NODES__SECRET are needed; "
                "who attaches gets users' messages"
            )
        return self


class OutletSettings(Section):
    """Where messages to devices' users go."""

    kind: Annotated[Literal["file", "smtp"], Field(description="file: a folder of .eml files; smtp: a mail server")] = (
        "file"
    )
    folder: Annotated[str, Field(description="Folder of the file outlet; empty: outbox in the data folder")] = ""
    host: Annotated[str, Field(description="Mail server")] = "localhost"
    port: Annotated[int, Field(ge=1, le=65535, description="Its port: 587 with starttls, 465 with tls")] = 587
    security: Annotated[
        Literal["starttls", "tls", "none"], Field(description="none only to a mail server on this machine")
    ] = "starttls"
    ca_file: Annotated[str, Field(description="PEM file of the authorities to trust; empty: the system's")] = ""
    sender: Annotated[str, Field(description="From address; empty: the operator's email")] = ""
    user: Annotated[str, Field(description="User name at the mail server; empty: no logon")] = ""
    password: Annotated[SecretStr, Field(description="By environment alone; a file that names it is refused")] = (
        SecretStr("")
    )
    timeout: Annotated[int, Field(ge=1, le=300, description="Seconds to wait for the mail server")] = 20
    attempts: Annotated[int, Field(ge=1, le=20, description="Tries before a message counts as failed")] = 8

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.kind == "smtp" and self.security == "none" and not _is_loopback(self.host):
            raise ValueError(
                f"security = none: only to the loopback, but host is {self.host!r}; links would be readable"
            )
        return self


class ReminderLevel(Section):
    """A step of dunning."""

    days: Annotated[int, Field(ge=0, le=365, description="Days after the due day; from the second on, after the last")]
    fee: Annotated[str, Field(description="Charged with the letter, in the operator's currency")] = "0.00"
    text: Annotated[dict[str, str], Field(description="Language to what the letter says at this level")] = {}

    @field_validator("fee")
    @classmethod
    def _fee(cls, value: str) -> str:
        return _not_below_zero(value)


class BadDebtRule(Section):
    """What becomes of the tax of debts that are written off, in one country."""

    method: Annotated[
        Literal["keep", "posting", "document"],
        Field(description="keep: it stays owed; posting: corrected; document: that, with a notice to the customer"),
    ]
    days: Annotated[int, Field(ge=0, le=3650, description="Days after the due day; 0: with the write-off")] = 0


def _not_below_zero(value: str) -> str:
    if decimal_micros(value) < 0:
        raise ValueError(f"{value!r} is below zero")
    return value


class ReceivablesSettings(Section):
    """Credit notes, payments, direct debits and reminders."""

    credit_note_series: Annotated[
        str, Field(pattern=r"^[A-Z0-9-]{1,16}$", description="Prefix of credit note numbers; not that of invoices")
    ] = "G"
    fee_series: Annotated[str, Field(pattern=r"^[A-Z0-9-]{1,16}$", description="Prefix of fees' numbers")] = "F"
    bank_accounts: Annotated[
        list[str], Field(description="IBANs whose statements are taken in; empty: the operator's alone")
    ] = []
    statement_bytes: Annotated[int, Field(ge=1_000, description="Largest statement file")] = 20_000_000
    creditor_id: Annotated[str, Field(description="SEPA creditor identifier; direct debits need it")] = ""
    return_fee: Annotated[str, Field(description="Charged when a direct debit comes back")] = "0.00"
    fee_days: Annotated[int, Field(ge=0, le=365, description="Days to pay that a reminder leaves")] = 7
    approve_own: Annotated[bool, Field(description="Whoever asks for a write-off may approve it too")] = False
    bad_debt_tax: Annotated[
        dict[str, BadDebtRule],
        Field(description="Country of the tax to what becomes of it with a write-off; adds to docs/receivables.md"),
    ] = {}
    bad_debt_series: Annotated[
        str, Field(pattern=r"^[A-Z0-9-]{1,16}$", description="Prefix of the numbers of notices of corrected tax")
    ] = "B"
    reminders_at: Annotated[
        str,
        Field(
            pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9])?$",
            description="Local time, such as 09:00, from which the worker reminds each day; empty: only by command",
        ),
    ] = ""
    reminder_days: Annotated[
        list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]],
        Field(description="Weekdays on which the worker reminds"),
    ] = ["mon", "tue", "wed", "thu", "fri"]
    reminders: Annotated[
        list[ReminderLevel], Field(description="Levels, each a [[receivables.reminders]]; none: nobody is reminded")
    ] = [
        ReminderLevel(days=3),
        ReminderLevel(days=14, fee="2.50"),
        ReminderLevel(days=14, fee="5.00"),
    ]

    @field_validator("return_fee")
    @classmethod
    def _fee(cls, value: str) -> str:
        return _not_below_zero(value)


class FinanceSettings(Section):
    """What the books hand over to the operator's accountants."""

    accounts: Annotated[
        dict[str, str],
        Field(
            description="Code of the chart of accounts by kind of ledger account; adds to the ones of docs/finance.md"
        ),
    ] = {}
    post_deferred: Annotated[
        bool, Field(description="Post revenue for a time to come to deferred revenue at each month's end")
    ] = True


class StoreSettings(Section):
    """Where everything is kept."""

    data: Annotated[
        Path, Field(description="Folder of database, keys and repository; relative to the working folder")
    ] = Path("var")
    url: Annotated[str, Field(description="Database URL; empty: tollgate.sqlite in the data folder")] = ""

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value:
            try:
                make_url(value)
            except ArgumentError:
                raise ValueError("not a database URL such as postgresql+psycopg://user@host/tollgate") from None
        return value


class Settings(BaseSettings):
    """All settings of one operator."""

    model_config = SettingsConfigDict(env_prefix="TOLLGATE_", env_nested_delimiter="__", extra="forbid")

    operator: OperatorSettings
    link: LinkSettings = LinkSettings()
    interrogation: InterrogationSettings = InterrogationSettings()
    negotiation: NegotiationSettings = NegotiationSettings()
    delivery: DeliverySettings = DeliverySettings()
    counting: CountingSettings = CountingSettings()
    snmp: SnmpSettings = SnmpSettings()
    web: WebSettings = WebSettings()
    invitations: InvitationSettings = InvitationSettings()
    outlet: OutletSettings = OutletSettings()
    sms: SmsSettings = SmsSettings()
    nodes: NodesSettings = NodesSettings()
    roaming: RoamingSettings = RoamingSettings()
    receivables: ReceivablesSettings = ReceivablesSettings()
    finance: FinanceSettings = FinanceSettings()
    store: StoreSettings = StoreSettings()
    clock: Annotated[
        str,
        Field(
            pattern=r"^(system|file:.+)$",
            description="'system', or 'file:PATH' for a simulated clock shared by processes",
        ),
    ] = "system"
    config_dir: Annotated[Path, Field(description="Where this configuration lies; set by the loader")] = Path("configs")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    def page_url(self) -> str:
        """How the addresses of the offers page begin."""
        if self.web.public_url:
            return self.web.public_url
        return f"{'https' if self.web.tls else 'http'}://{self.link.public_host}:{self.web.port}"

    def database_url(self) -> str:
        """The URL of the database."""
        return self.store.url or f"sqlite:///{self.store.data / 'tollgate.sqlite'}"

    def make_clock(self) -> Clock:
        """The clock of the business. Raises :class:`SettingsError` for a simulated one that is not there."""
        if self.clock == "system":
            return SystemClock()
        path = Path(self.clock.removeprefix("file:"))
        try:
            return SharedClock(path)
        except (OSError, ValueError) as error:
            raise SettingsError(f"clock: {path} holds no simulated clock: {error}") from None


def load_settings(config_dir: Path) -> Settings:
    """The settings in ``config_dir/operator.toml``. Raises :class:`SettingsError` naming file, key and reason."""
    path = config_dir / "operator.toml"
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such file; name the configuration folder with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    outlet = values.get("outlet")
    if isinstance(outlet, dict) and "password" in outlet:
        raise SettingsError(f"{path}: outlet.password: a file is no place for it; set TOLLGATE_OUTLET__PASSWORD")
    sms = values.get("sms")
    if isinstance(sms, dict) and "password" in sms:
        raise SettingsError(f"{path}: sms.password: a file is no place for it; set TOLLGATE_SMS__PASSWORD")
    nodes = values.get("nodes")
    if isinstance(nodes, dict) and "secret" in nodes:
        raise SettingsError(f"{path}: nodes.secret: a file is no place for it; set TOLLGATE_NODES__SECRET")
    try:
        return Settings(**values).model_copy(update={"config_dir": config_dir})
    except ValidationError as error:
        raise SettingsError("\n".join(_told(path, fault) for fault in error.errors())) from None
    except SourceError as error:
        raise SettingsError(f"{path} with the environment's TOLLGATE_ variables: {error}") from None


def _told(path: Path, fault: ErrorDetails) -> str:
    parts = [str(part) for part in fault["loc"]]
    variable = f"TOLLGATE_{'__'.join(parts).upper()}"
    place = f"environment: {variable}" if variable in os.environ else f"{path}: {'.'.join(parts)}"
    reason = fault["msg"].removeprefix("Value error, ")
    given = fault["input"]
    shown = f" = {given!r}" if isinstance(given, str | int | float | bool) else ""
    return f"{place}{shown}: {reason}"
