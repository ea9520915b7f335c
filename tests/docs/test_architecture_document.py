"""docs/architecture.md names every room there is, and none that there is not."""

from __future__ import annotations

import re

import pytest
from document_reader import DOCS, ROOT

PAGE = (DOCS / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("signalling", "charging", "offers", "operator_server", "terminal_sim")


def part(package: str) -> str:
    """What the page says under a package's heading."""
    found = re.search(rf"^## {package}\n(.*?)(?=^## )", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"there is no heading {package}"
    return found.group(1)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_of_a_package_is_named(package: str) -> None:
    folders = {file.parent.name for file in (ROOT / package).glob("*/__init__.py")}
    assert folders - set(re.findall(r"`(\w+)/`", part(package))) == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_place_under_a_heading_is_there(package: str) -> None:
    places = re.findall(r"`([\w/]+(?:\.py|/))`", part(package))
    assert [each for each in places if not (ROOT / package / each).exists()] == []


def test_every_place_in_the_ways_through_the_house_is_there() -> None:
    told = PAGE[PAGE.index("## The way of a word") :]
    places = re.findall(r"`([\w/]+(?:\.py|/))`", told)
    roots = (ROOT, ROOT / "operator_server")
    assert [each for each in places if not any((root / each).exists() for root in roots)] == []
