"""The repository on disk: what is published stays true through crashes, second publishers and time."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from delivery_samples import START, make_house, make_repository, static_server

from operator_server import files
from operator_server.delivery.repository import (
    NewTarget,
    NoSuchTarget,
    Repository,
    RepositoryError,
    RepositorySettings,
    TargetExists,
)
from terminal_sim.repository_client import FetchError


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path, START)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    file = tmp_path / "package"
    file.write_bytes(b"content of the package")
    return file


def reopened(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository" / "metadata", tmp_path / "repository" / "targets", tmp_path / "keys")


def metadata_of(tmp_path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (tmp_path / "repository" / "metadata").iterdir()}


def test_what_is_published_is_found_again_with_digest_length_and_custom(
    repository: Repository, package: Path, tmp_path: Path
) -> None:
    repository.add_target("tool/1.0/package", package, now=START, custom={"sealed": True})
    found = reopened(tmp_path).target("tool/1.0/package")
    assert found is not None
    assert found.sha256 == hashlib.sha256(b"content of the package").digest()
    assert (found.length, found.custom) == (22, {"sealed": True})


def test_the_same_bytes_again_change_nothing_and_other_bytes_are_refused(
    repository: Repository, package: Path, tmp_path: Path
) -> None:
    repository.add_target("tool/1.0/package", package, now=START)
    before = metadata_of(tmp_path)
    repository.add_target("tool/1.0/package", package, now=START + timedelta(hours=1))
    assert metadata_of(tmp_path) == before
    package.write_bytes(b"other content")
    with pytest.raises(TargetExists, match=r"tool/1\.0/package"):
        repository.add_target("tool/1.0/package", package, now=START)
    assert metadata_of(tmp_path) == before


def test_a_batch_is_published_whole_or_not_at_all(repository: Repository, package: Path, tmp_path: Path) -> None:
    before = metadata_of(tmp_path)
    with pytest.raises(FileNotFoundError):
        repository.add_targets([NewTarget("a/1/f", package), NewTarget("b/1/f", tmp_path / "missing")], START)
    assert metadata_of(tmp_path) == before
    assert repository.targets() == []
    repository.add_targets([NewTarget(f"p{number}/1/f", package) for number in range(50)], START)
    assert len(repository.targets()) == 50
    assert json.loads(metadata_of(tmp_path)["timestamp.json"])["signed"]["version"] == 2


def test_a_batch_that_names_one_path_twice_with_other_bytes_is_refused(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    with pytest.raises(TargetExists):
        repository.add_targets([NewTarget("a/1/f", tmp_path / "one"), NewTarget("a/1/f", tmp_path / "two")], START)


@pytest.mark.parametrize(
    "path", ["tool", "tool/1.0", "/1.0/f", "tool//f", "../1/f", "tool/../f", "tool/1/.f", "a/b/c/d", "a/b/c d", "a/b/é"]
)
def test_a_path_that_could_be_misread_is_refused(repository: Repository, package: Path, path: str) -> None:
    with pytest.raises(RepositoryError, match="product/version/name"):
        repository.add_target(path, package, now=START)


def test_custom_that_cannot_be_signed_is_refused_before_anything_is_written(
    repository: Repository, package: Path, tmp_path: Path
) -> None:
    before = metadata_of(tmp_path)
    with pytest.raises(RepositoryError, match="custom of tool/1/f"):
        repository.add_target("tool/1/f", package, now=START, custom={"price": 1.5})
    assert metadata_of(tmp_path) == before


def test_a_withdrawn_target_is_gone_with_its_file(repository: Repository, package: Path, tmp_path: Path) -> None:
    repository.add_target("tool/1.0/package", package, now=START)
    served = list((tmp_path / "repository" / "targets").rglob("*.package"))
    assert len(served) == 1
    repository.remove_target("tool/1.0/package", START)
    assert repository.target("tool/1.0/package") is None
    assert not served[0].exists()
    with pytest.raises(NoSuchTarget):
        repository.remove_target("tool/1.0/package", START)


def test_keys_are_for_their_owner_only_and_not_in_what_is_served(repository: Repository, tmp_path: Path) -> None:
    keys = sorted((tmp_path / "keys").glob("*.pem"))
    assert [key.stem for key in keys] == ["bins", "root", "snapshot", "targets", "timestamp"]
    assert all(stat.S_IMODE(key.stat().st_mode) == 0o600 for key in keys)
    assert not list((tmp_path / "repository").rglob("*.pem"))


def test_publishing_needs_neither_the_root_key_nor_the_targets_key(
    repository: Repository, package: Path, tmp_path: Path
) -> None:
    for role in ("root", "targets"):
        (tmp_path / "keys" / f"{role}.pem").unlink()
    reopened(tmp_path).add_target("tool/1.0/package", package, now=START)
    assert reopened(tmp_path).target("tool/1.0/package") is not None


class Crash(BaseException):
    """Stands for a kill: nothing catches it."""


def crash_at(monkeypatch: pytest.MonkeyPatch, number: int) -> Callable[[], int]:
    """Let the write ``number`` (from 0) of a metadata file be the last; gives a counter of the writes."""
    calls = 0
    real = files.write_atomically

    def counting(path: Path, data: bytes, mode: int = 0o644) -> None:
        nonlocal calls
        if calls == number:
            raise Crash
        calls += 1
        real(path, data, mode)

    monkeypatch.setattr("operator_server.delivery.roles.write_atomically", counting)
    return lambda: calls


@pytest.mark.parametrize("number", range(3))
def test_a_crash_between_the_writes_of_a_publish_leaves_the_old_repository_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    house = make_house(tmp_path)
    old = house.publish("tool/1.0/f", b"old")
    with monkeypatch.context() as patch:
        writes = crash_at(patch, number)
        with pytest.raises(Crash):
            house.publish("tool/2.0/f", b"new")
        assert writes() == number
    with static_server(house.served) as url:
        terminal = house.terminal(url)
        assert terminal.fetch(old).read_bytes() == b"old"
        assert house.repository.target("tool/2.0/f") is None
        new = house.publish("tool/2.0/f", b"new")
        assert terminal.fetch(new).read_bytes() == b"new"
        assert house.terminal(url, name="another").fetch(old).read_bytes() == b"old"


def test_a_crash_while_it_is_made_leaves_nothing_and_making_it_again_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        crash_at(patch, 10)
        with pytest.raises(Crash):
            make_repository(tmp_path, START)
    with pytest.raises(RepositoryError, match="no repository"):
        reopened(tmp_path)
    make_repository(tmp_path, START)
    with pytest.raises(RepositoryError, match="already"):
        make_repository(tmp_path, START)


PUBLISHER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from operator_server.delivery.repository import Repository

folder, name = Path(sys.argv[1]), sys.argv[2]
now = datetime(2026, 10, 1, tzinfo=UTC)
served = folder / "repository"
repository = Repository.open_or_create(served / "metadata", served / "targets", folder / "keys", now)
for number in range(15):
    repository.add_target(f"{name}/{number}/f", folder / "package", now=now)
"""


