"""The overview: what happens now, and what is to be mended."""

from __future__ import annotations

from operator_server.people.roles import SELF
from operator_server.web.calls import Call
from operator_server.web.console.base import Section, View, show

section = Section("Overview", "/console", needs=SELF)


@section.page(needs=SELF)
def overview(call: Call) -> View:
    """What happens now."""
    return show("overview.html")
