"""Plays a WAV by a program of this machine, where there is one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PLAYERS = (("pw-play",), ("paplay",), ("aplay", "-q"), ("afplay",), ("play", "-q"))
LONGEST_SECONDS = 90


def player() -> tuple[str, ...] | None:
    """The first player on the PATH with its options; ``None`` where there is none."""
    return next((each for each in PLAYERS if shutil.which(each[0])), None)


def play(path: Path) -> str:
    """Play a file to its end; why it could not be heard, empty where it was."""
    command = player()
    if command is None:
        return f"no player ({', '.join(each[0] for each in PLAYERS)}) is on this machine; the sound is in {path}"
    try:
        done = subprocess.run([*command, str(path)], capture_output=True, timeout=LONGEST_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]} did not play {path}: {error}"
    return "" if done.returncode == 0 else f"{command[0]} ended with {done.returncode}; the sound is in {path}"
