"""An item is installed whole or not at all, wherever the terminal dies."""

from __future__ import annotations

import hashlib
import io
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from signalling.sealing import seal
from terminal_sim.download import (
    STEPS,
    Installed,
    InstallError,
    install,
    installed,
    is_whole,
    item_path,
    remove,
)

KEY = bytes(range(32))
OLD, NEW = b"the old version" * 10_000, b"the new version" * 12_000


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def package(folder: Path, content: bytes, name: str = "tool.bin", key: bytes | None = KEY) -> Path:
    """A fetched package, sealed when there is a key; asked for again it is the same file, as a release is."""
    file = folder / hashlib.sha256(content).hexdigest()[:8] / name
    if not file.exists():
        file.parent.mkdir()
        with file.open("wb") as sink:
            if key is None:
                sink.write(content)
            else:
                seal(io.BytesIO(content), sink, key)
    return file


def put(store: Path, version: str, content: bytes, step: Callable[[str], None] = lambda _: None) -> Installed:
    file = package(store.parent, content)
    return install(file, True, KEY, store, "tool", version, step=step)


def content_of(store: Path) -> bytes | None:
    """What is installed, after the terminal has started again; the store must hold nothing else."""
    items = installed(store)
    files = {file for file in store.rglob("*") if file.is_file() and file.name != "current.json"}
    assert files == {item_path(store, item) for item in items}
    assert all(is_whole(store, item) for item in items)
    return item_path(store, items[0]).read_bytes() if items else None


def test_a_sealed_package_is_opened_and_a_free_one_is_taken_as_it_is(store: Path, tmp_path: Path) -> None:
    put(store, "1.0", OLD)
    free = install(package(tmp_path, NEW, "game.bin", key=None), False, None, store, "game", "3", step=lambda _: None)
    assert [item.product for item in installed(store)] == ["game", "tool"]
    assert item_path(store, free).read_bytes() == NEW


def test_a_newer_version_takes_the_place_of_the_older(store: Path) -> None:
    put(store, "1.9", OLD)
    put(store, "1.10", NEW)
    assert content_of(store) == NEW


def test_an_older_version_replayed_is_refused(store: Path) -> None:
    put(store, "1.10", NEW)
    with pytest.raises(InstallError, match=r"1\.10 is installed; 1\.9 is older") as error:
        put(store, "1.9", OLD)
    assert error.value.code == "rollback"
    assert content_of(store) == NEW


def test_installing_the_same_package_again_changes_nothing(store: Path, tmp_path: Path) -> None:
    first = put(store, "1.0", OLD)
    steps: list[str] = []
    assert install(package(tmp_path, OLD), True, KEY, store, "tool", "1.0", step=steps.append) == first
    assert steps == []


def test_a_damaged_item_is_installed_anew_from_the_same_package(store: Path, tmp_path: Path) -> None:
    item = put(store, "1.0", OLD)
    item_path(store, item).write_bytes(b"damaged")
    assert not is_whole(store, item)
    install(package(tmp_path, OLD), True, KEY, store, "tool", "1.0")
    assert content_of(store) == OLD


def test_other_bytes_under_the_installed_version_are_refused(store: Path) -> None:
    put(store, "1.0", OLD)
    with pytest.raises(InstallError) as error:
        put(store, "1.0", NEW)
    assert error.value.code == "conflict"
    assert content_of(store) == OLD


@pytest.mark.parametrize("cut", [1, 16, 65_552, 140_000])
def test_a_truncated_sealed_file_is_refused_and_the_old_version_stays(store: Path, tmp_path: Path, cut: int) -> None:
    put(store, "1.0", OLD)
    file = package(tmp_path, NEW)
    os.truncate(file, file.stat().st_size - cut)
    with pytest.raises(InstallError, match="cut off") as error:
        install(file, True, KEY, store, "tool", "2.0")
    assert error.value.code == "not_opened"
    assert sorted(entry.name for entry in store.iterdir()) == ["tool"]  # the failed change left nothing
    assert content_of(store) == OLD


