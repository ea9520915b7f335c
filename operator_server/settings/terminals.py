"""Terminals: their links, interrogation, negotiation, delivery, counting."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from operator_server.settings.base import Section, is_loopback


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
        if not self.tls and not is_loopback(self.host):
            raise ValueError(f"tls = false: only on the loopback, but host is {self.host!r}; a logon could be relayed")
        return self


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
