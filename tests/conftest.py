"""What all tests share: where ``CI=true`` is set nothing may be skipped; a reactor that runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator
from typing import Any

import pytest

NO_SKIPS = os.environ.get("CI") == "true"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that is skipped fails where nothing may be skipped; one that is expected to fail is not skipped."""
    report = yield
    if NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file that skips itself."""
    report = yield
    if NO_SKIPS and report.skipped:
        _fail(report)
    return report


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"CI=true allows no skipped test. {reason}"


@pytest.fixture(scope="session")
def running_reactor() -> Iterator[Any]:
    """The reactor in a thread of its own, unless another test module has it running."""
    # Imported here: it installs itself, and most tests want none.
    from twisted.internet import reactor

    loop: Any = reactor
    if loop.running:
        yield loop
        return
    thread = threading.Thread(target=loop.run, args=(False,), daemon=True)
    thread.start()
    yield loop
    loop.callFromThread(loop.stop)
    thread.join(5)
