"""The operator of the negotiation tests serves here too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "negotiation"))

from operator_fixtures import furnished, house, user

__all__ = ["furnished", "house", "user"]
