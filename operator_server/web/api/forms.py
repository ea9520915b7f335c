"""Forms of values that many resources share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from signalling.money import decimal_micros, format_micros

Identifier = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:@-]{1,64}$")]
"""An id in a path."""

IdFilter = Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9._:@-]{0,64}$")]
"""An id to filter by; empty for any."""

PERIOD = "(19[7-9][0-9]|[2-8][0-9]{3})-(0[1-9]|1[0-2])"
"""A month, as a pattern."""

Month = Annotated[str, Query(max_length=7, pattern=f"^({PERIOD})?$", description="Such as 2026-10")]

Moment = datetime
"""An instant in UTC."""


class Form(BaseModel):
    """A body that is sent: keys that there are not are refused."""

    model_config = ConfigDict(extra="forbid", str_max_length=10_000)


PLAIN: dict[str, JsonValue] = {"pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}
"""For ``json_schema_extra``: a text of one line without control characters; that it is one is checked further in."""

NAMED: dict[str, JsonValue] = {"pattern": r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"}
"""The same, and not of spaces alone."""


def _amount(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError('an amount is written as a string, such as "4.99": a number may be a binary float')
    return value


def _decimal(value: str) -> str:
    decimal_micros(value)
    return value


Amount = Annotated[
    str,
    Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})?$", examples=["4.99"], description="Decimal, in major units"),
    BeforeValidator(_amount),
    AfterValidator(_decimal),
]
"""An amount that is sent: never a number, which might be a binary float."""


def amount(micros: int, currency: str) -> str:
    """An amount that is told."""
    return format_micros(micros, currency)
