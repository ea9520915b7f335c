"""All settings of an operator, read from its folder and the environment."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from operator_server.settings.base import SettingsError
from operator_server.settings.money import FinanceSettings, ReceivablesSettings
from operator_server.settings.network import NodesSettings, RoamingSettings, SmsSettings, SnmpSettings
from operator_server.settings.operator import OperatorSettings, StoreSettings
from operator_server.settings.terminals import (
    CountingSettings,
    DeliverySettings,
    InterrogationSettings,
    LinkSettings,
    NegotiationSettings,
)
from operator_server.settings.web import InvitationSettings, OutletSettings, WebSettings
from signalling.clock import Clock, SharedClock, SystemClock


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
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such file; name the configuration folder with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
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
        settings = Settings(**values).model_copy(update={"config_dir": config_dir})
    except ValidationError as error:
        raise SettingsError("\n".join(_told(path, fault) for fault in error.errors())) from None
    except SourceError as error:
        raise SettingsError(f"{path} with the environment's TOLLGATE_ variables: {error}") from None
    _check_series(path, settings)
    return settings


def _check_series(path: Path, settings: Settings) -> None:
    """Raises :class:`SettingsError` where two kinds of documents would get the same numbers."""
    owners = {settings.operator.invoice_series: "operator.invoice_series"}
    for key in ("credit_note_series", "fee_series", "bad_debt_series"):
        prefix = getattr(settings.receivables, key)
        if prefix in owners:
            raise SettingsError(
                f"{path}: receivables.{key} = {prefix!r}: {owners[prefix]} is the same, so two documents would have one"
                " number; choose another prefix"
            )
        owners[prefix] = f"receivables.{key}"


def _told(path: Path, fault: ErrorDetails) -> str:
    parts = [str(part) for part in fault["loc"]]
    variable = f"TOLLGATE_{'__'.join(parts).upper()}"
    place = f"environment: {variable}" if variable in os.environ else f"{path}: {'.'.join(parts)}"
    reason = fault["msg"].removeprefix("Value error, ")
    given = fault["input"]
    shown = f" = {given!r}" if isinstance(given, str | int | float | bool) else ""
    return f"{place}{shown}: {reason}"
