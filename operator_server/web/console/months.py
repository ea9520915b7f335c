"""Months: bill runs and their documents."""

from __future__ import annotations

from operator_server.web.console.base import Section

section = Section("Months", "/console/months", needs="bill_runs.read")
