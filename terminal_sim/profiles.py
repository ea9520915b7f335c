"""Profiles of simulated terminals: what they are made of and how their users behave, from TOML files.

A profile is a kind of device. ``choice`` tables vary it: of each, one option is drawn by its weight and laid over the
profile, so that one file gives several configurations. All probabilities lie between 0 and 1.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from signalling.configuration import Configuration, ConfigurationError
from signalling.money import MoneyError, decimal_micros

Probability = Annotated[float, Meta(ge=0, le=1)]
Weight = Annotated[int, Meta(ge=0)]


class ProfileError(ValueError):
    """A profile that cannot be used; the text names file, key and reason."""


class Option(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way in which terminals of a profile differ."""

    weight: Annotated[int, Meta(ge=1)] = 1
    hardware: dict[str, str] = {}
    firmware: dict[str, str] = {}
    base_software: dict[str, str] = {}


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of which each terminal has one."""

    options: Annotated[list[Option], Meta(min_length=1)]


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a user does with the menu and with what is installed.

    ``take`` and ``reject`` per offer shown; what is left is "later". ``modes``: preference by kind of charging mode.
    ``counter_proposal``: answers a quote with another mode or ``spending_limit`` (major units a period).
    ``decline``: leaves at the quote. ``uses_a_day`` per installed item that is counted; ``units_a_use``: least and
    most units, by the counter's unit.
    """

    take: Probability = 0.3
    reject: Probability = 0.3
    modes: dict[str, Weight] = {}
    counter_proposal: Probability = 0.0
    spending_limit: str = "5.00"
    decline: Probability = 0.0
    uses_a_day: Annotated[float, Meta(ge=0, le=1000)] = 1.0
    units_a_use: dict[str, tuple[int, int]] = {}
    languages: tuple[str, ...] = ("en",)

    def limit_micros(self) -> int:
        """The spending limit in micros."""
        return decimal_micros(self.spending_limit)


class FaultRates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often a terminal misbehaves on purpose.

    ``cut_link``: per message, the link breaks right after it. ``forget_answer``: per answer, it is lost.
    ``repeat_report``: per report message, it is sent twice. ``report_late``: per session, it does not report.
    ``break_download``: per session, one download breaks in the middle. ``spoil_download``: per session, one download
    arrives altered, so that it is refused and the delivery fails. ``reset_counter``: per session and counter, its value
    is lost.
    """

    cut_link: Probability = 0.0
    forget_answer: Probability = 0.0
    repeat_report: Probability = 0.0
    report_late: Probability = 0.0
    break_download: Probability = 0.0
    spoil_download: Probability = 0.0
    reset_counter: Probability = 0.0


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of device with its users; ``share`` is its weight in a fleet."""

    name: str
    hardware: dict[str, str]
    share: Weight = 1
    firmware: dict[str, str] = {}
    base_software: dict[str, str] = {}
    choice: list[Choice] = []
    user: Behaviour = Behaviour()
    faults: FaultRates = FaultRates()

    def configuration(self, chance: random.Random) -> Configuration:
        """One terminal of this kind."""
        hardware, firmware, software = dict(self.hardware), dict(self.firmware), dict(self.base_software)
        for choice in self.choice:
            option = chance.choices(choice.options, [option.weight for option in choice.options])[0]
            hardware |= option.hardware
            firmware |= option.firmware
            software |= option.base_software
        return Configuration(hardware=hardware, firmware=firmware, base_software=software)


def read_profile(path: Path) -> Profile:
    """The profile in a file, checked whole. Raises :class:`ProfileError`."""
    try:
        profile = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Profile)
    except OSError as error:
        raise ProfileError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: not TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise ProfileError(f"{path}: {error}") from None
    options = [option for choice in profile.choice for option in choice.options]
    try:
        profile.user.limit_micros()
        Configuration(profile.hardware, profile.firmware, profile.base_software).code()
        for option in options:
            Configuration(option.hardware, option.firmware, option.base_software).code()
    except (ConfigurationError, MoneyError) as error:
        raise ProfileError(f"{path}: {error}") from None
    if profile.user.take + profile.user.reject > 1:
        raise ProfileError(f"{path}: user.take + user.reject are more than 1")
    for unit, (least, most) in profile.user.units_a_use.items():
        if not 1 <= least <= most:
            raise ProfileError(f"{path}: user.units_a_use.{unit}: from {least} to {most}")
    return profile


def read_profiles(folder: Path) -> list[Profile]:
    """All profiles of a folder, by file name. Raises :class:`ProfileError`."""
    profiles = [read_profile(path) for path in sorted(folder.glob("*.toml"))]
    if not any(profile.share for profile in profiles):
        raise ProfileError(f"{folder}: no profile (*.toml) with a share above 0")
    return profiles


def draw(profiles: Sequence[Profile], chance: random.Random) -> Profile:
    """One profile, by share."""
    return chance.choices(profiles, [profile.share for profile in profiles])[0]
