"""Cards: commands and packets coded per second, and a thousand applets at once through one process.

The ceiling of a packet is what it cannot do without: AES-128 in CBC mode and CMAC over as many bytes, twice, through
the same library. The dialogues run from power on to the agreement with cards, phones and a scripted operator in one
process, all open at once; what the operator stores is not in the figure.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from bench.measure import medians, result, show
from bench.report import Target
from signalling.card import commands, secured
from signalling.card.dialogue import TAR
from signalling.card.keys import diversify, luhn_digit
from terminal_sim.card import Card, CardMemory
from terminal_sim.handset import Handset, Key
from tools.applet_document import Operator

APPLETS = 1_000
ROUNDS = 2_000
TIMES = 5
MASTER = bytes(16)

SELECT = "SELECT ITEM with 20 items, encoded and decoded"
PACKET = "secured packet, sealed and opened"
AT_ONCE = "1,000 applets at once, whole dialogues"
MESSAGES = "short messages of these"
TARGETS = {PACKET: Target("ratio", ">=", 0.3)}


def _per_second(work: Callable[[], Any], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        work()
    return times / (time.perf_counter() - start)


def _select() -> None:
    command = commands.SelectItem("Offers", tuple(commands.Item(number, f"Offer {number}") for number in range(1, 21)))
    commands.decode_command(commands.encode_command(command))


def _packet() -> None:
    packet = secured.seal_command(bytes(70), _KEYS, TAR, 7)
    secured.open_command(packet, _KEYS, 6)


def _bare() -> None:
    for decrypt in (False, True):
        cipher = Cipher(algorithms.AES(_KEYS.kic), modes.CBC(bytes(16)))
        work = cipher.decryptor() if decrypt else cipher.encryptor()
        work.update(bytes(96))
        work.finalize()
        mac = CMAC(algorithms.AES(_KEYS.kid))
        mac.update(bytes(96))
        mac.finalize()


_KEYS = diversify(MASTER, "8949000000000000018").packets


class _Phone:
    """A card in a phone whose messages wait in a queue that all phones share."""

    def __init__(self, number: int, air: deque[tuple[_Phone, bytes]]) -> None:
        digits = f"89490000{number:010d}"
        iccid = digits + luhn_digit(digits)
        keys = diversify(MASTER, iccid)
        self.operator = Operator(keys)
        self.card = Card(CardMemory(iccid, "", keys.encode()))
        self._air = air
        self.handset = Handset(self.card.transmit, self._send)

    def _send(self, tpdu: bytes) -> bool:
        self._air.append((self, tpdu))
        return True

    def bring(self, tpdu: bytes) -> None:
        for deliver in self.operator.answer(tpdu):
            self.handset.deliver(deliver)


def at_once(count: int = APPLETS) -> tuple[int, int, float]:
    """So many dialogues, all open at once: how many ended in an agreement, short messages, seconds."""
    air: deque[tuple[_Phone, bytes]] = deque()
    phones = [_Phone(number, air) for number in range(count)]
    messages, start = 0, time.perf_counter()

    def drain() -> int:
        carried = 0
        while air:
            phone, tpdu = air.popleft()
            phone.bring(tpdu)
            carried += 1
        return carried

    for phone in phones:
        phone.handset.power_on()
    messages += drain()
    for phone in phones:
        phone.handset.open_menu()
    for key in ("1", "1", Key.OK, "1", Key.OK, "1"):
        for phone in phones:
            phone.handset.press(key)
        messages += drain()
    seconds = time.perf_counter() - start
    return sum(phone.handset.screen.title == "Agreed: News." for phone in phones), messages, seconds


def run() -> list[dict[str, Any]]:
    """The figures."""
    rates = medians(
        {
            SELECT: lambda: _per_second(_select, ROUNDS),
            PACKET: lambda: _per_second(_packet, ROUNDS),
            "bare": lambda: _per_second(_bare, ROUNDS),
        },
        TIMES,
    )
    agreed, messages, seconds = at_once()
    if agreed != APPLETS:
        raise RuntimeError(f"{agreed} of {APPLETS} dialogues came to an agreement")
    return [
        result(SELECT, rates[SELECT], "/s"),
        result(PACKET, rates[PACKET], "/s", rates["bare"]),
        result(AT_ONCE, agreed / seconds, "dialogues/s"),
        result(MESSAGES, messages / seconds, "messages/s"),
    ]


if __name__ == "__main__":
    show(run())
