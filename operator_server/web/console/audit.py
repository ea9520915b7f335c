"""The audit trail: who changed what, when, from what to what."""

from __future__ import annotations

from operator_server.web.console.base import Section

section = Section("Audit", "/console/audit", needs="audit.read")
