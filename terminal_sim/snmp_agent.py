"""A simulated device that speaks SNMP and nothing of ours: an agent with an inventory and counters that run.

It shows a configuration by the standard MIBs (SNMPv2-MIB, IF-MIB, HOST-RESOURCES-MIB, ENTITY-MIB) and, for what these
lack, by TOLLGATE-MIB (``docs/mib/TOLLGATE-MIB.txt``). It answers reads alone.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pysnmp.carrier.asyncio.dgram import udp
from pysnmp.entity import config
from pysnmp.entity.engine import SnmpEngine
from pysnmp.entity.rfc3413 import cmdrsp, context
from pysnmp.proto import rfc1902, rfc1905
from pysnmp.smi.instrum import AbstractMibInstrumController

from signalling.configuration import Configuration

Oid = tuple[int, ...]
Value = Any
"""A value of SNMP, or a function that gives one when it is asked for."""

SYSTEM = (1, 3, 6, 1, 2, 1, 1)
INTERFACES = (1, 3, 6, 1, 2, 1, 2)
IF_X_ENTRY = (1, 3, 6, 1, 2, 1, 31, 1, 1, 1)
HOST = (1, 3, 6, 1, 2, 1, 25)
ENT_ENTRY = (1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1)
TOLLGATE = (1, 3, 6, 1, 4, 1, 32473, 7707)
OBJECT_ID = (*TOLLGATE, 2, 1)

CHASSIS, MODULE = 3, 9
_ETHERNET = 6
_READABLE = (1, 3, 6)


@dataclass
class Interface:
    """An interface whose counters run. ``speed`` in bits a second, ``rate_in`` and ``rate_out`` in octets a second.

    ``octets_in`` and ``octets_out``: where the counters stood when the agent began. ``discontinuity``: TimeTicks.
    """

    name: str = "eth0"
    speed: int = 1_000_000_000
    rate_in: float = 0.0
    rate_out: float = 0.0
    octets_in: int = 0
    octets_out: int = 0
    discontinuity: int = 0


@dataclass
class Device:
    """What an agent shows. ``clock``: seconds, from any beginning."""

    configuration: Configuration
    interfaces: list[Interface] = field(default_factory=lambda: [Interface()])
    clock: Callable[[], float] = time.monotonic
    began: float = -1.0

    def __post_init__(self) -> None:
        if self.began < 0:
            self.began = self.clock()

    @property
    def age(self) -> float:
        """Seconds since the device began to run."""
        return self.clock() - self.began

    def ticks(self) -> int:
        """The age as TimeTicks."""
        return int(self.age * 100) % 2**32

    def objects(self) -> dict[Oid, Value]:
        """Everything that can be read."""
        tree: dict[Oid, Value] = {}
        hardware = self.configuration.hardware
        tree[(*SYSTEM, 1, 0)] = _text(f"{hardware.get('model', 'Simulated device')}, Tollgate terminal simulator")
        tree[(*SYSTEM, 2, 0)] = rfc1902.ObjectIdentifier(OBJECT_ID)
        tree[(*SYSTEM, 3, 0)] = lambda: rfc1902.TimeTicks(self.ticks())
        tree[(*SYSTEM, 4, 0)] = _text("")
        tree[(*SYSTEM, 5, 0)] = _text("simulated-device")
        tree[(*SYSTEM, 6, 0)] = _text("")
        tree[(*SYSTEM, 7, 0)] = rfc1902.Integer32(72)
        self._interfaces(tree)
        self._host(tree)
        self._entities(tree)
        self._tollgate(tree)
        return tree

    def _interfaces(self, tree: dict[Oid, Value]) -> None:
        tree[(*INTERFACES, 1, 0)] = rfc1902.Integer32(len(self.interfaces))
        entry = (*INTERFACES, 2, 1)
        for index, each in enumerate(self.interfaces, 1):
            tree[(*entry, 1, index)] = rfc1902.Integer32(index)
            tree[(*entry, 2, index)] = _text(each.name)
            tree[(*entry, 3, index)] = rfc1902.Integer32(_ETHERNET)
            tree[(*entry, 5, index)] = rfc1902.Gauge32(min(each.speed, 2**32 - 1))
            tree[(*entry, 7, index)] = tree[(*entry, 8, index)] = rfc1902.Integer32(1)
            tree[(*entry, 10, index)] = self._octets(each, "in", 32)
            tree[(*entry, 16, index)] = self._octets(each, "out", 32)
            tree[(*IF_X_ENTRY, 1, index)] = _text(each.name)
            tree[(*IF_X_ENTRY, 6, index)] = self._octets(each, "in", 64)
            tree[(*IF_X_ENTRY, 10, index)] = self._octets(each, "out", 64)
            tree[(*IF_X_ENTRY, 15, index)] = rfc1902.Gauge32(each.speed // 1_000_000)
            tree[(*IF_X_ENTRY, 19, index)] = self._discontinuity(each)

    def _octets(self, interface: Interface, way: str, bits: int) -> Callable[[], Value]:
        kind = rfc1902.Counter64 if bits == 64 else rfc1902.Counter32

        def read() -> Value:
            start = interface.octets_in if way == "in" else interface.octets_out
            rate = interface.rate_in if way == "in" else interface.rate_out
            return kind((start + int(self.age * rate)) % 2**bits)

        return read

    def _discontinuity(self, interface: Interface) -> Callable[[], Value]:
        return lambda: rfc1902.TimeTicks(interface.discontinuity)

    def _host(self, tree: dict[Oid, Value]) -> None:
        hardware = self.configuration.hardware
        tree[(*HOST, 1, 1, 0)] = lambda: rfc1902.TimeTicks(self.ticks())
        if hardware.get("memory_mib", "").isdigit():
            tree[(*HOST, 2, 2, 0)] = rfc1902.Integer32(min(int(hardware["memory_mib"]) * 1024, 2**31 - 1))
        devices = [(3, hardware.get("processor", "Processor"))]
        devices += [(4, f"network interface {each.name}") for each in self.interfaces]
        for index, (kind, description) in enumerate(devices, 1):
            tree[(*HOST, 3, 2, 1, 1, index)] = rfc1902.Integer32(index)
            tree[(*HOST, 3, 2, 1, 2, index)] = rfc1902.ObjectIdentifier((*HOST, 3, 1, kind))
            tree[(*HOST, 3, 2, 1, 3, index)] = _text(description)
            tree[(*HOST, 3, 2, 1, 5, index)] = rfc1902.Integer32(2)
        for index, (package, version) in enumerate(sorted(self.configuration.base_software.items()), 1):
            entry = (*HOST, 6, 3, 1)
            tree[(*entry, 1, index)] = rfc1902.Integer32(index)
            tree[(*entry, 2, index)] = _text(f"{package} {version}")
            tree[(*entry, 3, index)] = rfc1902.ObjectIdentifier((0, 0))
            tree[(*entry, 4, index)] = rfc1902.Integer32(4)

    def _entities(self, tree: dict[Oid, Value]) -> None:
        hardware = self.configuration.hardware
        rows = [(CHASSIS, "chassis", "", hardware.get("manufacturer", ""), hardware.get("model", ""))]
        rows += [(MODULE, name, version, "", "") for name, version in sorted(self.configuration.firmware.items())]
        for index, (kind, name, firmware, maker, model) in enumerate(rows, 1):
            tree[(*ENT_ENTRY, 2, index)] = _text(name)
            tree[(*ENT_ENTRY, 5, index)] = rfc1902.Integer32(kind)
            tree[(*ENT_ENTRY, 7, index)] = _text(name)
            tree[(*ENT_ENTRY, 9, index)] = _text(firmware)
            tree[(*ENT_ENTRY, 11, index)] = _text(f"SN-{index:06}" if kind == CHASSIS else "")
            tree[(*ENT_ENTRY, 12, index)] = _text(maker)
            tree[(*ENT_ENTRY, 13, index)] = _text(model)

    def _tollgate(self, tree: dict[Oid, Value]) -> None:
        tree[(*TOLLGATE, 1, 1, 1, 0)] = rfc1902.OctetString(self.configuration.code())
        tree[(*TOLLGATE, 1, 1, 2, 0)] = _text(self.configuration.hardware.get("model", ""))
        tree[(*TOLLGATE, 1, 1, 3, 0)] = rfc1902.TimeTicks(0)
        for index, (product, version) in enumerate(sorted(self.configuration.catalogue_items.items()), 1):
            entry = (*TOLLGATE, 1, 2, 1, 1)
            tree[(*entry, 2, index)] = _text(product)
            tree[(*entry, 3, index)] = _text(version)
        for index, each in enumerate(self.interfaces, 1):
            entry = (*TOLLGATE, 1, 3, 1, 1)
            tree[(*entry, 2, index)] = _text(f"{each.name} octets in")
            tree[(*entry, 3, index)] = rfc1902.Unsigned32(1)
            tree[(*entry, 4, index)] = self._octets(each, "in", 64)


def _text(value: str) -> Value:
    return rfc1902.OctetString(value.encode()[:255])


class Tree(AbstractMibInstrumController):  # type: ignore[misc]  # pysnmp has no types
    """Objects in their order; what pysnmp's responders read from."""

    def __init__(self, objects: Mapping[Oid, Value]) -> None:
        self.put(objects)

    def put(self, objects: Mapping[Oid, Value]) -> None:
        """Show these objects from now on."""
        self.objects = dict(objects)
        self.order = sorted(self.objects)

    def read_variables(self, *names: Any, **_: Any) -> list[tuple[Any, Any]]:
        """The values under these names."""
        return [(name, self._read(tuple(name), rfc1905.noSuchObject)) for name, _ in names]

    def read_next_variables(self, *names: Any, **_: Any) -> list[tuple[Any, Any]]:
        """What follows each of these names."""
        return [self.following(tuple(name)) for name, _ in names]

    def following(self, name: Oid) -> tuple[Any, Any]:
        """The object after ``name``."""
        place = bisect_right(self.order, name)
        if place == len(self.order):
            return rfc1902.ObjectName(name), rfc1905.endOfMibView
        found = self.order[place]
        return rfc1902.ObjectName(found), self._read(found, rfc1905.noSuchObject)

    def _read(self, name: Oid, absent: Any) -> Any:
        value = self.objects.get(name, absent)
        return value() if callable(value) else value


