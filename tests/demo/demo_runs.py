"""Runs the demo as a person does, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ran:
    """A demo that has run: its exit code, its figures, and its folder."""

    code: int
    figures: dict[str, Any]
    folder: Path
    progress: str


def run_demo(folder: Path, *arguments: str) -> Ran:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TOLLGATE_")}
    done = subprocess.run(
        [sys.executable, "-m", "operator_server", "demo", "--json", "--out", str(folder), *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.stdout, done.stderr
    return Ran(done.returncode, json.loads(done.stdout), folder, done.stderr)
