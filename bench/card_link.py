"""A thousand applets at once through one link process: from power on to an agreement, everything stored.

The server is ``tollgate serve --role link`` on SQLite, a process of its own; this one holds the phones and twenty links
that carry their packets, with TLS. All dialogues are open at once; each ends with an agreement in the database.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from bench.measure import result, show
from operator_server import parties
from operator_server.cards.registry import NewCard, add_card, keys_of, require_card
from operator_server.context import open_operator
from operator_server.store.dealings import Agreement
from operator_server.store.rows import table
from operator_server.store.store import transact
from signalling.card.keys import luhn_digit
from signalling.clock import SystemClock
from signalling.configuration import Configuration
from terminal_sim import state as states
from terminal_sim.card import Card, CardMemory
from terminal_sim.carrier import LinkCarrier
from terminal_sim.client import Client
from terminal_sim.handset import Handset, Key
from terminal_sim.link import connect
from terminal_sim.state import Identity
from terminal_sim.trust import Trust

APPLETS = 1_000
CARRIERS = 20
MOST_SECONDS = 300
NAME = "1,000 applets at once through one link process"

OPERATOR = """
[operator]
server_id = "tollgate.bench"
name = "Bench"
address = ["Way 1"]
country = "DE"

[link]
port = 0
messages_per_second = 100000
message_burst = 100000

[store]
data = "{data}"
"""
OFFER = """
[[offer]]
id = "news"
product = "news"
kind = "service"
text.en = { title = "News", description = "Every morning." }

[[offer.mode]]
id = "free"
kind = "free"
label = { en = "Free" }
currency = "EUR"
tax_category = "S"
"""


class _Phone:
    """A card whose user takes the first offer in its first mode."""

    def __init__(self, memory: CardMemory, done: Any) -> None:
        self.card = Card(memory)
        self.carrier: LinkCarrier | None = None
        self.handset = Handset(self.card.transmit, self._send)
        self.ended = ""
        self._done = done

    def _send(self, tpdu: bytes) -> bool:
        return self.carrier is not None and self.carrier.send(tpdu)

    def arrived(self, tpdu: bytes) -> None:
        self.handset.deliver(tpdu)
        self.act()

    def act(self) -> None:
        """What the user does at each screen, as far as it goes without the operator."""
        while not self.ended:
            screen = self.handset.screen
            if screen.kind == "idle" and self.card.memory.applet.titles:
                self.handset.open_menu()
                self.handset.choose("Offers")
            elif screen.kind == "text" and self.handset.asked:
                if screen.title.startswith("Agreed"):
                    self.ended = "agreed"
                    self._done()
                self.handset.press(Key.OK)
            elif screen.kind == "list" or screen.kind == "key":
                self.handset.press("1")
            else:
                return


def _prepare(folder: Path, count: int) -> tuple[list[CardMemory], list[Identity], Trust]:
    configs = folder / "configs"
    for name in ("offers", "tariffs"):
        (configs / name).mkdir(parents=True)
    (configs / "operator.toml").write_text(OPERATOR.replace("{data}", str(folder / "data")))
    (configs / "offers" / "news.toml").write_text(OFFER)
    operator = open_operator(configs)
    now = operator.clock.now()
    identities = [Identity.new(f"carrier-{number}") for number in range(CARRIERS)]

    def furnish(connection: Connection) -> list[CardMemory]:
        parties.create_account(connection, parties.NewAccount("carriers", "Bench"), operator.settings.operator, now)
        for identity in identities:
            parties.enroll_terminal(connection, identity.terminal, identity.public_key, "carriers", now)
        memories = []
        for number in range(count):
            digits = f"8949{number:014d}"
            owner = f"A-{number}"
            new_account = parties.NewAccount(owner, "Bench")
            parties.create_account(connection, new_account, operator.settings.operator, now)
            new = NewCard(f"sim-{number}", digits + luhn_digit(digits), f"+49170{number:07d}", owner)
            add_card(connection, operator.vault, new, now)
            keys = keys_of(operator.vault, require_card(connection, new.terminal))
            memories.append(CardMemory(new.iccid, "", keys.encode()))
        return memories

    memories = transact(operator.engine, furnish)
    operator.repository  # noqa: B018 - made before the server starts
    bundle = folder / "bundle.json"
    bundle.write_bytes(operator.bundle().replace(b'"port": 0', b'"port": 1'))
    operator.engine.dispose()
    return memories, identities, Trust.read(bundle)


def _serve(folder: Path) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "operator_server", "serve", "--role", "link", "--config", str(folder / "configs")]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    assert server.stderr is not None
    for line in server.stderr:
        found = re.match(r"link: \S+:(\d+)", line)
        if found:
            return server, int(found[1])
    raise RuntimeError("the server did not start")


def _play(folder: Path, port: int, memories: list[CardMemory], identities: list[Identity], trust: Trust) -> float:
    """Seconds from the first phone's power on to the last agreement."""
    import msgspec
    from twisted.internet import reactor as installed

    reactor: Any = installed
    trust = msgspec.structs.replace(trust, port=port)
    clock, left, begun, took = SystemClock(), len(memories), 0.0, 0.0
    clients: list[Client] = []

    def done() -> None:
        nonlocal left, took
        left -= 1
        if not left:
            took = time.perf_counter() - begun
            reactor.stop()

    phones = [_Phone(memory, done) for memory in memories]
    by_iccid = {phone.card.memory.iccid: phone for phone in phones}

    def happened(event: Any) -> None:
        phone = by_iccid.get(getattr(event, "card", ""))
        if phone is not None and phone.carrier is not None:
            phone.carrier.happened(event)

    def connected(client: Client) -> None:
        nonlocal begun
        clients.append(client)
        if len(clients) < len(identities):
            return
        begun = time.perf_counter()
        for number, phone in enumerate(phones):
            phone.carrier = carried(phone, clients[number % len(clients)])
            phone.handset.power_on()

    def carried(phone: _Phone, client: Client) -> LinkCarrier:
        return LinkCarrier(lambda: client, lambda: phone.card.memory.iccid, clock, phone.arrived)

    def start() -> None:
        configuration = Configuration(hardware={"model": "carrier"})
        for identity in identities:
            state = states.in_memory(identity, trust, configuration, folder, clock.micros())
            connect(state, clock, reactor, on_event=happened).addCallback(connected)

    reactor.callWhenRunning(start)
    reactor.callLater(MOST_SECONDS, reactor.stop)
    reactor.run()
    if left:
        raise RuntimeError(f"{left} of {len(phones)} dialogues did not end in {MOST_SECONDS} s")
    return took


def run(count: int = APPLETS) -> list[dict[str, Any]]:
    """The figures. It runs the reactor, so once a process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        memories, identities, trust = _prepare(folder, count)
        server, port = _serve(folder)
        try:
            seconds = _play(folder, port, memories, identities, trust)
        finally:
            server.terminate()
            server.wait(20)
        operator = open_operator(folder / "configs")
        with operator.engine.connect() as connection:
            stored = connection.execute(select(func.count()).select_from(table(Agreement))).scalar() or 0
        operator.engine.dispose()
        if stored != count:
            raise RuntimeError(f"{stored} of {count} agreements are stored")
        return [result(NAME, count / seconds, "dialogues/s"), result("seconds for all of them", seconds, "s")]


if __name__ == "__main__":
    show(run(int(sys.argv[1]) if len(sys.argv) > 1 else APPLETS))
