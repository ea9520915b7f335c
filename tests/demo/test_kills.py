"""The server is killed again and again under the load of a fleet; what was acknowledged stays, and nothing doubles."""

from __future__ import annotations

from pathlib import Path

import pytest
from demo_runs import run_demo

pytestmark = pytest.mark.slow


@pytest.mark.requirement("S11")
@pytest.mark.requirement("S15")
def test_kills_lose_nothing_acknowledged_and_charge_nothing_twice(tmp_path: Path) -> None:
    ran = run_demo(tmp_path / "out", "--terminals", "20", "--seed", "3", "--kills", "24")
    assert ran.figures["kills_under_load"] >= 20
    assert ran.figures["deliveries"] > 25
    assert ran.figures["counter_reports"] > 15
    assert ran.figures["snmp_device"]["MiB charged"] > 0
    assert ran.figures["SIM_phones"]["agreements"] >= 4
    assert (ran.figures["acknowledged_and_lost"], ran.figures["ledger_findings"]) == (0, 0), ran.progress
    assert ran.figures["reconciled"], ran.progress
    assert ran.code == 0, ran.progress
