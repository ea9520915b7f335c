"""Running roles in this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any, cast

import uvloop
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from operator_server.context import Operator

ROLES = ("link", "web", "worker", "snmp", "sms", "roaming", "nodes")
POLLER_NICENESS = 10
Announce = Callable[[str], None]


def begin_logging() -> None:
    """Log to standard error, one line an event, from level info."""
    # zope.interface's declarations are nothing that mypy can read.
    observer: Any = FilteringLogObserver(
        cast(Any, textFileLogObserver(sys.stderr)),
        [cast(Any, LogLevelFilterPredicate(defaultLogLevel=LogLevel.info))],
    )
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def run_roles(operator: Operator, roles: Sequence[str], announce: Announce) -> int:
    """Run these roles until SIGINT or SIGTERM; 1 when a role could not start.

    ``link`` and ``worker`` run on the epoll reactor. Where ``web`` or ``snmp`` is among the roles they share one
    asyncio loop on uvloop with it.
    """
    if tuple(roles) == ("web",):
        give_way()
        return _run_web(operator, announce)
    if tuple(roles) == ("snmp",):
        give_way()
    if "web" in roles or "snmp" in roles:
        from twisted.internet import asyncioreactor

        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        asyncioreactor.install(loop)
    else:
        from twisted.internet import epollreactor

        epollreactor.install()
    from twisted.internet import reactor

    return _Running(operator, roles, announce, reactor).run()


def give_way() -> None:
    """Let other processes go first where processors are short: polls and pages can wait, a link cannot."""
    os.nice(POLLER_NICENESS)


def default_roles(operator: Operator) -> list[str]:
    """The roles that an operator needs: ``snmp`` where its settings ask for it or there is a device, ``sms`` where a
    short message centre is set, ``roaming`` where its settings ask for it or there is a partner."""
    from operator_server.store.devices import has_devices
    from operator_server.visited.partners import role_is_wanted

    wanted = operator.settings.snmp.enabled or has_devices(operator.engine)
    unwanted = {"snmp"} if not wanted else set()
    if not operator.settings.sms.host:
        unwanted.add("sms")
    if not role_is_wanted(operator):
        unwanted.add("roaming")
    if not operator.settings.nodes.port:
        unwanted.add("nodes")
    return [role for role in ROLES if role not in unwanted]


def _run_web(operator: Operator, announce: Announce) -> int:
    from operator_server.roles.web import WebRole
    from operator_server.web.server import serve

    web, role = operator.settings.web, WebRole(operator)
    announce(_web_line(operator, web.port))
    certificate, key = _web_tls(operator)
    role.start()
    serve(role.app, web.host, web.port, certificate, key)
    role.stop()
    return 0


def _web_tls(operator: Operator) -> tuple[str | None, str | None]:
    if not operator.settings.web.tls:
        return None, None
    return str(operator.keys.certificate), str(operator.keys.private_key)


def _web_line(operator: Operator, port: int) -> str:
    web = operator.settings.web
    return f"web: {'https' if web.tls else 'http'}://{web.host}:{port}/repository"


class _Running:
    """Link, worker and perhaps web in one reactor."""

    def __init__(self, operator: Operator, roles: Sequence[str], announce: Announce, reactor: Any) -> None:
        self._operator = operator
        self._roles = roles
        self._announce = announce
        self._reactor = reactor
        self._stops: list[Callable[[], Deferred[None]]] = []
        self._web: Any = None
        self._code = 0

    def run(self) -> int:
        """Start the roles, run, stop them."""
        self._reactor.callWhenRunning(self._start)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._stop)
        self._reactor.run()
        return self._code

    @inlineCallbacks
    def _start(self) -> Generator[Deferred[Any], Any, None]:
        try:
            from operator_server.roles.link import LinkRole
            from operator_server.roles.worker import WorkerRole

            if "web" in self._roles:
                self._start_web()
            if "link" in self._roles:
                link = LinkRole(self._operator, self._reactor)
                self._stops.append(link.stop)
                port = yield link.start()
                host = self._operator.settings.link.host
                self._announce(f"link: {host}:{port} ({'TLS 1.3' if self._operator.settings.link.tls else 'plain'})")
            if "worker" in self._roles:
                worker = WorkerRole(self._operator, self._reactor)
                self._stops.append(worker.stop)
                worker.start()
                self._announce("worker: running")
            if "snmp" in self._roles:
                from operator_server.roles.snmp import SnmpRole

                snmp = SnmpRole(self._operator, self._reactor)
                self._stops.append(snmp.stop)
                told = yield snmp.start()
                self._announce(f"snmp: polling, {told}")
            if "sms" in self._roles:
                self._start_sms()
            if "nodes" in self._roles:
                self._start_nodes()
            if "roaming" in self._roles:
                from operator_server.roles.roaming import RoamingRole

                roaming = RoamingRole(self._operator, self._reactor)
                self._announce(f"roaming: {roaming.start()}")
                self._stops.append(roaming.stop)
        except Exception as error:  # noqa: BLE001 - whatever keeps a role from starting is told, then the process ends
            self._announce(f"cannot start: {error}")
            self._code = 1
            self._reactor.stop()

    def _start_sms(self) -> None:
        sms = self._operator.settings.sms
        if not sms.host:
            self._announce("sms: no short message centre is set (sms.host); cards are reached over links alone")
            return
        from twisted.internet.threads import deferToThread

        from operator_server.roles.sms import SmsRole

        role = SmsRole(self._operator)
        role.start()
        self._stops.append(lambda: deferToThread(role.stop))
        self._announce(f"sms: short message centre {sms.host}:{sms.port}")

    def _start_nodes(self) -> None:
        if not self._operator.settings.nodes.port:
            self._announce("nodes: no port is set (nodes.port); no node that serves phones can attach")
            return
        from operator_server.roles.nodes import NodesRole

        role = NodesRole(self._operator, self._reactor)
        port = role.start()
        self._stops.append(role.stop)
        self._announce(f"nodes: home register on {self._operator.settings.nodes.host}:{port}")

    def _start_web(self) -> None:
        import uvicorn

        from operator_server.roles.web import WebRole
        from operator_server.web.server import EmbeddedServer, bind, make_config, serve_here

        web = self._operator.settings.web
        listener = bind(web.host, web.port)
        certificate, key = _web_tls(self._operator)
        role = WebRole(self._operator)
        role.start()
        server: uvicorn.Server = EmbeddedServer(make_config(role.app, certificate, key))
        task = asyncio.get_event_loop().create_task(serve_here(server, listener))

        def stop() -> Deferred[None]:
            server.should_exit = True
            role.stop()
            return Deferred.fromFuture(task)

        self._stops.append(stop)
        self._announce(_web_line(self._operator, listener.getsockname()[1]))

    @inlineCallbacks
    def _stop(self) -> Generator[Deferred[Any], Any, None]:
        for stop in reversed(self._stops):
            yield stop()


def end_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when ``parent``, which started it, dies (Linux); elsewhere nothing."""
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    # It may have died before the kernel was asked.
    if os.getppid() != parent and threading.current_thread() is threading.main_thread():
        signal.raise_signal(signal.SIGTERM)