@dataclass(frozen=True)
class Access:
    """Who may read: a community, or a user of SNMPv3 with SHA-256 and AES-128, or both."""

    community: str = ""
    user: str = ""
    auth_key: str = field(default="", repr=False)
    priv_key: str = field(default="", repr=False)


class Agent:
    """Answers for one tree of objects on one UDP port."""

    def __init__(self, tree: Tree, access: Access, engine_id: bytes | None = None) -> None:
        self.tree = tree
        self._engine = SnmpEngine(None if engine_id is None else rfc1902.OctetString(engine_id))
        if access.community:
            config.add_v1_system(self._engine, "readers", access.community)
            config.add_vacm_user(self._engine, 2, "readers", "noAuthNoPriv", _READABLE)
        if access.user:
            config.add_v3_user(
                self._engine, access.user, config.USM_AUTH_HMAC192_SHA256, access.auth_key,
                config.USM_PRIV_CFB128_AES, access.priv_key,
            )  # fmt: skip
            config.add_vacm_user(self._engine, 3, access.user, "authPriv", _READABLE)

    async def listen(self, host: str, port: int) -> int:
        """Begin to answer; the port. Raises ``OSError``."""
        transport = udp.UdpAsyncioTransport().open_server_mode((host, port))
        config.add_transport(self._engine, udp.DOMAIN_NAME, transport)
        names = context.SnmpContext(self._engine)
        names.unregister_context_name(b"")
        names.register_context_name(b"", self.tree)
        for responder in (cmdrsp.GetCommandResponder, cmdrsp.NextCommandResponder, cmdrsp.BulkCommandResponder):
            responder(self._engine, names)
        await transport._lport
        bound: int = transport.transport.get_extra_info("sockname")[1]
        return bound

    def close(self) -> None:
        """Stop answering."""
        self._engine.close_dispatcher()


def parse_interface(text: str) -> Interface:
    """``name:megabits:octets_in_a_second:octets_out_a_second``; what is left out is 1000 and 0.

    Raises ``ValueError``.
    """
    name, *figures = text.split(":")
    if not name or len(figures) > 3:
        raise ValueError(f"interface {text!r}: write name:megabits:octets_in:octets_out, such as eth0:100:125000:40000")
    try:
        numbers = [float(figure) for figure in figures]
    except ValueError:
        raise ValueError(f"interface {text!r}: after the name come numbers") from None
    speed, rate_in, rate_out = (*numbers, *(1000.0, 0.0, 0.0)[len(numbers) :])
    if min(speed, rate_in, rate_out) < 0 or max(rate_in, rate_out) > speed * 125_000:
        raise ValueError(f"interface {text!r}: an interface of {speed:g} Mbit/s cannot carry that")
    return Interface(name, int(speed * 1_000_000), rate_in, rate_out)


async def serve(device: Device, access: Access, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Answer until the task is cancelled; ``ready`` hears of the port."""
    agent = Agent(Tree(device.objects()), access)
    try:
        ready(await agent.listen(host, port))
        await asyncio.Event().wait()
    finally:
        agent.close()
