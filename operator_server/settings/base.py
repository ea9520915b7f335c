"""What the sections are made of."""

from __future__ import annotations

import ipaddress

from pydantic import BaseModel, ConfigDict

from signalling.money import decimal_micros


class SettingsError(ValueError):
    """Settings that cannot be used; one line per fault, each with file, key and reason."""


class Section(BaseModel):
    """Base of the sections: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid")


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, and cannot be another."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def not_below_zero(value: str) -> str:
    """An amount as it is written. Raises ``ValueError``."""
    if decimal_micros(value) < 0:
        raise ValueError(f"{value!r} is below zero")
    return value
