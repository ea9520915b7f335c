"""Devices for tests in this process: our agent, and agents that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from operator_server.snmp.credentials import Community, Credential, User
from operator_server.snmp.session import Scope, Target, Timing
from operator_server.snmp.window import Window
from signalling.configuration import Configuration
from terminal_sim.snmp_agent import Access, Agent, Device, Tree

COMMUNITY = Community("tests-read")
USER = User("reader", "auth-pass-1234", "priv-pass-1234")
ACCESS = Access("tests-read", "reader", "auth-pass-1234", "priv-pass-1234")
GATEWAY = Configuration(
    hardware={"model": "GW-10", "manufacturer": "Nordwerk", "memory_mib": "512", "processor": "RISC"},
    firmware={"modem": "4.2"},
    base_software={f"package-{number}": f"1.{number}" for number in range(40)},
    catalogue_items={"chess": "1.0"},
)
T = TypeVar("T")


def device_tree() -> Tree:
    """A gateway that is in order."""
    return Tree(Device(GATEWAY).objects())


class Looping(Tree):
    """Begins a table anew when it is at its end."""

    def following(self, name: tuple[int, ...]) -> tuple[Any, Any]:
        found, value = super().following(name)
        installed = (1, 3, 6, 1, 2, 1, 25, 6, 3, 1, 2)
        if tuple(found)[:11] != installed and name[:11] == installed:
            return super().following(installed)
        return found, value


class Slow(asyncio.DatagramProtocol):
    """Passes datagrams on to an agent and answers late."""

    def __init__(self, agent: int, delay: float) -> None:
        self._agent = agent
        self._delay = delay
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        asyncio.get_running_loop().create_task(self._pass_on(data, address))

    async def _pass_on(self, data: bytes, address: Any) -> None:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[bytes] = loop.create_future()

        class Back(asyncio.DatagramProtocol):
            def datagram_received(self, answer: bytes, _: Any) -> None:
                if not answered.done():
                    answered.set_result(answer)

        transport, _ = await loop.create_datagram_endpoint(Back, remote_addr=("127.0.0.1", self._agent))
        transport.sendto(data)
        try:
            answer = await asyncio.wait_for(answered, 5)
        except TimeoutError:
            return
        finally:
            transport.close()
        await asyncio.sleep(self._delay)
        self.transport.sendto(answer, address)


class Babbling(asyncio.DatagramProtocol):
    """Answers whatever is asked with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.transport.sendto(self._answer, address)


async def datagrams(protocol: asyncio.DatagramProtocol) -> int:
    """Let a protocol listen; its port."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: protocol, local_addr=("127.0.0.1", 0))
    port: int = transport.get_extra_info("sockname")[1]
    return port


def with_agent(
    use: Callable[[Scope, Target], Awaitable[T]],
    tree: Tree | None = None,
    credential: Credential = COMMUNITY,
    access: Access = ACCESS,
    timing: Timing = Timing(1.0, 1),
) -> T:
    """What ``use`` makes of an agent that shows ``tree``."""

    async def run() -> T:
        agent = Agent(tree or device_tree(), access)
        port = await agent.listen("127.0.0.1", 0)
        scope = Scope("readers", credential, Window(16), timing)
        try:
            return await use(scope, await scope.target("127.0.0.1", port))
        finally:
            scope.close()
            agent.close()

    return asyncio.run(asyncio.wait_for(run(), 60))


def with_port(
    listen: Callable[[], Awaitable[int]],
    use: Callable[[Scope, Target], Awaitable[T]],
    credential: Credential = COMMUNITY,
    timing: Timing = Timing(0.3, 0),
) -> T:
    """What ``use`` makes of a port on which ``listen`` lets something listen."""

    async def run() -> T:
        port = await listen()
        scope = Scope("readers", credential, Window(16), timing)
        try:
            return await use(scope, await scope.target("127.0.0.1", port))
        finally:
            scope.close()

    return asyncio.run(asyncio.wait_for(run(), 60))


def names(oids: Sequence[str]) -> list[tuple[int, ...]]:
    return [tuple(map(int, oid.split("."))) for oid in oids]
