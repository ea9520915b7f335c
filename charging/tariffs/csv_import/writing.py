"""Writing tariff files: all of them, checked as the book checks them, or none."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from charging.tariffs.book import Problem, TariffBook


def write_tariffs(files: Mapping[str, str], target: Path, *, replace: bool = False) -> list[Problem]:
    """Write each tariff to ``target/ID.toml`` and return nothing, or write nothing and return every problem.

    The tariffs that are in the folder already count: an id must not stand twice, and a file that is there is only
    written over with ``replace``. Raises ``OSError``.
    """
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".import-") as name:
        folder = Path(name)
        for path in target.glob("*.toml"):
            (folder / path.name).write_bytes(path.read_bytes())
        problems: list[Problem] = []
        for tariff, text in files.items():
            path = folder / f"{tariff}.toml"
            if path.exists() and not replace and path.read_text(encoding="utf-8") != text:
                problems.append(Problem(str(target / path.name), "", "", "is there already with other content"))
            path.write_text(text, encoding="utf-8")
        if problems:
            return problems
        _, problems = TariffBook.load(folder)
        if problems:
            return [
                Problem(each.file.replace(name, str(target)), each.key, each.value, each.reason) for each in problems
            ]
        for tariff in files:
            (folder / f"{tariff}.toml").replace(target / f"{tariff}.toml")
    return []
