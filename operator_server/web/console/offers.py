"""Offers: what is offered to whom, and how it is taken."""

from __future__ import annotations

from operator_server.web.console.base import Section

section = Section("Offers", "/console/offers", needs="offers.read")
