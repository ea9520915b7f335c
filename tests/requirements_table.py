"""Prints which sentences of docs/requirements.md tests prove: ``pytest -p tests.requirements_table -m requirement``."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

SENTENCES = Path(__file__).parents[1] / "docs" / "requirements.md"
_SENTENCE = re.compile(r"^- \*\*([A-Z]\d+)\*\* (.+)$", re.MULTILINE)


def sentences() -> dict[str, str]:
    """The sentences by their ids."""
    return dict(_SENTENCE.findall(SENTENCES.read_text(encoding="utf-8")))


class Tally:
    """Counts tests by sentence; under xdist it sees the reports of all workers."""

    def __init__(self) -> None:
        self.tests: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in one phase of one test."""
        for name, sentence in report.user_properties:
            if name == "requirement":
                self.tests[str(sentence)] += report.when == "setup"
                self.failed[str(sentence)] += report.failed
                self.skipped[str(sentence)] += report.skipped

    def pytest_terminal_summary(self) -> None:
        """Print the table."""
        Console().print(self.table())

    def table(self) -> Table:
        """A row a sentence, those without a test among them."""
        table = Table(title="Requirements", expand=True)
        table.add_column("id", width=3)
        table.add_column("sentence", no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column("tests", width=5, justify="right")
        table.add_column("state", width=10)
        known = sentences()
        for sentence in [*known, *sorted(set(self.tests) - set(known))]:
            text = known.get(sentence, "(not in docs/requirements.md)")
            table.add_row(sentence, text, str(self.tests[sentence]), self.state(sentence))
        return table

    def state(self, sentence: str) -> str:
        """What the tests say of one sentence."""
        if not self.tests[sentence]:
            return "[yellow]open[/]"
        if self.failed[sentence]:
            return f"[red]{self.failed[sentence]} failed[/]"
        if self.skipped[sentence]:
            return f"[yellow]{self.skipped[sentence]} skipped[/]"
        return "[green]passed[/]"


def pytest_configure(config: pytest.Config) -> None:
    """Count in the process that hears of all tests."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Tally(), "requirements-tally")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Reports carry no marks, so each test's sentences travel as properties of its report."""
    for item in items:
        for mark in item.iter_markers("requirement"):
            item.user_properties += [("requirement", sentence) for sentence in mark.args]
