"""A signing key of the repository is replaced while terminals go on; the old one is worth nothing then."""

from __future__ import annotations

from pathlib import Path

import pytest
from delivery_samples import make_house, static_server

from operator_server.delivery.repository import RepositoryError
from operator_server.delivery.signing import ROLES, KeyFolder, SigningKeyError
from terminal_sim.repository_client import FetchError


def key_file(folder: Path, role: str) -> Path:
    return folder / "keys" / f"{role}.pem"


@pytest.mark.parametrize("role", ROLES)
def test_a_terminal_follows_to_the_new_key(tmp_path: Path, role: str) -> None:
    house = make_house(tmp_path)
    first = house.publish("tool/1.0/f", b"content")
    with static_server(house.served) as url:
        terminal = house.terminal(url, clock=house.clock)
        assert terminal.fetch(first).read_bytes() == b"content"
        before = key_file(tmp_path, role).read_bytes()
        house.repository.rotate_key(role, house.clock.now())
        assert key_file(tmp_path, role).read_bytes() != before
        assert key_file(tmp_path, role).stat().st_mode & 0o777 == 0o600
        second = house.publish("tool/2.0/f", b"more")
        assert terminal.fetch(second).read_bytes() == b"more"


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "bins"])
def test_what_the_old_key_signs_is_refused(tmp_path: Path, role: str) -> None:
    house = make_house(tmp_path)
    house.publish("tool/1.0/f", b"content")
    with static_server(house.served) as url:
        terminal = house.terminal(url, clock=house.clock)
        stolen = key_file(tmp_path, role).read_bytes()
        house.repository.rotate_key(role, house.clock.now())
        key_file(tmp_path, role).unlink()
        key_file(tmp_path, role).write_bytes(stolen)
        key_file(tmp_path, role).chmod(0o600)
        forged = house.publish("tool/2.0/f", b"evil")
        with pytest.raises(FetchError):
            terminal.fetch(forged)


@pytest.mark.parametrize("role", ROLES)
def test_a_replacement_that_was_cut_short_is_mended_by_another(
    tmp_path: Path, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(tmp_path)

    def stop(self: KeyFolder, role: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(KeyFolder, "activate", stop)
        with pytest.raises(KeyboardInterrupt):
            house.repository.rotate_key(role, house.clock.now())
    house.repository.rotate_key(role, house.clock.now())
    target = house.publish("tool/1.0/f", b"content")
    with static_server(house.served) as url:
        assert house.terminal(url, clock=house.clock).fetch(target).read_bytes() == b"content"
    assert sorted(file.name for file in (tmp_path / "keys").glob("*.new")) == []


def test_without_the_key_that_names_keys_nothing_changes(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    target = house.publish("tool/1.0/f", b"content")
    key_file(tmp_path, "root").unlink()
    key_file(tmp_path, "targets").unlink()
    for role in ("timestamp", "bins"):
        with pytest.raises(SigningKeyError, match="is missing"):
            house.repository.rotate_key(role, house.clock.now())
    with pytest.raises(RepositoryError, match="there are root"):
        house.repository.rotate_key("queen", house.clock.now())
    with static_server(house.served) as url:
        assert house.terminal(url, clock=house.clock).fetch(target).read_bytes() == b"content"


def test_a_publisher_that_runs_takes_the_new_key_up(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    running = house.repository
    running.refresh_timestamp(house.clock.now())
    other = type(running)(tmp_path / "repository/metadata", tmp_path / "repository/targets", tmp_path / "keys")
    other.rotate_key("timestamp", house.clock.now())
    target = house.publish("tool/1.0/f", b"content")
    with static_server(house.served) as url:
        assert house.terminal(url, clock=house.clock).fetch(target).read_bytes() == b"content"
