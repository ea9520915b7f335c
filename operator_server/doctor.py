"""What ``tollgate doctor`` looks at. Nothing is changed: no key is made, no database brought to a newer schema."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError
from tuf.api.exceptions import RepositoryError

from charging.billing.tax import TaxError, load_taxes
from operator_server.balances.mails import check_balance_templates
from operator_server.billing.dispatch import check_invoice_templates
from operator_server.delivery.expiry import role_expiries
from operator_server.delivery.vault import KeyVault, VaultError
from operator_server.devices.messages import check_templates
from operator_server.keys import HISTORY, SIGNING
from operator_server.offering.loading import BrokenCatalogue, load
from operator_server.receivables.letters import check_reminder_templates
from operator_server.sealed import sealed_values
from operator_server.settings import Settings, SettingsError, load_settings
from operator_server.store import migrate
from operator_server.store.accounting import BillRun
from operator_server.store.configurations import InterrogationOrder
from operator_server.store.dealings import Delivery
from operator_server.store.engine import open_engine
from operator_server.store.invitations import OutgoingMessage
from operator_server.store.parties import Event
from operator_server.store.rows import table

Level = Literal["good", "warning", "bad"]

LARGE_WAL = 512 << 20
LITTLE_SPACE, NO_SPACE = 2 << 30, 200 << 20
SOON = timedelta(days=30)
SNAPSHOT_SOON = timedelta(days=4)
"""Each is renewed at half of its time; later than this it should have been."""
STUCK = timedelta(minutes=10)
LONG_RUN = timedelta(hours=2)
AHEAD = timedelta(minutes=1)
RECENT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in an area; ``mend`` says what to do where it is not good."""

    area: str
    level: Level
    text: str
    mend: str = ""


def examine(config_dir: Path) -> list[Finding]:
    """Look at everything; one area's fault does not hide another's."""
    try:
        settings = load_settings(config_dir)
        now = settings.make_clock().now()
    except SettingsError as no:
        return [Finding("configuration", "bad", str(no), "correct the file; docs/configuration.md has every setting")]
    return [
        finding
        for look in (_configuration, _database, _keys, _repository, _disk, _clock)
        for finding in look(settings, now)
    ]


def _configuration(settings: Settings, now: datetime) -> Iterator[Finding]:
    try:
        loaded = load(settings)
        check_templates(settings)
        check_reminder_templates(settings)
        check_balance_templates(settings)
        check_invoice_templates(settings)
        load_taxes(settings.config_dir / "tax.toml")
    except (BrokenCatalogue, SettingsError, TaxError) as no:
        yield Finding("configuration", "bad", str(no), "correct the file; `tollgate check` looks again")
        return
    count = len(loaded.catalogue.offers)
    yield Finding("configuration", "good", f"settings and {count} offer(s) of {settings.config_dir} are read")


def _database(settings: Settings, now: datetime) -> Iterator[Finding]:
    url = settings.database_url()
    path = Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
    if path is not None and not path.is_file():
        yield Finding("database", "warning", f"{path} is not there yet", "start the operator: tollgate serve")
        return
    engine = open_engine(url)
    try:
        revision, needed = migrate.current(url), migrate.newest()
        if revision != needed:
            told = f"its schema is {revision or 'empty'}, this version needs {needed}"
            mend = "make a back-up, then: tollgate db upgrade"
            if revision is None:
                mend = "restore the last back-up; see docs/run-book.md"
            yield Finding("database", "bad", told, mend)
            return
        yield Finding("database", "good", f"its schema is {revision}")
        with engine.connect() as connection:
            if path is not None:
                yield from _sqlite(connection, path)
            yield from _sealed(connection, settings.store.data / "keys" / "content_kek.bin")
            yield from _work(connection, now)
    except SQLAlchemyError as no:
        said = str(getattr(no, "orig", None) or no).strip().splitlines()[0]
        mend = "see that its server runs and store.url is right"
        if path is not None:
            mend = "stop the operator and restore the last back-up"
        yield Finding("database", "bad", f"cannot be read: {said}", f"{mend}; see docs/run-book.md")
    finally:
        engine.dispose()


def _sqlite(connection: Connection, path: Path) -> Iterator[Finding]:
    said = connection.exec_driver_sql("PRAGMA quick_check(5)").scalars().all()
    if said == ["ok"]:
        yield Finding("database", "good", "its pages are sound")
    else:
        yield Finding("database", "bad", f"damaged: {said[0]}", "stop the operator and restore the last back-up")
    wal = path.with_name(path.name + "-wal")
    size = wal.stat().st_size if wal.exists() else 0
    if size > LARGE_WAL:
        yield Finding("database", "warning", f"the write-ahead log has {size >> 20} MiB",
                      "look for a program that keeps a transaction open; restart the operator")  # fmt: skip


