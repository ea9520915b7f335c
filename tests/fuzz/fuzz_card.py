"""Fuzz a decoder of cards with atheris (libFuzzer), guided by coverage.

Run: ``.venv/bin/python tests/fuzz/fuzz_card.py tlv -runs=1000000 -max_len=300 -timeout=5``; targets: tlv, commands,
packet, sms. It ends with the first input that raises anything but the decoders' own error.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))

with atheris.instrument_imports(include=["signalling"]):
    from card_targets import SEEDS, TARGETS

    from signalling.card.tlv import CardError


def main() -> None:
    """The first argument names the target, the others are libFuzzer's."""
    name = sys.argv.pop(1)
    decode = TARGETS[name]

    def one(data: bytes) -> None:
        try:
            decode(data)
        except CardError:
            return

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[name]):
            (Path(corpus) / str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
