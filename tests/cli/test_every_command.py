"""What holds of every command: an example in its help, JSON for programs, and nothing told of that there is not."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from command_tree import commands, options
from test_trail_of_commands import READS
from typer.testing import CliRunner

import terminal_sim.cli
from operator_server.cli.main import app

if TYPE_CHECKING:
    from conftest import Tollgate

ROOT = Path(__file__).parents[2]
COMMANDS = commands()

WITHOUT_JSON = {
    "serve": "runs until it is stopped",
    "credit-note show": "prints JSON in any case",
    "tone export": "prints the tone",
    "tone offers": "prints a TOML file",
    "tone sample": "writes a sound",
    "visited introduction": "prints a JSON file for the partner",
    "write-off notice": "prints a letter",
}
_EXAMPLE = re.compile(r"Example: (tollgate .+?)(?:\n\s*\n|\Z|, which)", re.DOTALL)
_BLOCK_LINE = re.compile(r"^(?:[A-Za-z_]+=\$\()?(tollgate(?:-terminal)? .+)$", re.MULTILINE)
_MENTION = re.compile(r"`(tollgate(?:-terminal)? [^`]+)`")


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_the_help_has_an_example_of_the_command_itself(path: str) -> None:
    found = _EXAMPLE.search(COMMANDS[path].help or "")
    assert found, f"tollgate {path}: its help has no 'Example: tollgate ...'"
    words = shlex.split(found[1])[1:]
    assert _fault(typer.main.get_command(app), words) == ""


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_every_option_and_argument_is_explained(path: str) -> None:
    silent = [each.name for each in COMMANDS[path].params if not getattr(each, "help", None) and each.name != "help"]
    assert silent == []


def test_every_command_answers_in_json_or_it_is_said_why_not() -> None:
    lacking = {path for path, command in COMMANDS.items() if "--json" not in options(command)}
    assert sorted(lacking - set(WITHOUT_JSON)) == []


def _texts() -> Iterator[tuple[str, str]]:
    for folder in ("operator_server", "charging", "offers", "terminal_sim"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def test_what_messages_and_documents_say_to_run_is_there() -> None:
    programs = {
        "tollgate": typer.main.get_command(app),
        "tollgate-terminal": typer.main.get_command(terminal_sim.cli.app),
    }
    faults = []
    for place, text in _texts():
        for found in _MENTION.finditer(text):
            # In a source a mention may go on in the next literal: what ends with a quote is cut there.
            program, *words = re.sub(r'["\'].*', "", found[1].replace("\n", " ")).split()
            if program in programs and words and (fault := _fault(programs[program], words)):
                faults.append(f"{place}: `{found[1][:60]}`: {fault}")
        for line in _BLOCK_LINE.findall(text) if place.endswith(".md") else ():
            program, *words = re.split(r"[|;#>)]", line)[0].split()
            if fault := _fault(programs[program], words):
                faults.append(f"{place}: {line[:60]}: {fault}")
    assert faults == []


def _fault(command: Any, words: list[str]) -> str:
    """Why these words are no call of the command; empty where they are."""
    while hasattr(command, "list_commands") and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        if words[0] not in command.list_commands(None):
            if getattr(command, "invoke_without_command", False):
                break
            return f"there is no command {words[0]}"
        command, words = command.get_command(None, words[0]), words[1:]
    known = {"--help", "--version", *(name for each in command.params for name in (*each.opts, *each.secondary_opts))}
    unknown = [word for word in words if re.fullmatch(r"--[a-z][a-z-]*", word) and word not in known]
    return f"{command.name} has no option {unknown[0]}" if unknown else ""


ARGUMENTS = {"top": ["--once"], "visited check": None, "interrogate": None}


def test_what_is_printed_with_json_is_json(tollgate: Tollgate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path, command in COMMANDS.items():
        more = [str(tollgate.config)] if path == "check" else ARGUMENTS.get(path, [])
        needs = [each.name for each in command.params if each.required]
        if path not in READS or "--json" not in options(command) or needs or more is None:
            continue
        result = CliRunner().invoke(app, [*path.split(), "--json", *more])
        assert result.exit_code in (0, 1, 2), path
        assert result.stdout or path == "event list", path
        for document in result.stdout.splitlines() if path == "event list" else [result.stdout]:
            json.loads(document)
