"""The operators of the counting and usage tests serve here too."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in ("counting", "usage"):
    sys.path.insert(0, str(Path(__file__).parent.parent / folder))