def test_two_processes_that_publish_at_once_lose_nothing(tmp_path: Path, package: Path) -> None:
    publishers = [
        subprocess.Popen([sys.executable, "-c", PUBLISHER, str(tmp_path), name], cwd=Path(__file__).parents[2])
        for name in ("one", "two")
    ]
    assert [publisher.wait(60) for publisher in publishers] == [0, 0]
    assert {target.path for target in reopened(tmp_path).targets()} == {
        f"{name}/{number}/f" for name in ("one", "two") for number in range(15)
    }
    snapshots = [file for file in metadata_of(tmp_path) if file.endswith(".snapshot.json")]
    assert json.loads(metadata_of(tmp_path)["timestamp.json"])["signed"]["meta"]["snapshot.json"]["version"] == 31
    assert len(snapshots) <= 10


def test_signatures_are_renewed_when_half_their_time_is_over(repository: Repository) -> None:
    assert repository.refresh_timestamp(START + timedelta(hours=23)) == []
    assert repository.refresh_timestamp(START + timedelta(hours=25)) == ["timestamp"]
    assert repository.refresh_timestamp(START + timedelta(days=8)) == ["snapshot", "timestamp"]
    assert len(repository.refresh_timestamp(START + timedelta(days=50))) == 16 + 2
    assert repository.refresh_timestamp(START + timedelta(days=400))[:2] == ["root", "targets"]
    assert repository.root_expires() == START + timedelta(days=400 + 730)


def test_a_due_root_without_its_key_keeps_nobody_from_renewing_the_rest(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "keys" / "root.pem").unlink()
    renewed = reopened(tmp_path).refresh_timestamp(START + timedelta(days=400))
    assert "root" not in renewed
    assert "timestamp" in renewed
    assert repository.root_expires() == START + timedelta(days=730)


def test_a_terminal_follows_from_the_first_root_to_a_renewed_one(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    target = house.publish("tool/1.0/f", b"content")
    terminal_clock = house.clock
    with static_server(house.served) as url:
        terminal = house.terminal(url, clock=terminal_clock)
        house.clock.set(START + timedelta(days=500))
        house.repository.refresh_timestamp(house.clock.now())
        house.clock.set(START + timedelta(days=1100))
        with pytest.raises(FetchError) as refused:
            terminal.fetch(target)
        assert refused.value.code == "expired"
        house.repository.refresh_timestamp(house.clock.now())
        assert terminal.fetch(target).read_bytes() == b"content"


@pytest.mark.parametrize("bins", [2, 256])
def test_any_number_of_bins_serves_every_target(tmp_path: Path, bins: int) -> None:
    house = make_house(tmp_path / "unused")
    house.folder = tmp_path
    house.repository = make_repository(tmp_path, START, RepositorySettings(bins=bins))
    targets = [house.publish(f"p{number}/1/f", b"content") for number in range(4)]
    with static_server(house.served) as url:
        terminal = house.terminal(url)
        assert [terminal.fetch(target).read_bytes() for target in targets] == [b"content"] * 4


@pytest.mark.parametrize("bins", [0, 1, 3, 512])
def test_a_number_of_bins_that_cannot_be_is_refused(bins: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        RepositorySettings(bins=bins)


def test_a_publish_rewrites_one_bin_the_snapshot_and_the_timestamp_only(
    repository: Repository, package: Path, tmp_path: Path
) -> None:
    repository.add_targets([NewTarget(f"p{number}/1/f", package) for number in range(100)], START)
    before = metadata_of(tmp_path)
    repository.add_target("q/1/f", package, now=START)
    after = metadata_of(tmp_path)
    changed = {name.split(".", 1)[-1].split("-")[0] for name in after if after[name] != before.get(name)}
    assert changed == {"bins", "snapshot.json", "json"}
    assert len([name for name in after if after[name] != before.get(name)]) == 3
