"""The window of outstanding requests: bounded, and not blocked by those whom nobody answers."""

from __future__ import annotations

import asyncio

from operator_server.snmp.window import Window


def test_no_more_requests_are_worked_on_than_there_are_places() -> None:
    async def run() -> int:
        window, inside, most = Window(3, patience=10), 0, 0

        async def request() -> None:
            nonlocal inside, most
            async with window.place():
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.001)
                inside -= 1

        await asyncio.gather(*(request() for _ in range(40)))
        return most

    assert asyncio.run(run()) == 3


def test_a_hundred_silent_devices_do_not_hold_up_those_that_answer() -> None:
    async def run() -> float:
        window = Window(4, patience=0.001)
        loop = asyncio.get_running_loop()

        async def silent() -> None:
            async with window.place():
                await asyncio.sleep(5)

        dead = [asyncio.create_task(silent()) for _ in range(100)]
        start = loop.time()
        async with window.place():
            waited = loop.time() - start
        for task in dead:
            task.cancel()
        await asyncio.gather(*dead, return_exceptions=True)
        # All places are free again.
        async with window.place(), window.place(), window.place(), window.place():
            pass
        return waited

    assert asyncio.run(run()) < 1


def test_those_who_wait_silently_are_bounded_too() -> None:
    async def run() -> bool:
        window = Window(1, patience=0.001, silent=1)

        async def silent() -> None:
            async with window.place():
                await asyncio.sleep(60)

        dead = [asyncio.create_task(silent()) for _ in range(2)]
        await asyncio.sleep(0.05)
        entered = asyncio.create_task(window.place().__aenter__())
        await asyncio.sleep(0.05)
        blocked = not entered.done()
        dead[1].cancel()
        await asyncio.wait_for(entered, 1)
        dead[0].cancel()
        await asyncio.gather(*dead, return_exceptions=True)
        return blocked

    assert asyncio.run(run())


def test_a_request_that_is_given_up_while_it_waits_leaves_no_place_taken() -> None:
    async def run() -> None:
        window = Window(1, patience=10)
        async with window.place():
            waiting = asyncio.create_task(window.place().__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.wait_for(window.place().__aenter__(), 1)

    asyncio.run(run())
