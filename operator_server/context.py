"""An operator opened for work: settings, clock, database, keys, vault and repository of one configuration folder."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine

from operator_server.delivery.repository import Repository, RepositorySettings
from operator_server.delivery.vault import KeyVault
from operator_server.keys import OperatorKeys, load_or_create_keys
from operator_server.settings import Settings, load_settings
from operator_server.store.engine import open_engine
from operator_server.store.migrate import upgrade
from signalling.clock import Clock


@dataclass(frozen=True)
class Operator:
    """What the roles and the command line stand on. Keys, repository and database are made when first needed."""

    settings: Settings
    clock: Clock

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.settings.store.data

    @cached_property
    def engine(self) -> Engine:
        """The database, brought to the newest schema."""
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        upgrade(self.settings.database_url())
        return open_engine(self.settings.database_url())

    @cached_property
    def keys(self) -> OperatorKeys:
        """The operator's own keys."""
        hosts = [self.settings.link.public_host, self.settings.link.host, self.settings.web.host]
        return load_or_create_keys(self.data / "keys", self.settings.operator.server_id, hosts, self.clock.now())

    @cached_property
    def vault(self) -> KeyVault:
        """The vault of content keys."""
        self.keys  # noqa: B018 - makes the folder of mode 0700
        return KeyVault(self.data / "keys" / "content_kek.bin")

    @property
    def repository_dir(self) -> Path:
        """What the web role, or any static server, serves."""
        return self.data / "repository"

    @cached_property
    def repository(self) -> Repository:
        """The signed repository."""
        settings = self.settings.delivery
        self.keys  # noqa: B018 - makes the folder of mode 0700
        return Repository.open_or_create(
            self.repository_dir / "metadata",
            self.repository_dir / "targets",
            self.data / "keys" / "repository",
            self.clock.now(),
            RepositorySettings(bins=settings.hash_bins, timestamp_expires=timedelta(days=settings.timestamp_days)),
        )

    def repository_urls(self) -> list[str]:
        """Where terminals find the repository."""
        if self.settings.delivery.public_urls:
            return self.settings.delivery.public_urls
        scheme = "https" if self.settings.web.tls else "http"
        return [f"{scheme}://{self.settings.link.public_host}:{self.settings.web.port}/repository"]

    def bundle(self) -> bytes:
        """The enrolment bundle: all that a terminal must trust beforehand, as JSON. It holds no secret."""
        link = self.settings.link
        return json.dumps(
            {
                "server": self.settings.operator.server_id,
                "server_public_key": base64.b64encode(self.keys.public_key()).decode(),
                "host": link.public_host,
                "port": link.port,
                "tls": link.tls,
                "ca_pem": self.keys.authority.read_text(),
                "repository_urls": self.repository_urls(),
                "tuf_root": self.repository.root_bytes().decode(),
            },
            indent=2,
        ).encode()


def open_operator(config_dir: Path) -> Operator:
    """Open the operator of a configuration folder. Raises :class:`operator_server.settings.SettingsError`."""
    settings = load_settings(config_dir)
    return Operator(settings, settings.make_clock())
