"""Asking devices: one pysnmp engine for each credential, requests as plain object identifiers and plain values.

pysnmp's own high-level calls resolve every name and value against its MIBs; here the codec and the security models are
used without that. Requests that wait for nobody cost nothing but memory, so a device that is silent gives its place in
the window to others long before its time is over.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pyasn1.error import PyAsn1Error
from pyasn1.type import univ
from pysnmp.carrier.asyncio.dgram import udp, udp6
from pysnmp.entity import config
from pysnmp.entity.engine import SnmpEngine
from pysnmp.entity.rfc3413.cmdgen import CommandGenerator
from pysnmp.error import PySnmpError
from pysnmp.proto import errind
from pysnmp.proto.api import v2c
from pysnmp.proto.error import StatusInformation
from pysnmp.proto.rfc3412 import MsgAndPduDispatcher
from pysnmp.proto.secmod.rfc3414.localkey import hash_passphrase
from twisted.logger import Logger

from operator_server.snmp.credentials import Community, Credential, User
from operator_server.snmp.window import Window

log = Logger()

Oid = tuple[int, ...]
Value = int | bytes | Oid | None
"""``None``: the device has no such object, or its table ends here."""

REPETITIONS = 25
"""Rows asked for in one GETBULK: more does not fit a datagram of a usual size."""

_AUTH = {
    "sha224": config.USM_AUTH_HMAC128_SHA224,
    "sha256": config.USM_AUTH_HMAC192_SHA256,
    "sha384": config.USM_AUTH_HMAC256_SHA384,
    "sha512": config.USM_AUTH_HMAC384_SHA512,
}
_V3, _PEERS = 3, "_SnmpV3MessageProcessingModel__engineIdCache"
_STATUS = (
    "noError", "tooBig", "noSuchName", "badValue", "readOnly", "genErr", "noAccess", "wrongType", "wrongLength",
    "wrongEncoding", "wrongValue", "noCreation", "inconsistentValue", "resourceUnavailable", "commitFailed",
    "undoFailed", "authorizationError", "notWritable", "inconsistentName",
)  # fmt: skip


class SnmpFault(Exception):
    """A device that cannot be read; the text says what happened and what to mend.

    ``kind``: silent, malformed, address, credential, engine, time, access or error.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to wait for an answer, in seconds, and how often to ask again."""

    timeout: float = 2.0
    retries: int = 1


class GuardedDispatcher(MsgAndPduDispatcher):  # type: ignore[misc]  # pysnmp has no types
    """Takes what arrives; what cannot be decoded is kept in mind by its sender and never ends the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.malformed: dict[str, int] = {}

    def receive_message(self, snmpEngine: Any, transportDomain: Any, transportAddress: Any, wholeMsg: bytes) -> Any:
        (faults,) = self.mib_instrum_controller.get_mib_builder().import_symbols("__SNMPv2-MIB", "snmpInASNParseErrs")
        before = int(faults.syntax)
        try:
            rest = super().receive_message(snmpEngine, transportDomain, transportAddress, wholeMsg)
        except Exception as error:  # noqa: BLE001 - whatever a stranger's bytes bring about, the others go on
            log.debug("an SNMP message of {sender} is dropped: {error}", sender=transportAddress[0], error=repr(error))
            self._note(transportAddress)
            return b""
        if int(faults.syntax) != before:
            self._note(transportAddress)
        return rest

    def _note(self, address: Sequence[Any]) -> None:
        if len(self.malformed) < 10_000:
            key = f"{address[0]}|{address[1]}"
            self.malformed[key] = self.malformed.get(key, 0) + 1


class Target:
    """A device's address within a scope."""

    __slots__ = ("address", "name", "where")

    def __init__(self, name: str, address: tuple[str, int], where: str) -> None:
        self.name = name
        self.address = address
        self.where = where


class _Peers(dict[Any, Any]):
    """Address to the engine id that was found there; pysnmp drops entries that are gone already."""

    def __delitem__(self, key: Any) -> None:
        self.pop(key, None)


