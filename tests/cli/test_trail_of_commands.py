"""Commands that change something are in the audit trail: who, when, with what arguments."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from operator_samples import House

import operator_server.cli
from operator_server.audit import entries, verify_audit
from operator_server.cli import common

if TYPE_CHECKING:
    from conftest import Tollgate

WITHOUT = {
    "common": "holds what the others use",
    "charge": "use that is counted, which the ledger keeps",
    "usage": "use that is imported, which its import keeps",
    "files": "use that is imported, which its import keeps",
    "rerate": "each correction is a transfer with its reason",
    "serve": "orders to interrogate change nothing that is kept",
    "offer": "writes its entries itself",
    "offer_changes": "writes its entries itself",
    "tariff": "writes its entries itself",
    "tone": "looks, and orders nothing that is kept",
    "token": "writes its entries itself",
    "user": "writes its entries itself",
    "visited": "writes its entries itself",
}

COMMANDS: list[tuple[list[str], str, str]] = [
    (["account", "create", "A-9", "--name", "New"], "account.create", "account/A-9"),
    (["account", "top-up", "A-1", "20.00", "--id", "v-1"], "balance.top_up", "balance/A-1"),
    (["account", "adjust", "A-1", "--reason", "goodwill", "--", "2.50"], "balance.adjust", "balance/A-1"),
    (["account", "limit", "A-1", "200.00"], "balance.limit", "balance/A-1"),
    (["account", "bar", "A-1", "--reason", "unpaid"], "balance.bar", "balance/A-1"),
    (["account", "bucket", "add", "A-1", "second", "60"], "balance.bucket_add", "balance/A-1"),
    (["bill", "lock", "2026-09"], "", ""),
    (["payment", "add", "A-1", "10.00"], "", "payment/A-1"),
    (["bill", "run", "2026-10"], "bill.run", "bill/2026-10"),
    (["terminal", "revoke", "T-1"], "terminal.revoke", "terminal/T-1"),
    (["user", "add", "erika", "--role", "billing"], "person.create", "person/erika"),
]


@pytest.mark.parametrize(("command", "action", "reference"), COMMANDS, ids=lambda each: str(each)[:40])
def test_a_change_by_command_is_one_entry(
    tollgate: Tollgate, house: House, command: list[str], action: str, reference: str
) -> None:
    with house.engine.connect() as connection:
        before = len(list(entries(connection)))
    tollgate(*command)
    with house.engine.connect() as connection:
        new = list(entries(connection))[: -before or None]
        assert verify_audit(connection)[2] == []
    assert len(new) == 1
    assert new[0].actor == f"cli:{getpass.getuser()}"
    assert new[0].action == action or not action
    assert new[0].reference == reference or not reference


def test_what_is_refused_or_asked_leaves_no_entry(tollgate: Tollgate, house: House) -> None:
    with house.engine.connect() as connection:
        before = len(list(entries(connection)))
    assert tollgate("account", "top-up", "nobody", "20.00", code=1)
    tollgate("account", "balance", "A-1")
    with house.engine.connect() as connection:
        assert len(list(entries(connection))) == before


def test_every_module_of_commands_records_its_changes_or_says_why_not() -> None:
    folder = Path(operator_server.cli.__file__).parent
    silent = {
        path.stem for path in folder.glob("*.py") if "store.store import transact" in path.read_text(encoding="utf-8")
    }
    assert silent <= set(WITHOUT)
    assert callable(common.recorded)
