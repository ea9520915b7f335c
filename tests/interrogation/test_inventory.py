"""Who is asked for what nobody knows, and how much new a terminal may bring."""

from __future__ import annotations

from link_harness import PHONE

from operator_server.interrogation.inventory import DAY, Inventory, NewCodes
from signalling.configuration import SECTIONS

DIGESTS = PHONE.digests()


def test_one_asker_is_asked_and_the_others_wait_until_it_is_done() -> None:
    inventory = Inventory()
    assert inventory.claim("a", DIGESTS) == list(SECTIONS)
    assert inventory.claim("b", DIGESTS) == []
    assert inventory.claim("c", DIGESTS) == []
    inventory.learn(PHONE.code(), DIGESTS)
    assert inventory.release("a") == ["b", "c"]
    assert inventory.missing(DIGESTS) == []


def test_when_the_one_that_is_asked_departs_the_next_is_asked() -> None:
    inventory = Inventory()
    inventory.claim("a", DIGESTS)
    inventory.claim("b", DIGESTS)
    inventory.claim("c", DIGESTS)
    assert inventory.release("a") == ["b", "c"]
    assert inventory.claim("b", DIGESTS) == list(SECTIONS)
    assert inventory.claim("c", DIGESTS) == []
    assert inventory.release("c") == []


def test_only_the_sections_that_differ_are_asked_for() -> None:
    inventory = Inventory()
    inventory.learn(PHONE.code(), DIGESTS)
    assert inventory.claim("a", {**DIGESTS, "firmware": bytes(32)}) == ["firmware"]


def test_few_terminals_deliver_at_one_time() -> None:
    inventory = Inventory(most_at_once=2)
    for number, asker in enumerate("abc"):
        claimed = inventory.claim(asker, {**DIGESTS, "firmware": bytes([number]) * 32})
        assert bool(claimed) is (asker != "c")
    assert inventory.release("a") == ["c"]


def test_a_terminal_may_bring_so_many_new_codes_in_a_day() -> None:
    limit = NewCodes(per_day=2)
    assert [limit.bring("a", 10), limit.bring("a", 11), limit.bring("a", 12)] == [True, True, False]
    assert limit.bring("b", 12)
    assert limit.bring("a", 10 + DAY)


def test_the_limit_holds_over_a_restart() -> None:
    limit = NewCodes(per_day=2)
    assert not limit.knows("a")
    limit.recall("a", [5, 4])
    assert not limit.bring("a", 6)
