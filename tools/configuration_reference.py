"""Writes docs/configuration.md from the settings: ``python -m tools.configuration_reference``."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from operator_server.settings import CalendarPlan, ReminderLevel, Settings

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
NOT_SET_BY_HAND = "config_dir"

HEAD = """\
# Configuration

This page is written by `python -m tools.configuration_reference` from the settings themselves; a test holds it current.

The settings of an operator stand in `operator.toml` of the configuration folder. Commands find the folder by `--config`
or the variable `TOLLGATE_CONFIG`; without them it is `configs`. An environment variable stands above the file:
`TOLLGATE_LINK__PORT=7001` sets `port` of `[link]`; lists and tables are written as JSON there. An unknown key in the
file is an error. `tollgate check FOLDER` reads settings, tariffs and offers and names every fault.

A server reads its settings when it starts; changes need a restart. Offers and tariffs are taken over while it runs
([offers.md](offers.md), [tariffs.md](tariffs.md)).
"""


def page() -> str:
    """The whole document."""
    parts = [HEAD]
    single = {}
    for name, field in Settings.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            parts.append(_section(f"[{name}]", model, f"TOLLGATE_{name.upper()}__"))
            if name == "interrogation":
                parts.append(_section("[[interrogation.calendar]]", CalendarPlan, ""))
            if name == "receivables":
                parts.append(_section("[[receivables.reminders]]", ReminderLevel, ""))
        elif name != NOT_SET_BY_HAND:
            single[name] = field
    parts.append("## Outside of sections\n\nThese stand at the top of the file, before the first section.\n")
    parts.append(_table(single, "TOLLGATE_"))
    return "\n".join(parts)


def _section(title: str, model: type[BaseModel], prefix: str) -> str:
    purpose = (model.__doc__ or "").strip().splitlines()[0]
    return f"## {title}\n\n{purpose}\n\n{_table(model.model_fields, prefix)}"


def _table(fields: dict[str, FieldInfo], prefix: str) -> str:
    columns = ["Key", "Type", "Default", "Meaning", "Variable"]
    lines = [_row(columns), _row(["---"] * len(columns))]
    for name, field in fields.items():
        default = "needed" if field.is_required() else f"`{_value(field.default)}`"
        variable = f"`{prefix}{name.upper()}`" if prefix else ""
        lines.append(_row([f"`{name}`", _type(field), default, field.description or "", variable]))
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _value(value: Any) -> str:
    return json.dumps(str(value) if isinstance(value, Path | SecretStr) else value, default=BaseModel.model_dump)


def _type(field: FieldInfo) -> str:
    limits = [
        f"{text} {bound}"
        for rule in field.metadata
        for attribute, text in (("ge", "at least"), ("gt", "more than"), ("le", "at most"))
        if (bound := getattr(rule, attribute, None)) is not None
    ]
    return ", ".join([_name(field.annotation), *limits])


def _name(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _name(get_args(annotation)[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if origin is list:
        inner = get_args(annotation)[0]
        return "tables" if isinstance(inner, type) and issubclass(inner, BaseModel) else f"list of {_name(inner)}"
    if origin is dict:
        return "table of texts"
    assert not isinstance(origin, types.UnionType)
    return {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "`true` or `false`",
        Path: "path",
        SecretStr: "text",
    }[annotation]


def undescribed() -> Iterator[str]:
    """Keys without a meaning."""
    models = [field.annotation for field in Settings.model_fields.values()]
    for model in [*models, CalendarPlan]:
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from (f"{model.__name__}.{name}" for name, f in model.model_fields.items() if not f.description)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
