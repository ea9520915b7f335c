"""Tariffs: versions, costs explained, simulation."""

from __future__ import annotations

from operator_server.web.console.base import Section

section = Section("Tariffs", "/console/tariffs", needs="tariffs.read")
