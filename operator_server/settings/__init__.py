"""The operator's settings: ``operator.toml`` in the configuration folder, environment variables above it.

``TOLLGATE_LINK__PORT=7001`` sets ``port`` in section ``[link]``.
"""

from __future__ import annotations

from operator_server.settings.base import SettingsError
from operator_server.settings.loading import Settings, load_settings
from operator_server.settings.money import BadDebtRule, FinanceSettings, ReceivablesSettings, ReminderLevel
from operator_server.settings.network import NodesSettings, RoamingSettings, SmsSettings, SnmpSettings
from operator_server.settings.operator import OperatorSettings, StoreSettings
from operator_server.settings.terminals import (
    CalendarPlan,
    CountingSettings,
    DeliverySettings,
    InterrogationSettings,
    LinkSettings,
    NegotiationSettings,
)
from operator_server.settings.web import InvitationSettings, OutletSettings, WebSettings

__all__ = [
    "BadDebtRule",
    "CalendarPlan",
    "CountingSettings",
    "DeliverySettings",
    "FinanceSettings",
    "InterrogationSettings",
    "InvitationSettings",
    "LinkSettings",
    "NegotiationSettings",
    "NodesSettings",
    "OperatorSettings",
    "OutletSettings",
    "ReceivablesSettings",
    "ReminderLevel",
    "RoamingSettings",
    "Settings",
    "SettingsError",
    "SmsSettings",
    "SnmpSettings",
    "StoreSettings",
    "WebSettings",
    "load_settings",
]
