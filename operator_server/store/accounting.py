"""What was counted, charged and billed. The ledger's own tables are in :mod:`charging.ledger.tables`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from charging.columns import Digest, Identifier, Instant, Json, Micros


class CounterReportRow(SQLModel, table=True):
    """A counter report exactly as received, with what became of it."""

    __tablename__ = "counter_report"
    __table_args__ = (
        UniqueConstraint("installation_id", "counter", "digest", name="counter_report_once"),
        Index("counter_report_sequence", "installation_id", "counter", "sequence"),
    )
    id: str = Field(primary_key=True, sa_type=Identifier)
    installation_id: str = Field(sa_type=Identifier)
    counter: str = Field(sa_type=Identifier)
    epoch: int
    sequence: int
    value: int = Field(sa_type=Micros)
    document: bytes
    signature: bytes
    digest: bytes = Field(sa_type=Digest)
    status: str
    reason: str = ""
    received_at: datetime = Field(sa_type=Instant)


class CounterState(SQLModel, table=True):
    """What is known of an installation's counter: the highest report and what of each epoch was charged.

    ``charged``: epoch (as text) to the ascending, disjoint ranges of values that are charged.
    """

    __tablename__ = "counter_state"
    installation_id: str = Field(primary_key=True, sa_type=Identifier)
    counter: str = Field(primary_key=True, sa_type=Identifier)
    epoch: int
    sequence: int
    value: int = Field(sa_type=Micros)
    digest: bytes = Field(sa_type=Digest)
    reported_at: datetime = Field(sa_type=Instant)
    state: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))


class CounterGap(SQLModel, table=True):
    """Reports that are missing: shown, never estimated. Closed when they arrive late."""

    __tablename__ = "counter_gap"
    id: str = Field(primary_key=True, sa_type=Identifier)
    installation_id: str = Field(index=True, sa_type=Identifier)
    counter: str = Field(sa_type=Identifier)
    first_sequence: int
    last_sequence: int
    noticed_at: datetime = Field(sa_type=Instant)
    closed_at: datetime | None = Field(default=None, sa_type=Instant)


class RatingStateRow(SQLModel, table=True):
    """The rating state carried within an agreement and a period, so that pieces cost what the whole would.

    ``spent``: micros net charged for use in the period. Where a tariff counts over the life of the agreement, the
    state stands in a row of its own, whose period is ``agreement``.
    """

    __tablename__ = "rating_state"
    agreement_id: str = Field(primary_key=True, sa_type=Identifier)
    period: str = Field(primary_key=True, max_length=16)
    state: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    spent: int = Field(default=0, sa_type=Micros)


class UsageGrantRow(SQLModel, table=True):
    """Use granted ahead to an installation's counter, and the reservation behind it. ``state``: open or replaced.

    ``cost``: micros net that the granted use costs at most.
    """

    __tablename__ = "usage_grant"
    __table_args__ = (Index("usage_grant_counter", "installation_id", "counter"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    installation_id: str = Field(sa_type=Identifier)
    counter: str = Field(sa_type=Identifier)
    epoch: int
    ceiling: int = Field(sa_type=Micros)
    document: bytes
    signature: bytes
    issued_at: datetime = Field(sa_type=Instant)
    valid_until: datetime = Field(sa_type=Instant)
    report_by: datetime = Field(sa_type=Instant)
    reservation_id: str | None = Field(default=None, sa_type=Identifier)
    state: str = "open"
    cost: int = Field(default=0, sa_type=Micros, sa_column_kwargs={"server_default": "0"})


class Charge(SQLModel, table=True):
    """One thing charged: a delivery, a stretch of a counter, or the reversal of one. ``net`` in micros.

    ``period``: the month of use in the operator's zone; ``transfer_id``: its ledger transfer; ``invoice_id``: the
    invoice that billed it. ``counter_from`` is exclusive, ``counter_to`` inclusive. ``included``: units of ``quantity``
    that the agreement contains without a further charge.

    ``pays``: ``unbilled`` for what the next invoice bills; ``prepaid`` for what was taken from money paid ahead, with
    ``paid_tax`` micros of tax, and is on no invoice; ``none`` for what is rated and never charged, which has no
    transfer. ``service_from`` and ``service_to`` (exclusive): the time that a charge for a period is for.
    """

    __tablename__ = "charge"
    __table_args__ = (Index("charge_unbilled", "account_id", "invoice_id", "effective_at"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    kind: str
    agreement_id: str = Field(index=True, sa_type=Identifier)
    account_id: str = Field(sa_type=Identifier)
    subscriber_id: str = Field(sa_type=Identifier)
    installation_id: str | None = Field(default=None, sa_type=Identifier)
    counter: str = ""
    epoch: int = 0
    counter_from: int = Field(default=0, sa_type=Micros)
    counter_to: int = Field(default=0, sa_type=Micros)
    quantity: int = Field(default=1, sa_type=Micros)
    included: int = Field(default=0, sa_type=Micros)
    period: str = Field(max_length=16)
    effective_at: datetime = Field(sa_type=Instant)
    recorded_at: datetime = Field(sa_type=Instant)
    net: int = Field(sa_type=Micros)
    currency: str = Field(max_length=3)
    tax_category: str
    tax_rate: int
    tariff_version: str = ""
    transfer_id: str = Field(sa_type=Identifier)
    reverses_id: str | None = Field(default=None, sa_type=Identifier)
    invoice_id: str | None = Field(default=None, index=True, sa_type=Identifier)
    invoice_line: int | None = None
    pays: str = Field(default="unbilled", max_length=16, sa_column_kwargs={"server_default": "unbilled"})
    paid_tax: int = Field(default=0, sa_type=Micros, sa_column_kwargs={"server_default": "0"})
    service_from: datetime | None = Field(default=None, sa_type=Instant)
    service_to: datetime | None = Field(default=None, sa_type=Instant)


class BillRun(SQLModel, table=True):
    """A bill run over one period; ``until_at`` is exclusive. ``state``: running, drafted, approved or done.

    ``scope``: ``all`` accounts, or those whose cycle is ``due`` at ``until_at``. ``approved_by``: who approved the
    drafts, whose figures ``approved_digest`` stands for.
    """

    __tablename__ = "bill_run"
    id: str = Field(primary_key=True, sa_type=Identifier)
    period: str = Field(max_length=16, index=True)
    until_at: datetime = Field(sa_type=Instant)
    started_at: datetime = Field(sa_type=Instant)
    finished_at: datetime | None = Field(default=None, sa_type=Instant)
    state: str = "running"
    invoices: int = 0
    scope: str = Field(default="all", max_length=16, sa_column_kwargs={"server_default": "all"})
    approved_by: str = Field(default="", sa_column_kwargs={"server_default": ""})
    approved_at: datetime | None = Field(default=None, sa_type=Instant)
    approved_digest: bytes | None = Field(default=None, sa_type=Digest)


class InvoiceRow(SQLModel, table=True):
    """A final invoice; ``document`` is the whole of it as :class:`charging.invoices.model.Invoice` encodes it.

    ``total`` is what is to be paid; ``digest`` the SHA-256 of the document.
    """

    __tablename__ = "invoice"
    __table_args__ = (UniqueConstraint("series", "number_in_series", name="invoice_number_once"),)
    id: str = Field(primary_key=True, sa_type=Identifier)
    number: str = Field(unique=True)
    series: str
    number_in_series: int
    bill_run_id: str = Field(foreign_key="bill_run.id", index=True, sa_type=Identifier)
    account_id: str = Field(index=True, sa_type=Identifier)
    period: str = Field(max_length=16)
    currency: str = Field(max_length=3)
    net: int = Field(sa_type=Micros)
    tax: int = Field(sa_type=Micros)
    total: int = Field(sa_type=Micros)
    issued_at: datetime = Field(sa_type=Instant)
    document: bytes
    transfer_id: str = Field(sa_type=Identifier)
    digest: bytes | None = Field(default=None, sa_type=Digest)