@pytest.mark.parametrize("key", [None, bytes(32)], ids=["no key", "another key"])
def test_without_the_right_key_nothing_is_installed(store: Path, tmp_path: Path, key: bytes | None) -> None:
    with pytest.raises(InstallError) as error:
        install(package(tmp_path, NEW), True, key, store, "tool", "2.0")
    assert error.value.code == "not_opened"
    assert content_of(store) is None


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def kill_at(name: str) -> Callable[[str], None]:
    def step(reached: str) -> None:
        if reached == name:
            raise Killed

    return step


@pytest.mark.parametrize("name", STEPS)
def test_killed_before_any_step_the_old_or_the_new_version_is_there_whole(store: Path, name: str) -> None:
    put(store, "1.0", OLD)
    with pytest.raises(Killed):
        put(store, "2.0", NEW, kill_at(name))
    assert content_of(store) == (NEW if name in ("clean", "forget") else OLD)
    put(store, "2.0", NEW)
    assert content_of(store) == NEW


@pytest.mark.parametrize("name", STEPS)
def test_killed_before_any_step_of_a_first_installation_all_or_nothing_is_there(store: Path, name: str) -> None:
    with pytest.raises(Killed):
        put(store, "1.0", NEW, kill_at(name))
    assert content_of(store) == (NEW if name in ("clean", "forget") else None)


def test_every_step_is_reached_once_and_in_order(store: Path) -> None:
    steps: list[str] = []
    put(store, "1.0", OLD, steps.append)
    assert tuple(steps) == STEPS


def test_a_real_kill_in_the_middle_of_unsealing_leaves_the_old_version(store: Path) -> None:
    put(store, "1.0", OLD)
    file = package(store.parent, NEW)
    child = os.fork()
    if child == 0:
        install(
            file,
            True,
            KEY,
            store,
            "tool",
            "2.0",
            step=lambda name: os.kill(os.getpid(), 9) if name == "place" else None,
        )
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert (store / ".incoming" / "tool.bin").exists()
    assert content_of(store) == OLD


def test_a_full_disk_leaves_the_old_version(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "1.0", OLD)
    file = package(store.parent, NEW)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("terminal_sim.download.open_seal", full)
    with pytest.raises(OSError, match="No space"):
        install(file, True, KEY, store, "tool", "2.0")
    assert content_of(store) == OLD


def test_a_removed_item_is_gone_and_can_be_installed_again(store: Path) -> None:
    put(store, "1.0", OLD)
    assert remove(store, "tool")
    assert not remove(store, "tool")
    assert content_of(store) is None
    put(store, "1.0", OLD)
    assert content_of(store) == OLD


@pytest.mark.parametrize(("place", "left"), [("_write_json", OLD), ("sync_directory", OLD), ("_remove_others", None)])
def test_killed_in_a_removal_the_item_is_there_whole_or_gone(
    store: Path, monkeypatch: pytest.MonkeyPatch, place: str, left: bytes | None
) -> None:
    """Before the journal is written, before it is durable, and after the item was given up."""
    put(store, "1.0", OLD)

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(f"terminal_sim.download.{place}", killed)
        with pytest.raises(Killed):
            remove(store, "tool")
    assert content_of(store) == left
    assert remove(store, "tool") == (left is not None)
    assert content_of(store) is None


@pytest.mark.parametrize(
    ("product", "version"),
    [("../x", "1"), ("tool", "../1"), ("", "1"), (".incoming", "1"), ("a/b", "1"), ("tool", "a b")],
)
def test_names_that_lead_out_of_the_store_are_refused(store: Path, tmp_path: Path, product: str, version: str) -> None:
    with pytest.raises(InstallError) as error:
        install(package(tmp_path, NEW), True, KEY, store, product, version)
    assert error.value.code == "bad_name"
    assert not store.exists()


def test_a_version_that_cannot_be_compared_does_not_replace_one(store: Path) -> None:
    put(store, "1.0", OLD)
    with pytest.raises(InstallError) as error:
        put(store, "latest", NEW)
    assert error.value.code == "bad_version"
