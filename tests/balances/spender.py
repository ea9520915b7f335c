"""A process that spends, reserves, pays out and refunds at random: ``spender.py URL NAME SEED COUNT``."""

from __future__ import annotations

import random
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here.parent / "counting"), str(here.parent / "usage"), str(here.parents[1])]

from counting_samples import SETTINGS, SIGNING
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from usage_samples import CALLS, GIGABYTES, NOW

from charging.tariffs import TariffBook
from operator_server.balances.money import pay_out
from operator_server.balances.once import BalanceError
from operator_server.balances.refunds import refund
from operator_server.balances.usage import UsageDesk, Use
from operator_server.store.engine import open_engine, writing

HOUR = timedelta(hours=1)


def spend(engine: Engine, name: str, seed: int, count: int) -> int:
    """Do ``count`` operations, each in a transaction of its own; how many took effect."""
    chance = random.Random(seed)
    book = TariffBook([CALLS, GIGABYTES])
    desk = UsageDesk(lambda: book, SETTINGS, SIGNING)
    charges: list[str] = []
    reserved: list[str] = []
    done = 0
    for number in range(count):
        id = f"{name}-{number}"
        what = chance.choice(("consume", "consume", "reserve", "commit", "release", "pay_out", "refund"))
        use = Use(
            subscriber=chance.choice(("acc-1", "kid", "acc-2")), unit="second", quantity=chance.randrange(1, 400),
            at=NOW, tariff="calls", pays="prepaid",
        )  # fmt: skip
        try:
            answer = _retried(engine, desk, what, id, use, charges, reserved, chance)
        except BalanceError as error:
            if error.code in ("limit", "exceeds_share", "reservation_closed", "exceeds_charge"):
                continue
            raise
        done += 1
        if answer.get("charge") and what != "refund":
            charges.append(answer["charge"])
        if what == "reserve":
            reserved.append(id)
    return done


def _retried(
    engine: Engine, desk: UsageDesk, what: str, id: str, use: Use, charges: list[str], reserved: list[str],
    chance: random.Random,
) -> dict[str, Any]:  # fmt: skip
    pick = chance.random()
    amount = chance.randrange(1, 20_000)
    while True:
        try:
            with writing(engine).begin() as connection:
                if what == "reserve":
                    return desk.reserve_usage(connection, id, use, HOUR, NOW)
                if what in ("commit", "release") and reserved:
                    reservation = reserved[int(pick * len(reserved))]
                    if what == "release":
                        return desk.release_usage(connection, id, reservation, NOW)
                    return desk.commit_usage(connection, id, reservation, None if pick < 0.5 else 0, NOW)
                if what == "pay_out":
                    return pay_out(connection, "acc-1", amount, id=id, now=NOW)
                if what == "refund" and charges:
                    charge = charges[int(pick * len(charges))]
                    return refund(connection, charge, id=id, amount=amount // 10, reason="test", now=NOW)
                return desk.consume(connection, id, use, NOW)
        except OperationalError as error:
            if "deadlock" not in str(error):
                raise


if __name__ == "__main__":
    print(spend(open_engine(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