class Scope:
    """The engine of one credential and the devices that it opens."""

    def __init__(self, name: str, credential: Credential, window: Window, timing: Timing) -> None:
        self.name = name
        self._v3 = isinstance(credential, User)
        self._timing = timing
        self._window = window
        self._dispatcher = GuardedDispatcher()
        self._engine = SnmpEngine(msgAndPduDsp=self._dispatcher)
        self._generator = CommandGenerator()
        # pysnmp keeps to an engine id for minutes, also where another device answers now; there is no public way to
        # have it asked for again.
        self._peers = _Peers()
        self._engine.message_processing_subsystems[_V3].__dict__[_PEERS] = self._peers
        self._targets: dict[tuple[str, int], Target] = {}
        self._made = 0
        self._domains: set[Oid] = set()
        admit(self._engine, credential)
        if isinstance(credential, Community):
            config.add_target_parameters(self._engine, "peer", "scope", "noAuthNoPriv", 1)
        else:
            config.add_target_parameters(self._engine, "peer", credential.user, "authPriv", 3)

    async def target(self, host: str, port: int) -> Target:
        """Where requests to this device go. Raises :class:`SnmpFault` for a host that has no address."""
        known = self._targets.get((host, port))
        if known is not None:
            return known
        address = await _resolved(host, port)
        domain, transport = (
            (udp6.DOMAIN_NAME, udp6.Udp6AsyncioTransport)
            if ":" in address[0]
            else (udp.DOMAIN_NAME, udp.UdpAsyncioTransport)
        )
        if domain not in self._domains:
            config.add_transport(self._engine, domain, transport().open_client_mode())
            self._engine.transport_dispatcher.set_timer_resolution(0.1)
            self._domains.add(domain)
        self._made += 1
        target = Target(f"t{self._made}", address, f"{host}:{port}")
        config.add_target_address(
            self._engine, target.name, domain, address, "peer", self._timing.timeout * 100, self._timing.retries
        )
        self._targets[host, port] = target
        return target

    def forget(self, host: str, port: int) -> None:
        """Let a device go: it is gone, its name may have got another address, or another engine answers there."""
        target = self._targets.pop((host, port), None)
        if target is not None:
            config.delete_target_address(self._engine, target.name)
            for domain in self._domains:
                del self._peers[domain, target.address]

    async def get(self, target: Target, oids: Sequence[Oid]) -> list[Value]:
        """The values of these objects, in their order. Raises :class:`SnmpFault`."""
        pdu = v2c.GetRequestPDU()
        v2c.apiPDU.set_defaults(pdu)
        found = await self._ask(target, pdu, oids)
        if [oid for oid, _ in found] != list(oids):
            raise SnmpFault("malformed", f"{target.where} answers other objects than it was asked for")
        return [value for _, value in found]

    async def bulk(
        self, target: Target, oids: Sequence[Oid], repetitions: int = REPETITIONS
    ) -> list[tuple[Oid, Value]]:
        """What follows these objects, at most ``repetitions`` rows of them, flat. Raises :class:`SnmpFault`."""
        pdu = v2c.GetBulkRequestPDU()
        v2c.apiBulkPDU.set_defaults(pdu)
        v2c.apiBulkPDU.set_non_repeaters(pdu, 0)
        v2c.apiBulkPDU.set_max_repetitions(pdu, repetitions)
        found = await self._ask(target, pdu, oids)
        if len(found) > repetitions * len(oids):
            raise SnmpFault("malformed", f"{target.where} answers more rows than it was asked for")
        return found

    async def _ask(self, target: Target, pdu: Any, oids: Sequence[Oid]) -> list[tuple[Oid, Value]]:
        v2c.apiPDU.set_varbinds(pdu, [(oid, _NULL) for oid in oids])
        malformed = self._malformed(target)
        async with self._window.place():
            answer: asyncio.Future[tuple[Any, Any]] = asyncio.get_running_loop().create_future()
            try:
                self._generator.send_pdu(self._engine, target.name, None, b"", pdu, _answered, answer)
            except (PySnmpError, StatusInformation) as error:
                indication = error.get("errorIndication") if isinstance(error, StatusInformation) else error
                raise self._fault(target, indication) from None
            indication, response = await answer
        if indication is not None:
            if isinstance(indication, errind.RequestTimedOut) and self._malformed(target) != malformed:
                raise SnmpFault(
                    "malformed",
                    f"{target.where} answers with what is no SNMP message; "
                    "is another service on that port, or is the device's agent defective?",
                )
            raise self._fault(target, indication)
        return self._values(target, response, oids)

    def _values(self, target: Target, response: Any, oids: Sequence[Oid]) -> list[tuple[Oid, Value]]:
        try:
            status = int(v2c.apiPDU.get_error_status(response))
            if status:
                index = int(v2c.apiPDU.get_error_index(response, muteErrors=True) or 0)
                about = ".".join(map(str, oids[index - 1])) if 0 < index <= len(oids) else "the request"
                name = _STATUS[status] if status < len(_STATUS) else str(status)
                kind = "access" if status in (6, 16) else "error"
                hint = "; let its access rules show it to this credential" if kind == "access" else ""
                raise SnmpFault(kind, f"{target.where} answers {name} for {about}{hint}")
            return [(tuple(oid), _plain(value)) for oid, value in v2c.apiPDU.get_varbinds(response)]
        except (PyAsn1Error, PySnmpError, ValueError, TypeError) as error:
            raise SnmpFault("malformed", f"{target.where} answers what cannot be read: {error}"[:300]) from None

    def _malformed(self, target: Target) -> int:
        return self._dispatcher.malformed.get(f"{target.address[0]}|{target.address[1]}", 0)

    def _fault(self, target: Target, indication: Any) -> SnmpFault:
        where, name = target.where, self.name
        for kinds, kind, text in _FAULTS:
            if isinstance(indication, kinds):
                told = self._silence(where) if kind == "silent" else text.format(where=where, name=name)
                return SnmpFault(kind, told)
        return SnmpFault("error", f"{where}: {indication}"[:300])

    def _silence(self, where: str) -> str:
        asked = f"{self._timing.retries + 1} requests of {self._timing.timeout:g} s"
        if self._v3:
            return (
                f"{where} does not answer ({asked}): check address, port and firewall, that it speaks SNMPv3, and the"
                f" privacy key of credential {self.name}; with a wrong one some devices are silent"
            )
        return (
            f"{where} does not answer ({asked}): check address, port and firewall, and that credential {self.name} is"
            " the device's community; with a wrong one a device is silent"
        )

    def close(self) -> None:
        """Let the sockets go."""
        if self._domains:
            self._engine.close_dispatcher()


