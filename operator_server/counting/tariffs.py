"""Tariff versions by id, from the operator's files or, when those have moved on, as the store keeps them."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, select

from charging.tariffs import TariffBook, TariffError, TariffVersion, restore_version
from operator_server.store.dealings import TariffVersionRow
from operator_server.store.rows import table


class TariffVersions:
    """Finds what an agreement's use is rated by. ``book`` answers with the tariffs that are loaded now."""

    def __init__(self, book: Callable[[], TariffBook]) -> None:
        self._book = book
        self._restored: dict[str, TariffVersion] = {}

    def find(self, connection: Connection, version_id: str) -> TariffVersion:
        """The version of that id. Raises :class:`TariffError` when neither files nor store have it."""
        if (restored := self._restored.get(version_id)) is not None:
            return restored
        try:
            return self._book().version(version_id)
        except TariffError:
            kept = table(TariffVersionRow)
            row = connection.execute(select(kept).where(kept.c.id == version_id)).first()
            if row is None:
                raise
            self._restored[version_id] = restored = restore_version(row.tariff_id, row.content)
            return restored
