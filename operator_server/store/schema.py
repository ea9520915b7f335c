"""All tables in one place, for migrations and for whoever reads the whole."""

from __future__ import annotations

from sqlmodel import SQLModel

from charging.balances import tables as balance_tables
from charging.ledger import tables as ledger_tables
from operator_server.store.accounting import (
    BillRun,
    Charge,
    CounterGap,
    CounterReportRow,
    CounterState,
    InvoiceRow,
    RatingStateRow,
    UsageGrantRow,
)
from operator_server.store.billing import BillOutcome, Commitment, InvoiceDraft, PeriodLock
from operator_server.store.cards import Card, CardMaster, CardPacketRow, CardPartRow, CardQuote
from operator_server.store.configurations import (
    ConfigurationRow,
    Interrogation,
    InterrogationOrder,
    InterrogationPlan,
    Section,
)
from operator_server.store.dealings import (
    Agreement,
    Delivery,
    Installation,
    OfferVersion,
    QuoteRow,
    Rejection,
    Release,
    TariffVersionRow,
)
from operator_server.store.devices import (
    Device,
    DeviceCounterReading,
    DeviceCredential,
    DeviceMeter,
    DeviceSample,
    WebToken,
)
from operator_server.store.dispatch import BalanceMail, InvoiceDispatch
from operator_server.store.invitations import Invitation, OutgoingMessage, WebSession
from operator_server.store.parties import (
    Account,
    Binding,
    Event,
    Notice,
    Subscriber,
    Terminal,
    TerminalKey,
    TerminalSession,
)
from operator_server.store.people import AnsweredRequest, ApiToken, AuditEntry, Person, PersonSession
from operator_server.store.receivables import (
    BadDebtTax,
    BankStatement,
    CollectedItem,
    Collection,
    CreditNoteRow,
    DailyWork,
    DisputeHold,
    ItemAllocation,
    Mandate,
    PaymentRow,
    ReceivableItem,
    Reminder,
    Rerating,
    RevenueClose,
    RevenueDeferral,
    WriteOff,
)
from operator_server.store.terms import AgreementPrice, AgreementTerm, SubscriberLimit
from operator_server.store.tones import PhoneLocation, ToneDelivery, ToneRow
from operator_server.store.usage import UsageRecord, UsageState
from operator_server.store.visited import (
    FeatureTableRow,
    Roamer,
    RoamingPartner,
    RoamingQuote,
    SettlementDispute,
    SettlementRecord,
    VisitorRow,
)
from operator_server.store.web import LogonPace, WebJob

metadata = SQLModel.metadata

__all__ = [
    "Account",
    "Agreement",
    "AgreementPrice",
    "AgreementTerm",
    "AnsweredRequest",
    "ApiToken",
    "AuditEntry",
    "BadDebtTax",
    "BalanceMail",
    "BankStatement",
    "BillOutcome",
    "BillRun",
    "Binding",
    "Card",
    "CardMaster",
    "CardPacketRow",
    "CardPartRow",
    "CardQuote",
    "Charge",
    "CollectedItem",
    "Collection",
    "Commitment",
    "ConfigurationRow",
    "CounterGap",
    "CounterReportRow",
    "CounterState",
    "CreditNoteRow",
    "DailyWork",
    "Delivery",
    "Device",
    "DeviceCounterReading",
    "DeviceCredential",
    "DeviceMeter",
    "DeviceSample",
    "DisputeHold",
    "Event",
    "FeatureTableRow",
    "Installation",
    "Interrogation",
    "InterrogationOrder",
    "InterrogationPlan",
    "Invitation",
    "InvoiceDispatch",
    "InvoiceDraft",
    "InvoiceRow",
    "ItemAllocation",
    "LogonPace",
    "Mandate",
    "Notice",
    "OfferVersion",
    "OutgoingMessage",
    "PaymentRow",
    "PeriodLock",
    "Person",
    "PersonSession",
    "PhoneLocation",
    "QuoteRow",
    "RatingStateRow",
    "ReceivableItem",
    "Rejection",
    "Release",
    "Reminder",
    "Rerating",
    "RevenueClose",
    "RevenueDeferral",
    "Roamer",
    "RoamingPartner",
    "RoamingQuote",
    "Section",
    "SettlementDispute",
    "SettlementRecord",
    "Subscriber",
    "SubscriberLimit",
    "TariffVersionRow",
    "Terminal",
    "TerminalKey",
    "TerminalSession",
    "ToneDelivery",
    "ToneRow",
    "UsageGrantRow",
    "UsageRecord",
    "UsageState",
    "VisitorRow",
    "WebJob",
    "WebSession",
    "WebToken",
    "WriteOff",
    "balance_tables",
    "ledger_tables",
    "metadata",
]
