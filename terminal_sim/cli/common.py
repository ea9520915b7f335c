"""What the commands share: options, errors in one line, the screen."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console

from signalling.clock import Clock, SharedClock, SystemClock
from signalling.configuration import Configuration, ConfigurationError
from terminal_sim.card import CardFileError
from terminal_sim.host import read_host
from terminal_sim.journal import JournalError
from terminal_sim.profiles import ProfileError, read_profile
from terminal_sim.roaming import RoamingError
from terminal_sim.trust import TrustError

StateOption = Annotated[Path, typer.Option("--state", help="Folder of the terminal.")]
ClockOption = Annotated[str, typer.Option("--clock", help="'system', or 'file:PATH' for a simulated clock.")]

console = Console()


def says_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Errors that are for the user are told in one line and end with status 1."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except (
            TrustError,
            JournalError,
            ProfileError,
            ConfigurationError,
            CardFileError,
            FileExistsError,
            RoamingError,
        ) as error:
            fail(str(error))
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))

    return run


def fail(text: str) -> NoReturn:
    """Tell the user and end with status 1."""
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def clock_named(text: str) -> Clock:
    """The clock that ``--clock`` names. Raises :class:`terminal_sim.trust.TrustError`."""
    if text == "system":
        return SystemClock()
    if not text.startswith("file:"):
        raise TrustError(f"--clock {text}: 'system' or 'file:PATH'")
    return SharedClock(Path(text.removeprefix("file:")))


def configuration_of(profile: Path | None) -> Configuration:
    """From a profile in TOML, from a configuration in JSON as ``profile`` writes it, or of this machine.

    Raises :class:`terminal_sim.profiles.ProfileError`, ``ConfigurationError``, ``OSError``.
    """
    if profile is None:
        return read_host()
    if profile.suffix == ".toml":
        kind = read_profile(profile)
        configuration = Configuration(kind.hardware, kind.firmware, kind.base_software)
    else:
        try:
            configuration = msgspec.json.decode(profile.read_bytes(), type=Configuration)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ProfileError(f"{profile}: not a configuration: {error}") from None
    configuration.code()
    return configuration


def say(text: str) -> None:
    """A line on the screen, as it is."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
