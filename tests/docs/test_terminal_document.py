"""What docs/terminal.md says of the menu and of profiles is what they have."""

from __future__ import annotations

import re

import msgspec
from document_reader import DOCS, code, tables

from terminal_sim.console import HELP
from terminal_sim.profiles import Behaviour, FaultRates, Profile

PAGE = DOCS / "terminal.md"


def test_every_command_of_the_menu_is_described_and_no_other() -> None:
    [table] = [table for table in tables(PAGE) if table.header[0] == "Command"]
    assert [code(row[0]).split()[0] for row in table.rows] == [line.split()[0] for line in HELP.splitlines()]
    shorts = dict(re.findall(r"^(\w+).*\((\w).*\)$", HELP, re.MULTILINE))
    assert {code(row[0]).split()[0]: code(row[1]).split()[0] for row in table.rows if row[1]} == shorts


def test_every_key_of_a_profile_is_described_and_no_other() -> None:
    [table] = [table for table in tables(PAGE) if table.heading == "Keys of a profile"]
    written = {code(key) for row in table.rows for key in row[0].split(", ")}
    expected = {field.name for field in msgspec.structs.fields(Profile)} - {"user", "faults"}
    expected |= {f"user.{field.name}" for field in msgspec.structs.fields(Behaviour)}
    expected |= {f"faults.{field.name}" for field in msgspec.structs.fields(FaultRates)}
    assert written == expected
