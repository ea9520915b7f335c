"""Texts by language, with the operator's default language for users whose language has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

DEFAULT = ""
"""The key under which a text in the operator's default language stands too."""


def in_language(texts: Mapping[str, T], language: str) -> T:
    """The text in ``language``: ``de-AT``, else ``de``, else the default language's. Raises ``KeyError`` without it."""
    return texts.get(language) or texts.get(language.partition("-")[0]) or texts[DEFAULT]


def with_default(texts: Mapping[str, T], default_language: str) -> dict[str, T]:
    """``texts`` with the default language's one under :data:`DEFAULT` too. Raises ``ValueError`` where it has none."""
    if DEFAULT in texts:
        return dict(texts)
    try:
        return {DEFAULT: texts[default_language], **texts}
    except KeyError:
        raise ValueError(f"has no text in {default_language!r}, the operator's default language") from None
