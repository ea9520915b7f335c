"""Live offers that follow the configuration folder and the published releases while a server runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from sqlalchemy import Connection
from twisted.logger import Logger

from operator_server.context import Operator
from operator_server.offering.live import LiveOffers, Supply, read_configurations, read_supply, supply_stamp
from operator_server.offering.loading import BrokenCatalogue, Loaded, keep_versions, load
from operator_server.store.store import transact
from signalling.configuration import Configuration

log = Logger()

ReadConfigurations = Callable[[Connection], Iterable[tuple[bytes, Configuration]]]

REFRESH_SECONDS = 1.0
"""Between looks at files and releases."""


class FreshOffers:
    """The offers in force, kept up to date by :meth:`take_over_changes`, which any thread may call, one at a time.

    ``configurations`` reads those that the offers must know after a change. Raises
    :class:`operator_server.offering.loading.BrokenCatalogue` where the folder has a fault at the start; later a folder
    with a fault is told and changes nothing.
    """

    def __init__(self, operator: Operator, configurations: ReadConfigurations = read_configurations) -> None:
        self._operator = operator
        self._configurations = configurations
        self._files = folder_stamp(operator.settings.config_dir)
        loaded, now = load(operator.settings), operator.clock.now()
        transact(operator.engine, lambda connection: keep_versions(connection, loaded, now))
        with operator.engine.connect() as connection:
            supply = read_supply(connection, now)
        self.live = LiveOffers(loaded, supply, operator.clock)

    def take_over_changes(self) -> None:
        """Put changed files and releases in force."""
        now, settings = self._operator.clock.now(), self._operator.settings
        files = folder_stamp(settings.config_dir)
        with self._operator.engine.connect() as connection:
            stamp = supply_stamp(connection, now)
            if files == self._files and stamp == self.live.supply.stamp:
                return
            supply: Supply = read_supply(connection, now)
            loaded = self._loaded() if files == self._files else self._load_changed(files)
            self.live.take_over(loaded, supply, self._configurations(connection))
        if files != self._files:
            transact(self._operator.engine, lambda connection: keep_versions(connection, loaded, now))
            self._files = files

    def _loaded(self) -> Loaded:
        return Loaded(self.live.tariffs, self.live.memory.catalogue)

    def _load_changed(self, files: object) -> Loaded:
        try:
            loaded = load(self._operator.settings)
        except BrokenCatalogue as broken:
            for problem in broken.problems:
                log.error("{problem}", problem=str(problem))
            log.error("the offers in force stay; mend the faults above")
            self._files = files
            return self._loaded()
        log.info("offers and tariffs are taken over: {count} offers", count=len(loaded.catalogue))
        return loaded


def folder_stamp(config_dir: Path) -> object:
    """Changes whenever a file of offers or tariffs does."""
    return tuple(
        (str(path), status.st_mtime_ns, status.st_size)
        for folder in ("offers", "tariffs")
        for path in sorted((config_dir / folder).glob("*.toml"))
        for status in (path.stat(),)
    )
