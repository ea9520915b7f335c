"""What a process that serves many links does once, when it is set up."""

from __future__ import annotations

import gc
import sys


def settle_process() -> None:
    """Set the interpreter up for many links and a few helping threads.

    A dialogue makes hundreds of objects and leaves no cycles: with the usual thresholds the collector would run often,
    over all modules and links, find nothing, and hold up whoever logs on meanwhile. And a helping thread that wants
    the interpreter back is to wait half a millisecond at most, where the usual five would add up over a batch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    sys.setswitchinterval(0.0005)
