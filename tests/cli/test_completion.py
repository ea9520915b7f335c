"""The shell completes the command's words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("typed", "offered"), [("tollgate doc", "doctor"), ("tollgate account top", "top-up")])
def test_bash_is_told_how_a_word_goes_on(typed: str, offered: str) -> None:
    words = typed.split()
    environment = {
        "_TOLLGATE_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1),
        "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    program = Path(sys.executable).with_name("tollgate")
    done = subprocess.run([program], env=environment, capture_output=True, text=True, check=False)
    assert offered in done.stdout.split()
