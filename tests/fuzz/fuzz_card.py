"""Fuzz a decoder of what comes from cards, phones, nodes and centres with atheris (libFuzzer), guided by coverage.

Run: ``.venv/bin/python tests/fuzz/fuzz_card.py tlv -runs=1000000 -max_len=300 -timeout=5``; targets: tlv, commands,
packet, sms, rtttl, smart, ussd, nodes, smpp, recording. It ends with the first input that raises anything but the
decoders' own error.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))

with atheris.instrument_imports(include=["signalling", "smpplib", "operator_server.cards.smpp_pdu"]):
    import card_targets
    import tone_targets

TARGETS = card_targets.TARGETS | tone_targets.TARGETS
SEEDS = card_targets.SEEDS | tone_targets.SEEDS


def main() -> None:
    """The first argument names the target, the others are libFuzzer's."""
    name = sys.argv.pop(1)
    logging.disable()
    decode = TARGETS[name]

    def one(data: bytes) -> None:
        try:
            decode(data)
        except tone_targets.OWN:
            return

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[name]):
            (Path(corpus) / str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
