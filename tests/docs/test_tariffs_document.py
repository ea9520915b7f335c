"""What docs/tariffs.md says: its keys are those of the file format, its figures those of the rating engine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from document_reader import DOCS, Table, code, tables
from pydantic import BaseModel

from charging.rating import RatingState
from charging.tariffs import TariffBook, TariffVersion, rate_usage
from charging.tariffs import document as form
from signalling.money import format_micros

PAGE = DOCS / "tariffs.md"


def examples() -> Iterator[tuple[str, Table]]:
    """Each tariff of the page with the table of costs that follows it."""
    text = PAGE.read_text(encoding="utf-8")
    tomls = re.findall(r"^```toml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    costs = [table for table in tables(PAGE) if table.header[-1] == "Cost"]
    assert len(tomls) == len(costs)
    yield from zip(tomls, costs, strict=True)


def version_of(toml: str, folder: Path) -> TariffVersion:
    (folder / "example.toml").write_text(toml, encoding="utf-8")
    book, problems = TariffBook.load(folder)
    assert book is not None, problems
    [tariff] = book
    [version] = tariff.versions
    return version


@pytest.mark.parametrize(
    ("toml", "costs"), list(examples()), ids=lambda each: each.heading if isinstance(each, Table) else ""
)
def test_the_figures_are_what_rating_gives(toml: str, costs: Table, tmp_path: Path) -> None:
    version = version_of(toml, tmp_path)
    state = RatingState()
    for row in costs.rows:
        cells = dict(zip(costs.header, row, strict=True))
        if "New session" in cells:
            state = state.next_session()
        at = datetime.fromisoformat(cells["At"]) if "At" in cells else None
        quantity = int(cells.get("Use") or cells["New session"])
        rated = rate_usage(version, quantity, state, at=at, destination=cells.get("To"))
        state = rated.state
        assert format_micros(rated.cost_micros, "EUR") == cells["Cost"], row


FORMS: dict[str, list[type[BaseModel]]] = {
    "Keys of the file": [form.TariffTable],
    "Keys of a version": [form.VersionTable],
    "Rounding": [form.RoundingTable],
    "Price models": [form.PriceTable],
    "flat": [form.FlatTable],
    "per_unit": [form.PerUnitTable, form.IncrementsTable],
    "package": [form.PackageTable],
    "graduated": [form.TieredTable, form.TierTable],
    "percentage": [form.PercentageTable],
    "Time bands": [form.BandTable],
    "Destinations": [form.DestinationTable],
}


def test_every_key_of_the_format_is_described_and_no_other() -> None:
    shared = set(form.PriceTable.model_fields) | {"model"}
    for heading, models in FORMS.items():
        written = [
            {code(row[0]) for row in t.rows} for t in tables(PAGE) if t.heading == heading and t.header[0] == "Key"
        ]
        for model, keys in zip(models, written, strict=True):
            expected = {field.alias or name for name, field in model.model_fields.items()}
            if model is form.PriceTable:
                expected = shared
            elif issubclass(model, form.PriceTable):
                expected -= shared
            assert keys == expected, heading
    assert {t.heading for t in tables(PAGE) if t.header[0] == "Key"} == set(FORMS)


def test_a_key_that_must_be_there_is_said_to_be_needed() -> None:
    for heading, models in FORMS.items():
        found = [t for t in tables(PAGE) if t.heading == heading and t.header[0] == "Key"]
        for model, table in zip(models, found, strict=True):
            needed = {field.alias or name for name, field in model.model_fields.items() if field.is_required()}
            said = {code(row[0]) for row in table.rows if row[2] == "needed"}
            assert needed <= said | {"model"}, heading
