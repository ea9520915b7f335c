"""Class look-ups with presence and reject filter, in memory: 10,000 offers, 1,000 classes, 20,000 codes.

What is present is taken out when a code is learnt, rejections at each look-up. The ceiling is a bare look-up of the
code that hands back a list of what stands there.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import Any

from bench.measure import medians, result, show
from offers.catalogue import Catalogue, build_offer
from offers.document import OfferTable
from offers.memory import OfferMemory
from offers.modes import build_mode
from offers.selection import select
from signalling.configuration import Configuration, quantised_mib

OFFERS = 10_000
CLASSES = 1_000
CODES = 20_000
LOOKUPS = 100_000
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def offers() -> Catalogue:
    """Ten offers a model, asking for memory and a library too; one in ten is for a group or for a time only."""
    chosen = random.Random(7)
    made = []
    for number in range(OFFERS):
        target: dict[str, Any] = {"model": [f"model-{number % CLASSES}"]}
        if number % 3 == 0:
            target["minima"] = {"memory_mib": chosen.choice((256, 512, 1024))}
        if number % 5 == 0:
            target["base_software"] = [f"libc6>=2.{chosen.randrange(20, 40)}"]
        raw: dict[str, Any] = {
            "id": f"offer-{number}",
            "product": f"product-{number}",
            "kind": "software",
            "priority": chosen.randrange(100),
            "text": {"en": {"title": f"Offer {number}"}},
            "target": target,
            "mode": [
                {"id": "free", "kind": "free", "label": "Free", "currency": "EUR", "tax_category": "S"},
                {
                    "id": "buy",
                    "kind": "one_off",
                    "label": "Buy",
                    "amount": "1.99",
                    "currency": "EUR",
                    "tax_category": "S",
                },
            ],
        }
        if number % 20 == 0:
            raw["subscribers"] = {"include": ["business"]}
        if number % 20 == 10:
            raw["valid"] = {"from": datetime(2026, 1, 1, tzinfo=UTC)}
        table = OfferTable.model_validate(raw)
        modes = [mode for entry in table.mode if (mode := build_mode(entry, {}, {"S": 1900})[0])]
        made.append(build_offer(table, modes, "en"))
    return Catalogue(made)


def configurations() -> list[tuple[bytes, Configuration]]:
    """Terminals of each model, with the software and the items that people happen to have."""
    chosen = random.Random(8)
    result = []
    for number in range(CODES):
        model = number % CLASSES
        products = {f"product-{model + CLASSES * chosen.randrange(10)}": chosen.choice(("1.0", "2.0"))}
        configuration = Configuration(
            hardware={"model": f"model-{model}", "memory_mib": str(quantised_mib(2048))},
            base_software={
                "libc6": "2.36-9+deb12u10",
                **{f"package-{chosen.randrange(500)}": "1.0" for _ in range(30)},
            },
            catalogue_items=products if number % 2 else {},
        )
        result.append((configuration.code(), configuration))
    return result


def run() -> list[dict[str, Any]]:
    """The figures of this benchmark, each the median of three interleaved runs."""
    catalogue = offers()
    memory = OfferMemory(catalogue, dict.fromkeys(catalogue.products, ("1.0", "2.0")))
    stored = configurations()
    start = time.perf_counter()
    for code, configuration in stored:
        memory.learn(code, configuration)
    learning = time.perf_counter() - start

    chosen = random.Random(9)
    codes = [chosen.choice(stored)[0] for _ in range(LOOKUPS)]
    # Every other subscriber has rejected something, some of it in the menu.
    hidden = [
        frozenset(ref.product for ref in chosen.choices(memory.lookup(code), k=2)) if number % 2 else frozenset[str]()
        for number, code in enumerate(codes)
    ]
    groups = frozenset({"business"})
    shown = 0

    def selections() -> float:
        nonlocal shown
        shown = 0
        start = time.perf_counter()
        for code, products in zip(codes, hidden, strict=True):
            shown += len(select(memory, code, hidden_products=products, groups=groups, now=NOW))
        return LOOKUPS / (time.perf_counter() - start)

    bare = {code: memory.lookup(code) for code, _ in stored}

    def bare_lookups() -> float:
        count = 0
        start = time.perf_counter()
        for code, _ in zip(codes, hidden, strict=True):
            count += len(list(bare[code]))
        return LOOKUPS / (time.perf_counter() - start)

    figures = medians({"select": selections, "bare": bare_lookups}, times=5)
    return [
        result("class look-ups, presence and reject filter", figures["select"], "1/s", figures["bare"]),
        result("offers in a menu", shown / LOOKUPS, "offers"),
        result("offer classes", memory.class_count, "classes"),
        result("codes learnt", CODES / learning, "1/s"),
    ]


if __name__ == "__main__":
    show(run())
