"""``python -m bench [--only NAME]``: run the benchmarks, show the figures, write ``bench/results.json``."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.report import TARGETS, Target, figures_table, judged

MODULES = (
    "logon",
    "charges",
    "reserve",
    "class_lookup",
    "idle_links",
    "rating",
    "bulk_rating",
    "usage_import",
    "snmp",
    "bill_run",
    "card",
    "web",
)
RESULTS = Path(__file__).with_name("results.json")


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen benchmarks; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Speed, each figure beside its ceiling.")
    parser.add_argument("--only", choices=MODULES, action="append", help="run this benchmark alone; may be repeated")
    chosen = parser.parse_args(arguments).only or MODULES
    console = Console()
    rows: list[dict[str, Any]] = []
    targets: dict[str, Target] = dict(TARGETS)
    for name in chosen:
        module = importlib.import_module(f"bench.{name}")
        start = time.perf_counter()
        with console.status(f"bench.{name} ..."):
            figures = module.run()
        console.print(f"bench.{name}: {len(figures)} figures in {time.perf_counter() - start:.0f} s")
        rows += figures
        targets |= getattr(module, "TARGETS", {})
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    console.print(figures_table(rows, targets))
    console.print(f"written to {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}")
    missed = [row["name"] for row in rows if judged(row, targets) is False]
    if missed:
        console.print(f"[red]missed:[/] {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