def _sealed(connection: Connection, key_file: Path) -> Iterator[Finding]:
    """Whether what is sealed in the database opens with the keys that are there."""
    needed = {id for counts in sealed_values(connection).values() for id in counts}
    if not needed:
        return
    if not key_file.exists():
        yield Finding("keys", "bad", f"{key_file} is gone; packages, cards and credentials in the database need it",
                      "restore it from the back-up before a server starts, which would make another")  # fmt: skip
        return
    try:
        vault = KeyVault(key_file)
    except VaultError as no:
        yield Finding("keys", "bad", str(no), "restore the file from the back-up, mode 0600")
        return
    missing = ", ".join(sorted(needed - {vault.key_id, *vault.former()}))
    if missing:
        told = f"values in the database are sealed under key {missing}, which is not here"
        mend = "restore content_kek.bin of this database; see docs/run-book.md, The content key"
        yield Finding("keys", "bad", told, mend)
    elif needed != {vault.key_id}:
        told = "the replacement of the content key was cut short"
        yield Finding("keys", "warning", told, "tollgate key rotate content")
    else:
        yield Finding("keys", "good", "what is sealed in the database opens")


def _work(connection: Connection, now: datetime) -> Iterator[Finding]:
    """What waits, sticks or fails."""
    run, message, order = table(BillRun), table(OutgoingMessage), table(InterrogationOrder)
    delivery, event = table(Delivery), table(Event)

    def count(of: Any, *where: Any) -> int:
        return int(connection.execute(select(func.count()).select_from(of).where(*where)).scalar_one())

    looks: list[tuple[str, int, str, str]] = [
        ("jobs", count(run, run.c.state == "running", run.c.started_at < now - LONG_RUN),
         "bill run(s) began more than two hours ago and have not ended", "start them again: tollgate bill run PERIOD"),
        ("deliveries", count(delivery, delivery.c.state == "granted", delivery.c.expires_at < now),
         "delivery grant(s) ended before the terminal took them", "see tollgate terminal show, and ask the user"),
        ("deliveries", count(delivery, delivery.c.state == "failed", delivery.c.finished_at > now - RECENT),
         "delivery(ies) failed within a week", "tollgate agreement list tells which; the reason is on the terminal"),
        ("outbox", count(message, message.c.state == "waiting", message.c.due_at < now - STUCK),
         "message(s) are due and not sent", "start the role worker: tollgate serve --role worker"),
        ("outbox", count(message, message.c.state == "failed", message.c.created_at > now - RECENT),
         "message(s) to users failed within a week", "tollgate device list --failing; look at the mail settings"),
        ("feed", count(event, event.c.place.is_(None), event.c.at < now - STUCK),
         "event(s) have no place in the feed yet", "start the role worker: tollgate serve --role worker"),
        ("orders", count(order, order.c.state == "open", order.c.ordered_at < now - STUCK),
         "order(s) to interrogate were taken by no link", "start the role link: tollgate serve --role link"),
    ]  # fmt: skip
    for area, found, text, mend in looks:
        if found:
            yield Finding(area, "warning", f"{found} {text}", mend)
    if not any(found for _, found, _, _ in looks):
        yield Finding("work", "good", "nothing waits, sticks or fails")
    newest = connection.execute(select(func.max(event.c.at))).scalar()
    if newest is not None and newest > now + AHEAD:
        yield Finding("clock", "bad", f"the newest event is of {newest:%Y-%m-%d %H:%M:%S} UTC, ahead of the clock",
                      "set the clock right before anything is charged; see docs/operator.md, Time")  # fmt: skip


def _keys(settings: Settings, now: datetime) -> Iterator[Finding]:
    folder = settings.store.data / "keys"
    if not folder.is_dir():
        yield Finding("keys", "warning", f"{folder} is not there yet", "start the operator: tollgate serve")
        return
    open_ones = [path for path in sorted(folder.rglob("*")) if _is_private(path) and _others_may(path)]
    for path in open_ones:
        yield Finding("keys", "bad", f"{path} can be read by others", f"chmod 600 {path}; then think of a new key")
    if not open_ones:
        yield Finding("keys", "good", "nobody else can read them")
    yield from _missing_keys(folder)
    for path in sorted([*folder.glob("tls_*.pem"), *folder.glob("roaming.pem")]):
        try:
            ends = min(each.not_valid_after_utc for each in x509.load_pem_x509_certificates(path.read_bytes()))
        except ValueError as no:
            yield Finding("certificates", "bad", f"{path}: cannot be read: {no}", "restore it from the back-up")
            continue
        mend = "restart the operator, which makes its own anew; put a bought one in its place"
        if path.name == "roaming.pem":
            mend = "tollgate visited introduction --new-key --out FILE, and give the file to every partner"
        yield _until("certificates", path.name, ends, now, SOON, mend)


