"""``tollgate key``: the operator's own keys: what there are, and how they are replaced."""

from __future__ import annotations

import hashlib
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from operator_server.audit import audited, cli_actor
from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    opened,
    progress_bar,
    says_errors,
    show_rows,
    told,
)
from operator_server.context import Operator
from operator_server.delivery.signing import ROLES, KeyFolder
from operator_server.keys import replace_signing_key
from operator_server.sealed import others, reseal, sealed_values
from operator_server.store.store import transact

app = typer.Typer(no_args_is_help=True, help="The operator's own keys; those of the repository: `tollgate release`.")

SETTLED_SECONDS = 60
"""A server that runs has taken over another content key by then."""


class Which(StrEnum):
    """The keys that this command replaces."""

    server = "server"
    content = "content"


@app.command("list")
@says_errors()
def list_(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """List the keys by their fingerprints: what each is for, since when, and how much is sealed under it.

    Example: tollgate key list
    """
    with opened(config) as operator:
        folder = operator.data / "keys"
        rows = [
            {"key": "server", "fingerprint": fingerprint(each.public_key), "since": f"{each.since:%Y-%m-%d %H:%M} UTC",
             "state": "in force" if each.public_key == operator.keys.public_key() else "replaced",
             "note": "terminals follow to it by themselves" if each.change else "terminals need its bundle"}
            for each in operator.keys.history
        ]  # fmt: skip
        rows += _content_rows(operator)
        signers = KeyFolder(folder / "repository")
        rows += [
            {"key": f"repository {role}", "fingerprint": signers.signer(role).public_key.keyid[:16], "since": "",
             "state": "in force", "note": ""}
            if signers.has(role)
            else {"key": f"repository {role}", "fingerprint": "", "since": "", "state": "not here", "note": ""}
            for role in ROLES
        ]  # fmt: skip
    show_rows("Keys", rows, as_json, empty="")


def _content_rows(operator: Operator) -> list[dict[str, Any]]:
    vault = operator.vault
    with operator.engine.connect() as connection:
        found = sealed_values(connection)
    ids = {id for counts in found.values() for id in counts} | {vault.key_id, *vault.former()}
    rows = []
    for id in sorted(ids, key=lambda id: (id == vault.key_id, id)):
        state = "in force" if id == vault.key_id else "replaced" if id in vault.former() else "missing"
        held = ", ".join(f"{counts[id]} {what}" for what, counts in found.items() if counts[id])
        rows.append({"key": "content", "fingerprint": id, "since": "", "state": state, "note": held})
    return rows


def fingerprint(public_key: bytes) -> str:
    """Sixteen hexadecimal digits by which people tell keys apart."""
    return hashlib.sha256(public_key).hexdigest()[:16]


@app.command()
@says_errors()
def rotate(
    which: Annotated[Which, typer.Argument(help="server: signs quotes and grants. content: opens what is sealed.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Replace a key by a new one; terminals follow by themselves. What was cut short is finished by the same command.

    server: signs with the new key from the next start of the servers on. content: all that is sealed in the database
    comes under the new key at once; servers may run.

    Example: tollgate key rotate server
    """
    with opened(config) as operator:
        if which is Which.server:
            _rotate_server(operator, as_json)
        else:
            _rotate_content(operator, as_json)


def _rotate_server(operator: Operator, as_json: bool) -> None:
    folder, server, now = operator.data / "keys", operator.settings.operator.server_id, operator.clock.now()
    operator.keys  # noqa: B018 - makes the first key where there is none
    old, new = (fingerprint(each) for each in replace_signing_key(folder, server, now))
    _note(operator, "key.rotate", "key/server", old, new)
    told(
        {"key": "server", "before": old, "after": new, "changed": True}, as_json,
        f"The server signs with key {new} in the place of {old} when it is started again.",
        f"Now restart all servers of this database, on all machines, and back {folder} up.",
    )  # fmt: skip


def _rotate_content(operator: Operator, as_json: bool) -> None:
    vault = operator.vault
    before = vault.key_id
    with operator.engine.connect() as connection:
        left = {id for counts in sealed_values(connection).values() for id in counts} - {before}
    unknown = left - set(vault.former())
    if unknown:
        raise CommandError(
            f"values in the database are sealed under key {', '.join(sorted(unknown))}, which is not here; `tollgate "
            "key list` counts them. Put the key file of that back-up beside content_kek.bin as content_kek.bin.ID.old"
        )
    if not left:
        vault.replace()
        _note(operator, "key.rotate", "key/content", before, vault.key_id)
    with progress_bar() as progress:
        task = progress.add_task("Sealing anew", total=None)
        done = reseal(operator.engine, vault, lambda count: progress.update(task, completed=count))
    begun = "The replacement that was cut short is finished" if left else f"Key {vault.key_id} is in force"
    told(
        {"key": "content", "after": vault.key_id, "resealed": done, "finished": bool(left)}, as_json,
        f"{begun}: {done} values are sealed anew. Back {operator.data / 'keys'} up now.",
        f"Key(s) {', '.join(vault.former())} lie beside it still; `tollgate key forget` removes them in a minute.",
    )  # fmt: skip


@app.command()
@says_errors()
def forget(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Remove content keys that were replaced. Back-ups from before need them, and hold them.

    It is done a minute after the replacement at the earliest, since servers that run may still seal under them.

    Example: tollgate key forget
    """
    with opened(config) as operator:
        vault = operator.vault
        young = [path for path in _former_files(operator) if time.time() - path.stat().st_mtime < SETTLED_SECONDS]
        if young:
            raise CommandError(
                f"{young[0].name}: was replaced less than a minute ago; wait a minute, then call it again"
            )
        reseal(operator.engine, vault)
        with operator.engine.connect() as connection:
            left = others(connection, vault.key_id)
        if left:
            raise CommandError(f"{left} values are still sealed under another key; `tollgate key list` shows them")
        gone = vault.forget()
        if gone:
            _note(operator, "key.forget", "key/content", ", ".join(gone), "")
    text = f"Removed: {', '.join(gone)}." if gone else "No key was replaced, or all that were are gone."
    told({"removed": gone}, as_json, text)


def _former_files(operator: Operator) -> list[Path]:
    return sorted((operator.data / "keys").glob("content_kek.bin.*.old"))


def _note(operator: Operator, action: str, reference: str, before: str, after: str) -> None:
    told = {"fingerprint": after} if after else None
    transact(
        operator.engine,
        lambda c: audited(c, cli_actor(), action, reference, {"fingerprint": before}, told, operator.clock.now()),
    )
