"""Who may do what: five roles, each a set of permissions; every route and every token names permissions of this list.

A permission is ``RESOURCE.VERB``. ``self`` is what everybody has who is logged on: their own page and password.
"""

from __future__ import annotations

from collections.abc import Iterable

SELF = "self"

READS = frozenset(
    {
        "terminals.read", "offers.read", "rejections.read", "agreements.read", "tariffs.read", "accounts.read",
        "balances.read", "usage.read", "charges.read", "invoices.read", "credit_notes.read", "payments.read",
        "bill_runs.read", "roaming.read", "events.read", "health.read",
    }
)  # fmt: skip
"""What is read of the business; names of people and the audit trail are not among it."""

WRITES = frozenset(
    {
        "terminals.write", "terminals.interrogate", "offers.write", "tariffs.write", "rejections.undo",
        "agreements.cancel", "accounts.write", "balances.write", "invoices.send", "credit_notes.write",
        "payments.write", "bill_runs.write",
    }
)  # fmt: skip

OVERSIGHT = frozenset({"audit.read", "people.read", "metrics.read"})

ADMINISTRATION = frozenset({"people.write"})

PERMISSIONS = READS | WRITES | OVERSIGHT | ADMINISTRATION | {SELF}

ROLES: dict[str, frozenset[str]] = {
    "operator": frozenset(
        {
            SELF, "terminals.read", "terminals.write", "terminals.interrogate", "offers.read", "offers.write",
            "rejections.read", "rejections.undo", "agreements.read", "tariffs.read", "tariffs.write", "usage.read",
            "roaming.read", "events.read", "health.read", "metrics.read",
        }
    ),
    "billing": frozenset(
        READS
        | {
            SELF, "rejections.undo", "agreements.cancel", "accounts.write", "balances.write", "invoices.send",
            "credit_notes.write", "payments.write", "bill_runs.write",
        }
    ),
    "support": READS | {SELF, "rejections.undo"},
    "auditor": READS | OVERSIGHT | {SELF},
    "administrator": PERMISSIONS,
}  # fmt: skip
"""Role to its permissions. ``support`` reads and answers customers; ``auditor`` reads all, the audit trail too."""


class UnknownRole(ValueError):
    """A role or permission that there is not; the text says which there are."""


def checked_role(role: str) -> str:
    """``role`` when there is such a one. Raises :class:`UnknownRole`."""
    if role not in ROLES:
        raise UnknownRole(f"role {role!r}: there is none; there are {', '.join(ROLES)}")
    return role


def checked_scopes(scopes: Iterable[str], role: str) -> list[str]:
    """The permissions that a token of a person in ``role`` may carry, sorted. ``read`` stands for all of its reads.

    Raises :class:`UnknownRole` for what there is not, or what the role itself does not have.
    """
    held = ROLES[checked_role(role)]
    wanted: set[str] = set()
    for scope in scopes:
        if scope == "read":
            wanted |= held & (READS | OVERSIGHT)
        elif scope not in PERMISSIONS:
            raise UnknownRole(f"scope {scope!r}: there is none; there are read, {', '.join(sorted(PERMISSIONS))}")
        elif scope not in held:
            raise UnknownRole(f"scope {scope!r}: the role {role} does not have it, so its token cannot")
        else:
            wanted.add(scope)
    if not wanted:
        raise UnknownRole("a token needs at least one scope, such as read or invoices.read")
    return sorted(wanted)