def admit(engine: SnmpEngine, credential: Credential, name: str = "scope", engine_id: bytes | None = None) -> None:
    """Make a credential known to an engine; a user also under another's ``engine_id``, to hear its traps."""
    if isinstance(credential, Community):
        config.add_v1_system(engine, name, credential.community, securityName=name)
        return
    auth, priv = _master_keys(credential)
    config.add_v3_user(
        engine,
        credential.user,
        _AUTH[credential.auth],
        auth,
        config.USM_PRIV_CFB128_AES,
        priv,
        securityEngineId=None if engine_id is None else v2c.OctetString(engine_id),
        authKeyType=config.USM_KEY_TYPE_MASTER,
        privKeyType=config.USM_KEY_TYPE_MASTER,
    )


@lru_cache(maxsize=1024)
def _master_keys(user: User) -> tuple[bytes, bytes]:
    """The keys that a user's passphrases make (RFC 3414, A.2), before they are bound to an engine; it takes a while."""
    hashed = getattr(hashlib, user.auth)
    return bytes(hash_passphrase(user.auth_key, hashed)), bytes(hash_passphrase(user.priv_key, hashed))


_NULL = v2c.Null("")

_FAULTS: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    ((errind.RequestTimedOut,), "silent", ""),
    (
        (errind.UnknownUserName, errind.UnknownSecurityName),
        "credential",
        "{where} knows no user as in credential {name}; make the user on the device, or give the device's user",
    ),
    (
        (errind.WrongDigest, errind.AuthenticationFailure, errind.AuthenticationError),
        "credential",
        "{where} refuses the authentication key of credential {name}; set it again, with the device's own protocol",
    ),
    (
        (errind.DecryptionError, errind.EncryptionError),
        "credential",
        "{where} cannot be read with the privacy key of credential {name}; set it again",
    ),
    (
        (errind.UnsupportedSecurityLevel, errind.NoEncryption, errind.NoAuthentication),
        "credential",
        "{where} does not allow authentication with privacy to the user of credential {name}; allow authPriv",
    ),
    (
        (errind.UnknownEngineID, errind.EngineIDMismatch),
        "engine",
        "{where} answers for another SNMP engine than it named: two devices may have one engine id, or one address",
    ),
    (
        (errind.NotInTimeWindow,),
        "time",
        "{where}: its engine's clock jumps, or its count of boots fell; restart its agent, or give it a new engine id",
    ),
    ((errind.DeserializationError,), "malformed", "{where} answers with what is no SNMP message"),
)  # fmt: skip


def _answered(_engine: Any, _handle: Any, indication: Any, pdu: Any, answer: asyncio.Future[tuple[Any, Any]]) -> None:
    if not answer.done():
        answer.set_result((indication, pdu))


def _plain(value: Any) -> Value:
    """A value without pysnmp's types."""
    if isinstance(value, univ.Null):
        return None
    if isinstance(value, univ.Integer):
        return int(value)
    if isinstance(value, univ.OctetString):
        return bytes(value)
    if isinstance(value, univ.ObjectIdentifier):
        return tuple(value)
    return None


async def _resolved(host: str, port: int) -> tuple[str, int]:
    try:
        return (str(ipaddress.ip_address(host)), port)
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise SnmpFault(
            "address", f"{host}: the name has no address ({error.strerror or error}); mend --host"
        ) from None
    return str(found[0][4][0]), port
