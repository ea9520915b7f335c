"""An offer as a form: its fields from the TOML, and TOML of the fields. What has no field stays as it was."""

from __future__ import annotations

from copy import deepcopy
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from operator_server.offering.toml_text import parsed, toml_text
from operator_server.web.console.base import Form

LISTS = (
    ("target", "model"), ("target", "manufacturer"), ("target", "firmware"), ("target", "base_software"),
    ("target", "requires"), ("target", "conflicts"), ("subscribers", "include"), ("subscribers", "exclude"),
    ("", "depends_on"),
)  # fmt: skip
MODE_TEXTS = (
    "id", "kind", "amount", "currency", "tax_category", "tariff", "spending_limit_min", "payment", "period", "charged",
    "notice", "trial",
)  # fmt: skip
_USUAL = {"payment": "postpaid", "charged": "advance"}
_NOT_WITH = {
    "per_use": ("amount", "currency", "tax_category", "period", "charged", "notice"),
    "free": ("amount", "tariff", "period", "charged", "payment", "trial", "notice", "spending_limit_min"),
    "one_off": ("tariff", "period", "charged", "notice", "spending_limit_min"),
    "subscription": ("tariff", "spending_limit_min"),
}
"""Fields of a mode that are not for its kind; what stands in them is not sent on."""
MOST_MODES, MOST_LANGUAGES = 20, 20


def fields_of(source: str, language: str, zone: str) -> dict[str, Any]:
    """What the form shows of an offer; for an empty ``source`` an empty form."""
    document = parsed(source)
    texts = document.get("text") or {}
    languages = [language, *(each for each in texts if each != language)]
    valid, rejection = document.get("valid") or {}, document.get("rejection") or {}
    fields: dict[str, Any] = {
        "id": document.get("id", ""), "product": document.get("product", ""), "kind": document.get("kind", "software"),
        "release": document.get("release", "latest"), "priority": str(document.get("priority", 0)),
        "memory": str((_table(document, "target").get("minima") or {}).get("memory_mib", "")),
        "from": local_text(valid.get("from"), zone), "until": local_text(valid.get("until"), zone),
        "rejection": str(rejection.get("until", "never")),
        "new_release": "new_release" in rejection.get("reopen_on", []),
        "new_price": "new_price" in rejection.get("reopen_on", []),
        "texts": [
            {"language": each, "title": texts.get(each, {}).get("title", ""),
             "description": texts.get(each, {}).get("description", "")}
            for each in languages
        ] + [{"language": "", "title": "", "description": ""}],
    }  # fmt: skip
    for table, key in LISTS:
        fields[key] = ", ".join(map(str, _table(document, table).get(key) or []))
    modes = [mode for mode in document.get("mode") or [] if isinstance(mode, dict)]
    fields["modes"] = [_mode_fields(mode, language) for mode in (*modes[: MOST_MODES - 1], {})]
    return fields


def _mode_fields(mode: dict[str, Any], language: str) -> dict[str, str]:
    return {
        **{key: str(mode.get(key, _USUAL.get(key, ""))) for key in MODE_TEXTS},
        "label": _in(mode.get("label"), language),
        "groups": ", ".join(map(str, mode.get("groups") or [])),
    }


def source_of_form(form: Form, before: str, language: str, zone: str) -> str:
    """The TOML of a form that was sent. ``before``: what it was made of. Raises ``ValueError`` for what is no time."""
    document = deepcopy(parsed(before))
    for key in ("id", "product", "kind"):
        document[key] = form.text(key)
    _set(document, "release", form.text("release"), "latest")
    _set(document, "priority", _number(form.text("priority", "0")), 0)
    document["text"] = _texts(form, document.get("text") or {})
    for table, key in LISTS:
        _put(document, table, key, [entry.strip() for entry in form.text(key).split(",") if entry.strip()])
    minima = {k: v for k, v in (_table(document, "target").get("minima") or {}).items() if k != "memory_mib"}
    if form.text("memory"):
        minima["memory_mib"] = _number(form.text("memory"))
    _put(document, "target", "minima", minima)
    document["valid"] = {
        key: at for key in ("from", "until") if (at := instant(form.text(key), zone)) is not None
    }  # fmt: skip
    reopen = [each for each in ("new_release", "new_price") if form.has(each)]
    document["rejection"] = {
        **({"until": form.text("rejection")} if form.text("rejection") not in ("", "never") else {}),
        **({"reopen_on": reopen} if reopen else {}),
    }
    document["mode"] = _modes(form, [m for m in document.get("mode") or [] if isinstance(m, dict)], language)
    return toml_text({key: value for key, value in document.items() if value not in ({}, [], None)})


def instant(text: str, zone: str) -> datetime | None:
    """A time of a form, on the operator's clock. Raises ``ValueError``."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; write it as 2026-12-24T18:00") from None
    return at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))


def local_text(value: Any, zone: str) -> str:
    """A time as a field of a form has it."""
    if isinstance(value, datetime):
        return f"{(value if value.tzinfo is None else value.astimezone(ZoneInfo(zone))):%Y-%m-%dT%H:%M}"
    if isinstance(value, date):
        return f"{value:%Y-%m-%d}T00:00"
    return ""


def _texts(form: Form, before: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for number in range(MOST_LANGUAGES):
        language, title = form.text(f"language_{number}"), form.text(f"title_{number}")
        if language and (title or form.text(f"description_{number}")):
            kept = {k: v for k, v in (before.get(language) or {}).items() if k not in ("title", "description")}
            description = form.raw(f"description_{number}").strip()
            found[language] = {"title": title, **({"description": description} if description else {}), **kept}
    return found


def _modes(form: Form, before: list[dict[str, Any]], language: str) -> list[dict[str, Any]]:
    found = []
    for number in range(MOST_MODES):
        if not form.text(f"mode_{number}_id"):
            continue
        mode = dict(before[number]) if number < len(before) else {}
        kind = form.text(f"mode_{number}_kind")
        for key in MODE_TEXTS:
            value = form.text(f"mode_{number}_{key}")
            usual = _USUAL.get(key, "")
            if not value or (value == usual and key not in mode) or key in _NOT_WITH.get(kind, ()):
                mode.pop(key, None)
            else:
                mode[key] = value
        label = mode.get("label")
        said = form.text(f"mode_{number}_label")
        mode["label"] = {**label, language: said} if isinstance(label, dict) else {language: said}
        groups = [entry.strip() for entry in form.text(f"mode_{number}_groups").split(",") if entry.strip()]
        mode.pop("groups", None)
        found.append({**mode, **({"groups": groups} if groups else {})})
    return found


def _table(document: dict[str, Any], name: str) -> dict[str, Any]:
    if not name:
        return document
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _put(document: dict[str, Any], table: str, key: str, value: Any) -> None:
    place = _table(document, table)
    kept = {each: entry for each, entry in place.items() if each != key}
    if value:
        kept[key] = value
    if table:
        document[table] = kept
    else:
        document.clear()
        document.update(kept)


def _set(document: dict[str, Any], key: str, value: Any, usual: Any) -> None:
    document.pop(key, None)
    if value != usual and value != "":
        document[key] = value


def _number(text: str) -> int | str:
    """A whole number, else the text, so that the check names it with its key."""
    return int(text) if text.lstrip("-").isdigit() and text.isascii() and len(text) < 18 else text


def _in(texts: Any, language: str) -> str:
    if isinstance(texts, dict):
        return str(texts.get(language, next(iter(texts.values()), "")))
    return str(texts or "")
