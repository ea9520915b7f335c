from __future__ import annotations

import stat
from pathlib import Path

import pytest

from operator_server.delivery.vault import KeyVault, VaultError

KEY = bytes(range(32))


def test_a_key_survives_a_restart_of_the_vault(tmp_path: Path) -> None:
    sealed = KeyVault(tmp_path / "vault.key").seal(KEY, "tool/1.0")
    assert KEY not in sealed
    assert KeyVault(tmp_path / "vault.key").open(sealed, "tool/1.0") == KEY


def test_the_key_file_is_for_its_owner_only(tmp_path: Path) -> None:
    KeyVault(tmp_path / "keys" / "vault.key")
    assert stat.S_IMODE((tmp_path / "keys" / "vault.key").stat().st_mode) == 0o600
    (tmp_path / "keys" / "vault.key").chmod(0o640)
    with pytest.raises(VaultError, match="chmod 600"):
        KeyVault(tmp_path / "keys" / "vault.key")


def test_a_row_moved_to_another_release_does_not_open(tmp_path: Path) -> None:
    vault = KeyVault(tmp_path / "vault.key")
    with pytest.raises(VaultError, match=r"game/1\.0"):
        vault.open(vault.seal(KEY, "tool/1.0"), "game/1.0")


@pytest.mark.parametrize("at", [0, 1, 9, 21, -1])
def test_altered_bytes_do_not_open(tmp_path: Path, at: int) -> None:
    vault = KeyVault(tmp_path / "vault.key")
    sealed = bytearray(vault.seal(KEY, "tool/1.0"))
    sealed[at] ^= 1
    with pytest.raises(VaultError):
        vault.open(bytes(sealed), "tool/1.0")


def test_another_vault_says_which_key_is_missing(tmp_path: Path) -> None:
    sealed = KeyVault(tmp_path / "one.key").seal(KEY, "tool/1.0")
    with pytest.raises(VaultError, match="restore the key file"):
        KeyVault(tmp_path / "two.key").open(sealed, "tool/1.0")


def test_a_key_file_cut_short_is_named(tmp_path: Path) -> None:
    (tmp_path / "vault.key").write_bytes(b"short")
    (tmp_path / "vault.key").chmod(0o600)
    with pytest.raises(VaultError, match="holds 5 bytes"):
        KeyVault(tmp_path / "vault.key")
