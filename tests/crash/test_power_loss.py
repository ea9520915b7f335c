"""A disk that loses all that was not flushed: what was acknowledged is there once.

``TOLLGATE_CRASHES`` says how many crashes each recording is laid out as; `make crash` lays out hundreds.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from crash_work import (
    ACCOUNTS,
    RECORDS,
    bill,
    charge,
    charged_once,
    database,
    findings,
    numbers,
    prepare_bills,
    prepare_charging,
    prepare_import,
    take,
    taken,
)
from power_loss import Acknowledged, Disk, Flush, Step, record
from sqlalchemy import Engine

CRASHES = int(os.environ.get("TOLLGATE_CRASHES", "16"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: apt-get install strace"),
]


def recorded(tmp_path: Path, kind: str, prepare: Callable[[Path], None]) -> tuple[Disk, list[Step]]:
    before, live = tmp_path / "before", tmp_path / "live"
    before.mkdir()
    prepare(before)
    shutil.copytree(before, live)
    told = tmp_path / "acknowledged"
    steps = record(live, [str(Path(__file__).with_name("crash_work.py")), kind, str(live), str(told)], told)
    assert any(isinstance(step, Acknowledged) for step in steps)
    return Disk(before, steps), steps


def crashes(disk: Disk, steps: list[Step], tmp_path: Path) -> list[tuple[Path, list[str]]]:
    """Crashes at points spread over the whole work, each laid out in a folder of its own."""
    chosen = random.Random(CRASHES)
    found = []
    for number in range(CRASHES):
        at = chosen.randrange(len(steps) * number // CRASHES, len(steps) * (number + 1) // CRASHES + 1)
        target = tmp_path / f"crash-{number}"
        found.append((target, disk.crash(at, chosen, target)))
    return found


def opened(folder: Path) -> Engine:
    engine = database(folder)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    return engine


def test_charging(tmp_path: Path) -> None:
    disk, steps = recorded(tmp_path, "charge", prepare_charging)
    most = 0
    for folder, promised in crashes(disk, steps, tmp_path):
        engine = opened(folder)
        assert charged_once(engine, promised) == []
        assert findings(engine) == []
        engine.dispose()
        most = max(most, len(promised))
        shutil.rmtree(folder)
    assert most > CRASHES


def test_a_crashed_disk_that_was_never_flushed_loses_what_was_acknowledged(tmp_path: Path) -> None:
    """The same recording without its flushes: this test's own test."""
    _, steps = recorded(tmp_path, "charge", prepare_charging)
    unflushed: list[Step] = [step for step in steps if not isinstance(step, Flush)]
    lost = 0
    for folder, promised in crashes(Disk(tmp_path / "before", unflushed), unflushed, tmp_path):
        engine = database(folder)
        try:
            lost += bool(charged_once(engine, promised))
        except Exception:  # noqa: BLE001 - a broken database is a loss as well, in whatever words
            lost += 1
        engine.dispose()
        shutil.rmtree(folder)
    assert lost > CRASHES // 2


def test_an_import_goes_on_after_it(tmp_path: Path) -> None:
    disk, steps = recorded(tmp_path, "import", prepare_import)
    for folder, promised in crashes(disk, steps, tmp_path):
        engine = opened(folder)
        assert findings(engine) == []
        assert not promised or taken(engine) == RECORDS
        told: list[str] = []
        take(folder, told.append)
        assert told == [f"{RECORDS} taken"]
        assert taken(engine) == RECORDS
        assert findings(engine) == []
        engine.dispose()
        shutil.rmtree(folder)


def test_a_bill_run_goes_on_after_it(tmp_path: Path) -> None:
    disk, steps = recorded(tmp_path, "bill", prepare_bills)
    for folder, promised in crashes(disk, steps, tmp_path):
        engine = opened(folder)
        assert findings(engine) == []
        assert not promised or numbers(engine) == list(range(1, ACCOUNTS + 1))
        bill(folder, lambda name: None)
        assert numbers(engine) == list(range(1, ACCOUNTS + 1))
        assert findings(engine) == []
        engine.dispose()
        shutil.rmtree(folder)


def test_charging_goes_on_after_it(tmp_path: Path) -> None:
    disk, steps = recorded(tmp_path, "charge", prepare_charging)
    folder = tmp_path / "crash"
    promised = disk.crash(len(steps) // 2, random.Random(1), folder)
    told: list[str] = []
    charge(folder, told.append, 60)
    assert set(promised) <= set(told)
    engine = opened(folder)
    assert charged_once(engine, told) == []
    assert findings(engine) == []
