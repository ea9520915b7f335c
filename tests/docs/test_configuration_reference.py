"""docs/configuration.md is what the settings say."""

from __future__ import annotations

import sys

from document_reader import ROOT

sys.path.insert(0, str(ROOT))

from tools.configuration_reference import PAGE, page, undescribed


def test_the_reference_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tools.configuration_reference"


def test_every_setting_has_a_meaning() -> None:
    assert not list(undescribed())
