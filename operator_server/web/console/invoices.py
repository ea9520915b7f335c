"""Invoices, their lines and evidence."""

from __future__ import annotations

from operator_server.web.console.base import Section

section = Section("Invoices", "/console/invoices", needs="invoices.read")
