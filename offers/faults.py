"""From what the validation of an offer file says to problems that name the key, the value and the reason."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from charging.tariffs import Problem

_REASONS = {
    "missing": "missing",
    "int_type": "a whole number is needed",
    "string_type": "a text is needed",
    "list_type": "a list is needed",
    "dict_type": "a table is needed",
    "model_type": "a table is needed",
    "literal_error": "must be {expected}",
    "string_too_short": "must not be empty",
    "string_too_long": "too long: {max_length} characters at most",
    "greater_than_equal": "too small: {ge} or more is needed",
}
_SHOWN = 60


def located(loc: Sequence[int | str], raw: Mapping[str, Any]) -> tuple[str, str]:
    """The key as it stands in the file, and what is written there; nothing for tables and for what is missing."""
    key = ""
    value: Any = raw
    for part in loc:
        if part == "[key]":
            continue
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            value = None
    if value is None or isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
        return key, ""
    text = repr(value)
    return key, text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def problem_of(detail: ErrorDetails, model: type[BaseModel], raw: Mapping[str, Any]) -> Problem:
    """One error of pydantic as a problem; the caller adds the file."""
    loc = detail["loc"]
    key, value = located(loc, raw)
    context = detail.get("ctx", {})
    if detail["type"] == "extra_forbidden":
        reason = f"unknown key; {nearest(str(loc[-1]), _keys_at(model, loc[:-1]))}"
    elif "error" in context:
        reason = str(context["error"])
    else:
        reason = _REASONS.get(detail["type"], detail["msg"]).format_map(context)
    return Problem("", key, value, reason)


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown word: the one that was probably meant, else which there are."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(words)}"


def _keys_at(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The keys that the table at ``loc`` may have."""
    for part in loc:
        fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
        if part in fields:
            model = next(_models(fields[str(part)]), model)
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[Any]:
    """The tables named in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
