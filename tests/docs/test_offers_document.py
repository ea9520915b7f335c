"""What docs/offers.md says: its keys are those of the file format, its examples are offers, its messages are said."""

from __future__ import annotations

from pathlib import Path

import pytest
from document_reader import DOCS, ROOT, blocks, code, tables
from example_offers import offers_of
from pydantic import BaseModel

from charging.modes import MODE_KINDS
from offers import document as form
from offers.catalogue import Catalogue

PAGE = DOCS / "offers.md"
FORMS: dict[str, type[BaseModel]] = {
    "Keys of an offer": form.OfferTable,
    "text": form.TextTable,
    "valid": form.ValidityTable,
    "target": form.TargetTable,
    "subscribers": form.SubscribersTable,
    "rejection": form.RejectionTable,
    "mode": form.ModeTable,
}


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    """The examples of the page, beside the offers of the small operator."""
    for path in (ROOT / "configs/offers").glob("*.toml"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return offers_of(PAGE, tmp_path)


def test_the_examples_are_offers(catalogue: Catalogue) -> None:
    assert catalogue.get("compass") is not None
    assert catalogue.get("sea-chart") is not None


def test_the_large_example_uses_every_key_but_those_of_other_kinds_of_mode() -> None:
    text = "".join(block.text for block in blocks(PAGE) if block.language == "toml")
    for model in FORMS.values():
        for name, field in model.model_fields.items():
            assert (field.alias or name) in text


@pytest.mark.parametrize("heading", FORMS)
def test_every_key_of_the_format_is_described_and_no_other(heading: str) -> None:
    [table] = [table for table in tables(PAGE) if table.heading == heading]
    fields = FORMS[heading].model_fields
    assert {code(row[0]) for row in table.rows} == {field.alias or name for name, field in fields.items()}
    needed = {field.alias or name for name, field in fields.items() if field.is_required()}
    assert {code(row[0]) for row in table.rows if row[2] == "needed"} == needed


def test_the_kinds_of_modes_are_those_there_are() -> None:
    [table] = [table for table in tables(PAGE) if table.heading == "mode"]
    [kinds] = [row[1] for row in table.rows if row[0] == "`kind`"]
    assert [code(kind) for kind in kinds.split(", ")] == list(MODE_KINDS)
