"""The link server of the link's tests serves here too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "link"))

from link_fixtures import house, make_house

__all__ = ["house", "make_house"]
