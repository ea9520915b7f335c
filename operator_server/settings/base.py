"""What the sections are made of."""

from __future__ import annotations

import ipaddress
from typing import Any

from pydantic import BaseModel, ConfigDict
from stdnum import bic, iban
from stdnum.eu import at_02
from stdnum.exceptions import ValidationError as NumberError

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


def checked_iban(value: str) -> str:
    """An IBAN without spaces whose check digits hold (ISO 13616). Raises ``ValueError``."""
    return _checked(iban, "IBAN", value)


def checked_bic(value: str) -> str:
    """A BIC of 8 or 11 characters (ISO 9362). Raises ``ValueError``."""
    return _checked(bic, "BIC", value)


def checked_creditor(value: str) -> str:
    """A SEPA creditor identifier whose check digits hold (AT-02). Raises ``ValueError``."""
    return _checked(at_02, "creditor identifier", value)


def _checked(rules: Any, what: str, value: str) -> str:
    try:
        return str(rules.validate(value))
    except NumberError as error:
        raise ValueError(f"{what} {value!r}: {error}") from None
