"""Other machines: devices that are polled, the short message centre, other operators."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from operator_server.settings.base import Section, is_loopback


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
        if self.host and not self.tls and not is_loopback(self.host):
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
        if not is_loopback(self.host) and not (self.tls and self.secret.get_secret_value()):
            raise ValueError(
                f"host is {self.host!r}: off the loopback tls = true and TOLLGATE_NODES__SECRET are needed; "
                "who attaches gets users' messages"
            )
        return self
