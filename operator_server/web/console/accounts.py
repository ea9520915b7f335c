"""Accounts: who pays, balances, subscriptions."""

from __future__ import annotations

from operator_server.web.console.base import Section

section = Section("Accounts", "/console/accounts", needs="accounts.read")
