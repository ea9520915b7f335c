"""Live offers for a process that is no link: loaded at the start, and taken over when files or releases change."""

from __future__ import annotations

from pathlib import Path

from twisted.logger import Logger

from operator_server.context import Operator
from operator_server.offering.live import LiveOffers, read_configurations, read_supply, supply_stamp
from operator_server.offering.loading import BrokenCatalogue, Loaded, keep_versions, load
from operator_server.store.store import transact

log = Logger()


class WatchedOffers:
    """The offers in force. Making one raises :class:`operator_server.offering.loading.BrokenCatalogue`."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        now = operator.clock.now()
        loaded = load(operator.settings)
        transact(operator.engine, lambda connection: keep_versions(connection, loaded, now))
        with operator.engine.connect() as connection:
            supply = read_supply(connection, now)
        self._files = _stamp(operator.settings.config_dir)
        self.live = LiveOffers(loaded, supply, operator.clock)

    def refresh(self) -> None:
        """Take over what has changed. Blocks; runs on another thread than the look-ups."""
        operator, now = self._operator, self._operator.clock.now()
        files = _stamp(operator.settings.config_dir)
        with operator.engine.connect() as connection:
            stamp = supply_stamp(connection, now)
            if files == self._files and stamp == self.live.supply.stamp:
                return
            loaded = self._loaded(changed=files != self._files)
            self.live.take_over(loaded, read_supply(connection, now), read_configurations(connection))
        if files != self._files:
            transact(operator.engine, lambda connection: keep_versions(connection, loaded, now))
            self._files = files

    def _loaded(self, *, changed: bool) -> Loaded:
        if changed:
            try:
                return load(self._operator.settings)
            except BrokenCatalogue as broken:
                for problem in broken.problems:
                    log.error("{problem}", problem=str(problem))
                log.error("the offers in force stay; mend the faults above")
        return Loaded(self.live.tariffs, self.live.memory.catalogue)


def _stamp(config_dir: Path) -> object:
    return tuple(
        (str(path), status.st_mtime_ns, status.st_size)
        for folder in ("offers", "tariffs")
        for path in sorted((config_dir / folder).glob("*.toml"))
        for status in (path.stat(),)
    )
