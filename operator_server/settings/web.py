"""Pages, and messages to those who read them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from operator_server.settings.base import Section, is_loopback


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
        if self.kind == "smtp" and self.security == "none" and not is_loopback(self.host):
            raise ValueError(
                f"security = none: only to the loopback, but host is {self.host!r}; links would be readable"
            )
        return self