def _missing_keys(folder: Path) -> Iterator[Finding]:
    """Files that a start would replace by others, or that the worker needs day by day."""
    if (folder / HISTORY).exists() and not (folder / SIGNING).exists():
        yield Finding("keys", "bad", f"{folder / SIGNING} is gone; a start makes another, which no terminal trusts",
                      "restore it from the back-up before a server starts")  # fmt: skip
    if (folder / "tls_server.pem").exists() and not (folder / "tls_authority.pem").exists():
        yield Finding("certificates", "bad", f"{folder / 'tls_authority.pem'} is gone; terminals trust it",
                      "restore it from the back-up")  # fmt: skip
    signers = folder / "repository"
    for role in ("timestamp", "snapshot", "bins"):
        if signers.is_dir() and not (signers / f"{role}.pem").exists():
            yield Finding("repository", "bad", f"{signers / role}.pem is gone; the worker signs with it every few days",
                          f"restore it from the back-up, or: tollgate release rotate-key {role}")  # fmt: skip


def _is_private(path: Path) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return False
    if path.name == HISTORY:
        return False
    if path.suffix == ".pem" and path.name.startswith("tls_"):
        return False
    return b"BEGIN PUBLIC" not in path.read_bytes()


def _others_may(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _repository(settings: Settings, now: datetime) -> Iterator[Finding]:
    folder = settings.store.data / "repository" / "metadata"
    try:
        roles = role_expiries(folder)
    except FileNotFoundError as no:
        if (settings.store.data / "keys" / "repository").is_dir():
            yield Finding("repository", "bad", f"{no.filename or folder} is gone", "restore it from the back-up")
        else:
            yield Finding("repository", "warning", "nothing is published yet", "tollgate publish adds a package")
        return
    except (OSError, ValueError, RepositoryError) as no:
        yield Finding("repository", "bad", f"its metadata cannot be read: {no}", "restore it from the back-up")
        return
    for each in roles:
        soon = {"timestamp": timedelta(days=settings.delivery.timestamp_days) / 4, "snapshot": SNAPSHOT_SOON}.get(
            each.role, SOON
        )
        mend = "start the role worker, which signs it anew in time: tollgate serve --role worker"
        if not (settings.store.data / "keys" / "repository" / f"{each.role}.pem").exists():
            mend = f"put {each.role}.pem back into keys/repository, then {mend}"
        yield _until("repository", each.role, each.expires, now, soon, mend)


def _until(area: str, what: str, ends: datetime, now: datetime, soon: timedelta, mend: str) -> Finding:
    ends = ends.replace(tzinfo=UTC) if ends.tzinfo is None else ends
    if ends <= now:
        return Finding(area, "bad", f"{what} ended at {ends:%Y-%m-%d %H:%M} UTC", mend)
    level: Level = "warning" if ends - now < soon else "good"
    return Finding(area, level, f"{what} holds until {ends:%Y-%m-%d %H:%M} UTC", mend if level == "warning" else "")


def _disk(settings: Settings, now: datetime) -> Iterator[Finding]:
    folder = settings.store.data
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("disk", "bad", f"{folder} cannot be written by this user", "run it as the operator's own user")
    free = shutil.disk_usage(folder).free
    level: Level = "bad" if free < NO_SPACE else "warning" if free < LITTLE_SPACE else "good"
    mend = "" if level == "good" else "make room, or move the data folder; nothing is charged on a full disk"
    yield Finding("disk", level, f"{free / (1 << 30):.1f} GiB are free for {settings.store.data}", mend)


def _clock(
    settings: Settings, now: datetime, wall: Callable[[], float] = time.time, even: Callable[[], float] = time.monotonic
) -> Iterator[Finding]:
    begun, steady = wall(), even()
    time.sleep(0.05)
    drift = abs((wall() - begun) - (even() - steady))
    zone = settings.operator.zone
    if drift > 0.02:
        yield Finding("clock", "warning", f"it jumped by {drift:.2f} s while it was looked at",
                      "let NTP slew it (chrony, systemd-timesyncd), not step it")  # fmt: skip
    simulated = "" if settings.clock == "system" else " (a simulated clock)"
    yield Finding("clock", "good", f"{now:%Y-%m-%d %H:%M:%S} UTC{simulated}; days are of {zone}")
