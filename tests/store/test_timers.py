"""What comes again and again goes on after a failure, and ends when it is told to."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger

from operator_server.timers import Timers


def test_what_fails_is_told_and_done_again() -> None:
    clock, told, times = Clock(), list[str](), list[float]()
    log = Logger(observer=lambda event: told.append(str(event["name"])))

    def work() -> None:
        times.append(clock.seconds())
        raise RuntimeError("not today")

    timers = Timers(clock, log, "the test")
    timers.every(2.0, work)
    clock.pump([1.0] * 5)
    assert times == [2.0, 4.0]
    assert told == ["the test"] * 2
    timers.stop()
    clock.advance(10)
    assert times == [2.0, 4.0]


def test_a_stop_waits_for_the_work_at_hand() -> None:
    clock, at_hand, ended = Clock(), Deferred[None](), list[object]()
    timers = Timers(clock, Logger(), "the test")
    timers.every(1.0, lambda: at_hand, now=True)
    clock.advance(5)
    timers.stop().addCallback(ended.append)
    assert not ended
    at_hand.callback(None)
    assert ended
