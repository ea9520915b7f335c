"""A terminal follows its server to another signing key, and nobody else."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from terminal_fakes import CONFIGURATION, FakeServer, Pair, entry, make_trust
from test_terminal_dialogue import buy
from typer.testing import CliRunner

from signalling import messages as m
from signalling.documents import KeyChange, UsageGrant
from signalling.proof import ProofError, public_bytes, sign
from terminal_sim import state as states
from terminal_sim.cli import app
from terminal_sim.trust import Identity, Trust

NEW = Ed25519PrivateKey.generate()


def change(server: FakeServer, old: Ed25519PrivateKey, new: Ed25519PrivateKey, name: str = "op.example") -> m.Signed:
    document = KeyChange(name, public_bytes(old), public_bytes(new), server.now)
    return sign(old, KeyChange.PURPOSE, document.encode())


def tell(server: FakeServer, *changes: m.Signed) -> None:
    """The server tells of these at each logon."""

    def alter(message: m.Message) -> m.Message:
        if not isinstance(message, m.Welcome):
            return message
        return m.Welcome(message.session, message.time, message.idle_timeout, message.rate, list(changes))

    server.alter = alter


def change_key(server: FakeServer, new: Ed25519PrivateKey = NEW) -> Ed25519PrivateKey:
    old, server.key = server.key, new
    return old


def test_a_terminal_buys_from_a_server_with_a_new_key(pair: Pair) -> None:
    pair.server.offers = [entry()]
    old = change_key(pair.server)
    tell(pair.server, change(pair.server, old, NEW, pair.state.trust.server))
    assert buy(pair.connect()).step == "done"
    assert pair.state.trust.server_public_key == public_bytes(NEW)


def test_it_follows_over_several_changes_at_once(pair: Pair) -> None:
    keys = [pair.server.key, *(Ed25519PrivateKey.generate() for _ in range(3))]
    name = pair.state.trust.server
    tell(pair.server, *(change(pair.server, *each, name) for each in pairwise(keys)))
    pair.connect()
    assert pair.state.trust.server_public_key == public_bytes(keys[-1])
    pair.restart()
    assert [each.public_key for each in pair.state.trust.former_keys] == [public_bytes(key) for key in keys[:-1]]


def test_what_the_former_key_signed_holds_only_from_before(pair: Pair) -> None:
    old = change_key(pair.server)
    tell(pair.server, change(pair.server, old, NEW, pair.state.trust.server))
    pair.connect()

    def grant(issued: int) -> m.Signed:
        made = UsageGrant("g", "i", "use", 0, 5, issued, issued + 1, issued + 1)
        return sign(old, UsageGrant.PURPOSE, made.encode())

    assert pair.state.trust.document(UsageGrant, grant(pair.server.now - 1)).ceiling == 5
    with pytest.raises(ProofError):
        pair.state.trust.document(UsageGrant, grant(pair.server.now))


@pytest.mark.parametrize("wrong", ["signer", "server", "start", "bytes"])
def test_a_change_that_is_not_the_servers_own_is_ignored(pair: Pair, wrong: str) -> None:
    server, name, thief = pair.server, pair.state.trust.server, Ed25519PrivateKey.generate()
    good = change(server, server.key, NEW, name)
    forged = {
        "signer": sign(thief, KeyChange.PURPOSE, good.document),
        "server": change(server, server.key, NEW, "other.example"),
        "start": change(server, thief, NEW, name),
        "bytes": m.Signed(b"\x80", good.signature),
    }
    tell(server, forged[wrong])
    pair.connect()
    assert pair.state.trust.server_public_key == server.public_key


def test_the_new_key_is_known_after_a_restart(tmp_path: Path) -> None:
    server, folder = FakeServer(), tmp_path / "T-1"
    identity = Identity.new("T-1")
    server.terminals["T-1"] = identity.public_key
    kept = states.create(folder, identity, make_trust(server), CONFIGURATION, server.now)
    old = change_key(server)
    tell(server, change(server, old, NEW, kept.trust.server))
    Pair(server, kept).connect()
    kept.close()
    again = states.load(folder)
    assert again.trust.server_public_key == public_bytes(NEW)
    again.close()


def test_another_bundle_keeps_the_terminal_and_what_it_agreed(tmp_path: Path) -> None:
    server, folder, bundle = FakeServer(), tmp_path / "T-1", tmp_path / "bundle.json"
    identity = Identity.new("T-1")
    states.create(folder, identity, make_trust(server), CONFIGURATION, server.now).close()
    old = change_key(server)

    def given(**changes: Any) -> None:
        bundle.write_bytes(msgspec.json.encode(msgspec.structs.replace(make_trust(server), **changes)))

    given(tuf_root="another")
    done = CliRunner().invoke(app, ["trust", "--state", str(folder), "--bundle", str(bundle)])
    assert done.exit_code == 0, done.output
    kept = states.load(folder)
    assert (kept.identity.public_key, kept.trust.server_public_key) == (identity.public_key, public_bytes(NEW))
    assert [each.public_key for each in kept.trust.former_keys] == [public_bytes(old)]
    assert kept.trust.tuf_root == "another"
    kept.close()
    again = CliRunner().invoke(app, ["trust", "--state", str(folder), "--bundle", str(bundle), "--stolen"])
    assert again.exit_code == 0, again.output
    assert Trust.read(folder / "trust.json").former_keys == []
    given(server="other.example")
    refused = CliRunner().invoke(app, ["trust", "--state", str(folder), "--bundle", str(bundle)])
    assert refused.exit_code == 1
    assert "this terminal belongs to" in refused.output
