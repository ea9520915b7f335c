"""Traps and informs: coldStart, warmStart and linkUp bring a device's poll forward, and prove nothing.

A trap of SNMPv2c can be forged by anybody who knows or hears the community, and its sender's address too. So it never
changes a thing by itself: the device is asked, once in ``trap_pause`` seconds at most, however many traps come. An
inform is answered, whoever sent it with a known credential.

A trap of SNMPv3 is under the key of its sender's engine (RFC 3414, 1.5.1), so the receiver has to know that engine. It
takes the engine from the first message that a device's address sends, and then the message has to prove itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pyasn1.codec.ber import decoder
from pyasn1.error import PyAsn1Error
from pyasn1.type import univ
from pysnmp.carrier.asyncio.dgram import udp, udp6
from pysnmp.entity import config
from pysnmp.entity.engine import SnmpEngine
from pysnmp.entity.rfc3413.ntfrcv import NotificationReceiver
from pysnmp.error import PySnmpError
from pysnmp.proto.mpmod.rfc3412 import SNMPv3Message
from pysnmp.proto.secmod.rfc3414.service import UsmSecurityParameters
from twisted.logger import Logger

from operator_server.snmp import objects
from operator_server.snmp.credentials import Community, Credential, User
from operator_server.snmp.session import GuardedDispatcher, admit

log = Logger()

WAKING = {objects.COLD_START: "coldStart", objects.WARM_START: "warmStart", objects.LINK_UP: "linkUp"}

MOST_ENGINES = 50_000
ENGINES_OF_ADDRESS = 8
"""A device has one engine id; it gets another when it is replaced."""

OnWaking = Callable[[str, str], None]
"""Hears of a trap: address of the sender, and which trap."""


class TrapPace:
    """Which devices are to be polled for a trap, and when: each at most once in ``pause`` microseconds."""

    def __init__(self, pause: int) -> None:
        self._pause = pause
        self._last: dict[str, int] = {}

    def wish(self, terminal: str, now: int) -> int | None:
        """When to poll for a trap that came ``now``; ``None`` when a poll for one is to come anyway."""
        last = self._last.get(terminal)
        if last is not None and last > now:
            return None
        at = now if last is None else max(now, last + self._pause)
        self._last[terminal] = at
        return at


@dataclass(frozen=True, slots=True)
class Sender:
    """A device by its address."""

    terminal: str
    host: str


def by_address(senders: Iterable[Sender], resolved: Mapping[str, str]) -> dict[str, list[str]]:
    """Address to the terminals behind it; ``resolved``: name to address. Names that have none are left out."""
    found: dict[str, list[str]] = {}
    for sender in senders:
        address = _plain_address(sender.host) or resolved.get(sender.host)
        if address:
            found.setdefault(address, []).append(sender.terminal)
    return found


def _plain_address(host: str) -> str | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


class _Engines(GuardedDispatcher):
    """Admits users under the engines of known devices, before their messages are checked."""

    def __init__(self, knows: Callable[[str], bool]) -> None:
        super().__init__()
        self.users: dict[bytes, User] = {}
        self._knows = knows
        self._admitted: dict[tuple[bytes, bytes], None] = {}
        self._of_address: dict[str, int] = {}

    def receive_message(self, snmpEngine: Any, transportDomain: Any, transportAddress: Any, wholeMsg: bytes) -> Any:
        address = _plain_address(str(transportAddress[0]).split("%")[0]) or ""
        if self.users and wholeMsg[:1] == b"\x30" and self._knows(address):
            self._admit(snmpEngine, address, wholeMsg)
        return super().receive_message(snmpEngine, transportDomain, transportAddress, wholeMsg)

    def _admit(self, engine: Any, address: str, message: bytes) -> None:
        if len(self._admitted) >= MOST_ENGINES or self._of_address.get(address, 0) >= ENGINES_OF_ADDRESS:
            return
        try:
            outer, _ = decoder.decode(message, asn1Spec=SNMPv3Message())
            inner, _ = decoder.decode(bytes(outer[2]), asn1Spec=UsmSecurityParameters())
        except (PyAsn1Error, PySnmpError, IndexError):
            return  # No message of SNMPv3; whoever takes it next knows what it is.
        engine_id, name = bytes(inner[0]), bytes(inner[3])
        user = self.users.get(name)
        key = (engine_id, name)
        if user is None or key in self._admitted or not 5 <= len(engine_id) <= 32:
            return
        if engine_id != bytes(engine.snmpEngineID):
            self._admitted[key] = None
            self._of_address[address] = self._of_address.get(address, 0) + 1
            admit(engine, user, engine_id=engine_id)


class TrapReceiver:
    """Listens for notifications under all credentials that are known. One user name belongs to one credential.

    ``knows``: whether an address is a device's.
    """

    def __init__(
        self,
        host: str,
        port: int,
        credentials: Mapping[str, Credential],
        on_waking: OnWaking,
        knows: Callable[[str], bool],
    ) -> None:
        self._on_waking = on_waking
        dispatcher = _Engines(knows)
        self._engine = SnmpEngine(msgAndPduDsp=dispatcher)
        seen: set[object] = set()
        for index, (name, credential) in enumerate(sorted(credentials.items())):
            identity = credential.community if isinstance(credential, Community) else ("user", credential.user)
            if identity in seen:
                log.info("traps: credential {name} has the community or user of another; that one counts", name=name)
                continue
            seen.add(identity)
            admit(self._engine, credential, f"trap{index}")
            if isinstance(credential, User):
                dispatcher.users[credential.user.encode()] = credential
        v6 = ":" in host
        domain = udp6.DOMAIN_NAME if v6 else udp.DOMAIN_NAME
        transport = udp6.Udp6AsyncioTransport() if v6 else udp.UdpAsyncioTransport()
        config.add_transport(self._engine, domain, transport.open_server_mode((host, port)))
        self._transport = transport
        self._receiver = NotificationReceiver(self._engine, self._heard)

    async def listening(self) -> int:
        """Wait until the socket is open; its port. Raises ``OSError``."""
        await self._transport._lport
        port: int = self._transport.transport.get_extra_info("sockname")[1]
        return port

    def _heard(self, engine: Any, reference: Any, _engine_id: Any, _context: Any, values: Any, _: Any) -> None:
        context = engine.observer.get_execution_context("rfc3412.receiveMessage:request")
        sender = _plain_address(str(context["transportAddress"][0]).split("%")[0])
        for oid, value in values[:8]:
            if tuple(oid) == objects.SNMP_TRAP_OID and isinstance(value, univ.ObjectIdentifier):
                name = WAKING.get(tuple(value))
                if name and sender:
                    self._on_waking(sender, name)
                return

    def close(self) -> None:
        """Stop listening."""
        self._engine.close_dispatcher()
