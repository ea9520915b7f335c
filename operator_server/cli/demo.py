"""``tollgate demo``."""

from __future__ import annotations


def demo() -> None:
    """Run the main job on real input."""
