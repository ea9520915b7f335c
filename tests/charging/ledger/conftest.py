from __future__ import annotations

from collections.abc import Iterator

import pytest
from ledger_samples import EURO, Ledger


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """A ledger with the customer ``ada``, who has 10 euros of credit."""
    made = Ledger()
    made.open("ada", 10 * EURO)
    yield made
    assert made.altered or made.findings() == []
    made.connection.close()
