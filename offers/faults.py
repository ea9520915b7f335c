"""From what the validation of an offer file says to problems that name the key, the value and the reason."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
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
    "less_than_equal": "too large: {le} at most",
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
    text = value.isoformat() if isinstance(value, date) else repr(value)
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


Loc = tuple[int | str, ...]
"""Where a value stands in an offer's table, as pydantic names it."""


def faulty_place(loc: Loc) -> Loc:
    """What has to be left out of an offer's table for the fault at ``loc``: a key, or a whole mode without a kind."""
    if loc[:1] == ("mode",):
        return loc[:2] if loc[2:3] == ("kind",) else loc[:3]
    return loc[:2]


def without(raw: Mapping[str, Any], faulty: Collection[Loc], language: str) -> dict[str, Any]:
    """An offer's table without its faulty places, with stand-ins for what it needs, so that the rest can be checked."""
    rest = {key: _copy(value) for key, value in raw.items()}
    for first, *way in faulty:
        table = rest.get(str(first))
        if first == "mode" and len(way) == 2 and isinstance(table, list):
            table = table[int(way.pop(0))]
        if len(way) == 1 and isinstance(table, dict):
            table.pop(way[0], None)
        elif first != "mode" or not isinstance(table, list) or not way:
            rest.pop(str(first), None)
    words: dict[str, Any] = {"id": "stand-in", "label": {language: "stand-in"}}
    modes = rest.get("mode") or [{}]
    rest["mode"] = [
        {**words, "id": f"stand-in-{number}", **mode} if isinstance(mode, dict) and "kind" in mode
        else {**words, "id": f"stand-in-{number}", "kind": "free"}
        for number, mode in enumerate(modes)
    ]  # fmt: skip
    return {"id": "stand-in", "product": "stand-in", "kind": "software", "text": {language: {"title": "-"}}, **rest}


def _copy(value: Any) -> Any:
    """As far down as faulty places are left out."""
    if isinstance(value, dict):
        return dict(value)
    return [dict(each) if isinstance(each, dict) else each for each in value] if isinstance(value, list) else value


def follows(loc: Sequence[int | str], faulty: Collection[Loc]) -> bool:
    """Whether what is wrong at ``loc`` may be due to what was left out."""
    place = tuple(loc)
    if place[2:] == ("trial_warning",) and (*place[:2], "trial") in faulty:
        return True
    return any(place[: len(other)] == other or other[: len(place)] == place for other in faulty)


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
