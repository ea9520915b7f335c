"""What a process that serves many links does once, when it is set up."""

from __future__ import annotations

import gc


def settle_memory() -> None:
    """Keep the garbage collector from walking over what lives as long as the process.

    A dialogue makes hundreds of objects and leaves no cycles, so with the usual thresholds the collector would run
    often, over all modules and links, find nothing, and hold up whoever logs on meanwhile.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
