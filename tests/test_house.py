"""Style, types, layers and pins hold."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import sysconfig
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("signalling", "charging", "offers", "operator_server", "terminal_sim")
RULES = ("signalling", "charging", "offers")


def run(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_ruff_finds_nothing() -> None:
    run("ruff", "check", "--quiet", ".")


def test_the_format_is_ruffs() -> None:
    run("ruff", "format", "--check", "--quiet", ".")


def test_the_types_hold() -> None:
    run("mypy", *(argument for package in PACKAGES for argument in ("-p", package)))


def test_the_arrows_point_one_way() -> None:
    program = Path(sysconfig.get_path("scripts")) / "lint-imports"
    done = subprocess.run([program, "--config", "setup.cfg"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_imports_in_a_circle() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    TopologicalSorter({each: graph.find_modules_directly_imported_by(each) for each in graph.modules}).prepare()


@pytest.mark.parametrize("package", RULES)
def test_the_rules_read_no_clock(package: str) -> None:
    reading = re.compile(r"datetime\.now|datetime\.utcnow|time\.time\(|time\.monotonic|date\.today")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / package).rglob("*.py"))
        if path != ROOT / "signalling" / "clock.py"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if reading.search(line)
    ]
    assert not found, f"`now` is a parameter of every rule: {', '.join(found)}"


def test_everything_that_is_installed_is_pinned() -> None:
    config = setup_cfg()
    wanted = config["options"]["install_requires"] + config["options.extras_require"]["dev"]
    names = {canonicalize_name(Requirement(line).name) for line in wanted.split("\n") if line.strip()}
    pins = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1].isalnum()]
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    assert names <= {canonicalize_name(pin.name) for pin in pins}, "run `make constraints`"
