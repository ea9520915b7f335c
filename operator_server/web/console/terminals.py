"""Terminals: find one, see what it is made of, what it is offered and why not, and interrogate it."""

from __future__ import annotations

from operator_server.web.console.base import Section

section = Section("Terminals", "/console/terminals", needs="terminals.read")
