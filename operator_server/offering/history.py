"""What an offer was over time: its versions, who changed it, and the way back to one of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from offers.catalogue import Offer
from operator_server.audit import entries
from operator_server.offering.publishing import OfferFileError, UnknownOffer, publish_offer, source_of
from operator_server.offering.toml_text import toml_text
from operator_server.settings import Settings
from operator_server.store.dealings import OfferVersion
from operator_server.store.rows import table
from signalling.money import MICROS

MOST = 500
"""Changes that are looked through for the TOML of a version."""


@dataclass(frozen=True, slots=True)
class Version:
    """An offer as it once was. ``source``: the TOML as it was written, or made of what was kept."""

    id: str
    since: datetime
    source: str
    as_written: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to an offer. ``action``: publish, schedule, roll-back or withdraw; ``version``: what it made."""

    at: datetime
    actor: str
    action: str
    version: str


def versions(connection: Connection, offer: str, most: int = 100) -> list[Version]:
    """The versions of an offer that were ever loaded or published, newest first."""
    written = _written(connection, offer)
    rows = table(OfferVersion)
    found = connection.execute(
        select(rows)
        .where(rows.c.offer_id == offer)
        .order_by(rows.c.first_loaded_at.desc(), rows.c.id.desc())
        .limit(most)
    )
    return [
        Version(row.id, row.first_loaded_at, written.get(row.id) or source_of_content(row.content), row.id in written)
        for row in found
    ]


def changes(connection: Connection, offer: str, most: int = 100) -> list[Change]:
    """What was done to an offer by console, API and commands, newest first; files changed by hand are not in it."""
    return [
        Change(entry.at, entry.actor, entry.action.partition(".")[2].replace("_", "-"),
               str((entry.after or {}).get("version", "")))
        for entry in entries(connection, reference=f"offer/{offer}", most=most)
    ]  # fmt: skip


def roll_back_offer(
    connection: Connection,
    settings: Settings,
    offer: str,
    version: str,
    now: datetime,
    *,
    actor: str,
) -> Offer:
    """Put a version of an offer live again, also after it was withdrawn. Raises ``OfferFileError``.

    What it needs must still be there: a tariff that is gone makes it a fault that names the key.
    """
    found = next((each for each in versions(connection, offer, MOST) if each.id == version), None)
    if found is None:
        raise UnknownOffer(f"offer {offer}: has no version {version!r}; `tollgate offer history {offer}` lists them")
    if source_of(settings, offer) == found.source:
        raise OfferFileError(f"offer {offer}: is at {version} already")
    return publish_offer(connection, settings, found.source, now, actor=actor, action="offer.roll_back")


def _written(connection: Connection, offer: str) -> dict[str, str]:
    """Version to the TOML that made it, as far as the audit trail has it."""
    found: dict[str, str] = {}
    for entry in entries(connection, reference=f"offer/{offer}", most=MOST):
        after = entry.after or {}
        if after.get("version") and after.get("toml"):
            found.setdefault(str(after["version"]), str(after["toml"]))
    return found


def source_of_content(content: dict[str, Any]) -> str:
    """The TOML of an offer's kept content; it makes the same offer."""
    modes = [_mode(mode) for mode in content["mode"]]
    document: dict[str, Any] = {key: value for key, value in content.items() if key not in ("mode", "prices")}
    document["valid"] = {
        key: datetime.fromisoformat(at) for key, at in (document.get("valid") or {}).items() if at is not None
    }
    rejection = dict(document.get("rejection") or {})
    if str(rejection.get("until", ""))[4:5] == "-":
        rejection["until"] = datetime.fromisoformat(rejection["until"]).date()
    document["rejection"] = rejection
    return toml_text({**_pruned(document), "mode": modes})


def _pruned(table: dict[str, Any]) -> dict[str, Any]:
    """Without what says nothing."""
    kept = {key: _pruned(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in kept.items() if value not in ({}, [], None, "")}


_MODE_KEYS = (
    "id", "kind", "label", "amount", "currency", "tax_category", "tariff", "groups", "spending_limit_min", "terms",
    "payment", "period", "charged", "pro_rata", "minimum_periods", "notice", "trial", "trial_warning", "price_change",
)  # fmt: skip
_USUAL = {"payment": "postpaid", "notice": "0d", "trial": "0d", "trial_warning": "0d", "price_change": "fixed"}


def _mode(mode: dict[str, Any]) -> dict[str, Any]:
    """A mode as it is written: what follows from the rest, or is as usual, is left out."""
    kept = {key: mode[key] for key in _MODE_KEYS if mode.get(key) not in (None, "", [], {}, False, 0)}
    kept = {key: value for key, value in kept.items() if _USUAL.get(key) != value}
    for key in kept.keys() & {"amount", "spending_limit_min"}:
        kept[key] = _amount(int(kept[key]))
    if kept.get("tariff"):
        # These are the tariff's.
        kept.pop("currency", None)
        kept.pop("tax_category", None)
    return kept


def _amount(micros: int) -> str:
    whole, part = divmod(micros, MICROS)
    return f"{whole}.{part:06}".rstrip("0").rstrip(".")
