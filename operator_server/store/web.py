"""What the processes of the web role share: long work and how far it is, and how often somebody tried to log on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, text
from sqlmodel import Field, SQLModel

from charging.columns import Identifier, Instant, Json


class WebJob(SQLModel, table=True):
    """A piece of long work, from its start until some weeks after its end.

    ``slot``: what it takes while it runs; one running job holds it. ``given``: what the work is made of, so that
    another process can go on with it. ``name``: given by the page that watches it. ``holder``: the process that works
    on it, which says so again and again; after ``lease_until`` another may take it over. ``state``: running, done,
    failed or stopped.
    """

    __tablename__ = "web_job"
    id: str = Field(primary_key=True, sa_type=Identifier)
    kind: str = Field(max_length=16)
    slot: str = Field(max_length=24)
    what: str
    about: str = Field(sa_type=Identifier)
    name: str = Field(default="", max_length=130)
    by: str = Field(max_length=160)
    given: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    state: str = Field(max_length=16)
    done: int = 0
    of: int = 0
    reason: str = ""
    result: bytes | None = None
    holder: str = Field(sa_type=Identifier)
    tries: int = 1
    started_at: datetime = Field(sa_type=Instant)
    lease_until: datetime = Field(sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)


class LogonPace(SQLModel, table=True):
    """Tries to log on from an address, or under a name (``key``: a digest of which). ``free_at``: when none counts."""

    __tablename__ = "logon_pace"
    key: str = Field(primary_key=True, sa_type=Identifier)
    free_at: datetime = Field(index=True, sa_type=Instant)


_job = WebJob.__table__.c  # type: ignore[attr-defined]  # set by SQLModel's metaclass
_running = text("state = 'running'")
Index("web_job_slot", _job.slot, unique=True, sqlite_where=_running, postgresql_where=_running)
Index("web_job_name", _job.name, _job.kind)
Index("web_job_about", _job.about, _job.kind, _job.id)
