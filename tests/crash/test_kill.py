"""SIGKILL at any moment: what was acknowledged is there once, nothing is there twice, and the rest goes on.

``TOLLGATE_KILLS`` says how often each work is killed; `make crash` kills it hundreds of times.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from crash_work import (
    ACCOUNTS,
    RECORDS,
    Acknowledge,
    bill,
    charge,
    charged_once,
    database,
    findings,
    numbers,
    prepare_bills,
    prepare_charging,
    prepare_import,
    print_to,
    take,
    taken,
)

KILLS = int(os.environ.get("TOLLGATE_KILLS", "12"))
pytestmark = pytest.mark.slow


def killed(work: Callable[[Acknowledge], None], after: float) -> tuple[bool, list[str]]:
    """Run ``work`` in a process that is killed after so many seconds: whether it was, and what it acknowledged."""
    source, target = os.pipe()
    child = os.fork()
    if not child:
        os.close(source)
        # A collection of all that the tests hold takes longer than the child may live.
        gc.freeze()
        try:
            work(lambda name: print_to(target, name))
            sys.stdout.flush()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child must not go on as the test
            traceback.print_exc()
            os._exit(1)
    os.close(target)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with open(source, encoding="utf-8") as reading:
        lines = reading.read().split("\n")
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, "the work failed by itself; see above"
    return os.WIFSIGNALED(status), lines[:-1]


def test_charging(tmp_path: Path) -> None:
    prepare_charging(tmp_path)
    chosen = random.Random(KILLS)
    acknowledged: set[str] = set()
    for _ in range(KILLS):
        was_killed, told = killed(partial(charge, tmp_path), chosen.uniform(0.01, 0.25))
        acknowledged |= set(told)
        assert was_killed
        engine = database(tmp_path)
        assert charged_once(engine, acknowledged) == []
        engine.dispose()
    assert len(acknowledged) > KILLS, "the work was killed before it did any"
    assert findings(database(tmp_path)) == []


def test_an_import(tmp_path: Path) -> None:
    for folder, told in killed_and_taken_up(tmp_path, prepare_import, take, longest=0.5):
        assert told == [f"{RECORDS} taken"]
        assert taken(database(folder)) == RECORDS
        assert findings(database(folder)) == []


def test_a_bill_run(tmp_path: Path) -> None:
    for folder, told in killed_and_taken_up(tmp_path, prepare_bills, bill, longest=0.3):
        assert told == [f"{ACCOUNTS} invoices"]
        assert numbers(database(folder)) == list(range(1, ACCOUNTS + 1)), "numbers have no gap"
        assert findings(database(folder)) == []


def killed_and_taken_up(
    tmp_path: Path, prepare: Callable[[Path], None], work: Callable[[Path, Acknowledge], None], *, longest: float
) -> Iterator[tuple[Path, list[str]]]:
    """Kill the work and take it up again until it is done, in as many folders as it takes to kill it often enough.

    Gives each folder with what the work told at its end. ``longest``: seconds until a kill.
    """
    chosen = random.Random(KILLS)
    kills = rounds = 0
    while kills < KILLS:
        folder = tmp_path / str(rounds)
        folder.mkdir()
        rounds += 1
        prepare(folder)
        was_killed, told = True, [""]
        while was_killed:
            was_killed, told = killed(partial(work, folder), chosen.uniform(0.02, longest))
            kills += was_killed
        yield folder, told
