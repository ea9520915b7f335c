"""One small demo for all tests that look at what it makes."""

from __future__ import annotations

import pytest
from demo_runs import Ran, run_demo


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run_demo(tmp_path_factory.mktemp("demo") / "out", "--terminals", "30", "--seed", "7")
