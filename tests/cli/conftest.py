"""The operator of the negotiation tests serves here too."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "negotiation"))
sys.path.insert(0, str(Path(__file__).parent.parent / "receivables"))

from operator_fixtures import furnished, house, user
from operator_samples import House
from typer.testing import CliRunner, Result

from operator_server.cli.main import app
from signalling.clock import SharedClock

__all__ = ["furnished", "house", "user"]


@dataclass
class Tollgate:
    """The command, on the house's configuration."""

    config: Path
    runner: CliRunner

    def __call__(self, *arguments: Any, code: int = 0) -> Result:
        """Run a command that must end with ``code``."""
        result = self.runner.invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result


@pytest.fixture
def tollgate(house: House, monkeypatch: pytest.MonkeyPatch) -> Tollgate:
    clock = house.folder / "clock"
    SharedClock(clock, start=house.clock.now())
    config = house.folder / "configs"
    monkeypatch.setenv("TOLLGATE_CONFIG", str(config))
    monkeypatch.setenv("TOLLGATE_CLOCK", f"file:{clock}")
    return Tollgate(config, CliRunner())
