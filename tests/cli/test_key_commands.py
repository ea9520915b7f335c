"""``tollgate key``: the operator's own keys are replaced while what they signed and sealed goes on to hold."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from operator_samples import House, User
from sqlmodel import SQLModel

from operator_server.cards.registry import NewCard, add_card, keys_of
from operator_server.context import Operator
from operator_server.delivery.vault import KeyVault, VaultError, sealed_under
from operator_server.files import write_atomically
from operator_server.key_history import hand_over
from operator_server.keys import HISTORY, SIGNING, STAGED, UnusableKey, load_or_create_keys, replace_signing_key
from operator_server.sealed import SEALED, others, reseal
from operator_server.snmp.credentials import Community, open_credential, store_credential
from operator_server.store import schema
from operator_server.store.cards import Card
from operator_server.store.dealings import Agreement
from operator_server.store.devices import DeviceCredential
from operator_server.web.console.invoices_data import evidence_of
from signalling.documents import KeyChange, decode_document
from signalling.proof import check, public_bytes

if TYPE_CHECKING:
    from conftest import Tollgate

CARD = NewCard("SIM-1", "8949000000000000018", "+491701234567", "A-1", "", "en", "")


def told(tollgate: Tollgate, *arguments: str) -> Any:
    return json.loads(tollgate("key", *arguments, "--json").stdout)


def reopened(house: House) -> Operator:
    """The operator as a process that starts now has it."""
    return Operator(house.operator.settings, house.clock)


@pytest.fixture
def filled(house: House) -> House:
    """A sealed release, a card and a credential."""
    vault, now = house.operator.vault, house.clock.now()
    house.change(lambda c: add_card(c, vault, CARD, now))
    house.change(lambda c: store_credential(c, vault, "routers", Community("secret-1"), now, replace=False))
    return house


def opens(house: House, vault: KeyVault) -> None:
    [card] = house.rows(Card)
    [credential] = house.rows(DeviceCredential)
    assert keys_of(vault, card).number == 1
    assert open_credential(vault, "routers", credential.sealed) == Community("secret-1")


def left(house: House, vault: KeyVault) -> int:
    with house.engine.connect() as connection:
        return others(connection, vault.key_id)


def test_every_column_of_sealed_values_is_sealed_anew() -> None:
    named = {
        (model.__tablename__, column.name)
        for model in vars(schema).values()
        if isinstance(model, type) and issubclass(model, SQLModel) and hasattr(model, "__table__")
        for column in model.__table__.columns  # type: ignore[attr-defined]  # set by SQLModel's metaclass
        if column.name.startswith("sealed") and (model.__tablename__, column.name) != ("release", "sealed")
    }
    assert {(each.model.__tablename__, each.column) for each in SEALED} >= named - {("ledger_group", "sealed_at")}


def test_all_that_is_sealed_comes_under_the_new_content_key(filled: House, tollgate: Tollgate, user: User) -> None:
    running = filled.operator.vault
    before = running.key_id
    done = told(tollgate, "rotate", "content")
    assert done["resealed"] == 4
    fresh = reopened(filled).vault
    assert fresh.key_id == done["after"] != before
    assert left(filled, fresh) == 0
    for vault in (running, fresh):
        opens(filled, vault)
    assert sealed_under(running.seal(b"x", "y")) == fresh.key_id
    assert user.granted(user.agree("game", "buy")).content_key


def test_a_replacement_that_was_cut_short_is_finished_by_the_same_command(filled: House, tollgate: Tollgate) -> None:
    vault = filled.operator.vault
    vault.replace()
    assert left(filled, vault) == 4
    assert told(tollgate, "rotate", "content") == {
        "key": "content", "after": vault.key_id, "resealed": 4, "finished": True,
    }  # fmt: skip
    opens(filled, reopened(filled).vault)


def test_a_replacement_that_dies_at_any_write_loses_nothing(filled: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for survived in range(2):
        vault, writes = reopened(filled).vault, iter(range(survived))

        def write(path: Path, data: bytes, mode: int = 0o644, writes: Any = writes) -> None:
            if next(writes, None) is None:
                raise KeyboardInterrupt
            write_atomically(path, data, mode)

        with monkeypatch.context() as killed:
            killed.setattr("operator_server.delivery.vault.write_atomically", write)
            with pytest.raises(KeyboardInterrupt):
                vault.replace()
        opens(filled, reopened(filled).vault)
        reopened(filled).vault.replace()
        reseal(filled.engine, reopened(filled).vault)
        opens(filled, reopened(filled).vault)


def test_a_former_content_key_goes_when_nothing_is_sealed_under_it(filled: House, tollgate: Tollgate) -> None:
    late = KeyVault(filled.operator.data / "keys" / "content_kek.bin")
    tollgate("key", "rotate", "content")
    assert "less than a minute ago" in tollgate("key", "forget", code=1).stderr
    [former] = (filled.operator.data / "keys").glob("content_kek.bin.*.old")
    os.utime(former, (1, 1))
    assert told(tollgate, "forget")["removed"] == [former.name.split(".")[2]]
    assert not former.exists()
    assert told(tollgate, "forget")["removed"] == []
    opens(filled, late)


def test_without_the_key_of_the_database_none_is_replaced(filled: House, tollgate: Tollgate) -> None:
    key = filled.operator.data / "keys" / "content_kek.bin"
    lost = filled.operator.vault.key_id
    key.unlink()
    assert f"sealed under key {lost}, which is not here" in tollgate("key", "rotate", "content", code=1).stderr
    states = {row["fingerprint"]: row["state"] for row in told(tollgate, "list") if row["key"] == "content"}
    assert states == {lost: "missing", filled.operator.vault.key_id: "in force"}
    with pytest.raises(VaultError, match="restore the key file"):
        opens(filled, reopened(filled).vault)


def test_the_servers_key_is_replaced_and_what_the_old_one_signed_is_still_proved(
    house: House, tollgate: Tollgate, user: User
) -> None:
    before = user.take("game", "buy").agreement
    old = house.operator.keys.public_key()
    done = told(tollgate, "rotate", "server")
    keys = reopened(house).keys
    assert keys.public_keys() == [keys.public_key(), old]
    assert done["after"] in [row["fingerprint"] for row in told(tollgate, "list") if row["state"] == "in force"]
    [change] = keys.changes()
    document = decode_document(KeyChange, check(old, KeyChange.PURPOSE, change))
    assert (document.server, document.old_key, document.new_key) == ("op.example", old, keys.public_key())
    with house.engine.connect() as connection:
        shown = evidence_of(connection, reopened(house), before)
    assert shown is not None
    assert all(each.holds is not False for each in shown.checks)
    assert [each.id for each in house.rows(Agreement)] == [before]


def test_a_servers_key_that_is_lost_leaves_a_break_that_no_terminal_follows_over(tmp_path: Path, house: House) -> None:
    folder, now = tmp_path / "keys", house.clock.now()

    def keys() -> Any:
        return load_or_create_keys(folder, "op.example", ["localhost"], now)

    first = keys().public_key()
    replace_signing_key(folder, "op.example", now)
    (folder / SIGNING).unlink()
    third = keys()
    assert third.changes() == []
    assert len(third.public_keys()) == 3
    assert third.public_keys()[-1] == first
    replace_signing_key(folder, "op.example", now)
    assert len(keys().changes()) == 1


@pytest.mark.parametrize("survived", [0, 1])
def test_a_change_of_the_servers_key_that_dies_is_either_not_begun_or_finished(
    tmp_path: Path, house: House, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    folder, now = tmp_path / "keys", house.clock.now()
    before = load_or_create_keys(folder, "op.example", ["localhost"], now)

    def told_then_killed(*arguments: Any) -> None:
        if survived:
            hand_over(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("operator_server.keys.hand_over", told_then_killed)
        with pytest.raises(KeyboardInterrupt):
            replace_signing_key(folder, "op.example", now)
    assert (folder / STAGED).exists()
    after = load_or_create_keys(folder, "op.example", ["localhost"], now)
    assert not (folder / STAGED).exists()
    assert (after.public_key() != before.public_key()) == bool(survived)
    assert len(after.changes()) == survived
    assert public_bytes(after.signing) == after.history[-1].public_key


def test_a_history_that_was_damaged_is_told(tmp_path: Path, house: House) -> None:
    folder, now = tmp_path / "keys", house.clock.now()
    load_or_create_keys(folder, "op.example", ["localhost"], now)
    (folder / HISTORY).write_text("nothing")
    with pytest.raises(UnusableKey, match="move it away"):
        load_or_create_keys(folder, "op.example", ["localhost"], now)
