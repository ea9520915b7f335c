"""The network that the demo's roamer visits: a second Tollgate with a folder, database, keys and process of its own.

It stands beside the operator of the demo as any partner would: both have each other's introduction, and it reaches home
over the interconnect alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from sqlalchemy import Connection

from operator_server.context import Operator, open_operator
from operator_server.demo.world import World, free_ports
from operator_server.store.store import transact
from operator_server.visited.codes import load_features, read_features
from operator_server.visited.identity import introduction
from operator_server.visited.partners import put_partner

NETWORK = "fjordtel.example"

_OPERATOR = f"""
[operator]
server_id = "{NETWORK}"
name = "Fjordtel A/S"
address = ["Havnegade 1", "6400 Sønderborg"]
country = "DK"
time_zone = "Europe/Copenhagen"
tax_rates = {{ S = "25", Z = "0" }}
"""

_FEATURES = """
[[feature]]
feature = "call-waiting"
title = "Call waiting"
activate = "*55#"
deactivate = "*56#"

[[feature]]
feature = "call-forwarding"
title = "Call forwarding"
activate = "*72#"
deactivate = "*73#"

[[feature]]
feature = "conference"
title = "Conference"
activate = "*60#"
deactivate = "*61#"
ef = 7

[[feature]]
feature = "radio"
title = "Radio"
activate = "*62#"
deactivate = "*63#"
ef = 9

[[feature]]
feature = "wake-up"
title = "Wake-up call"
activate = "*90#"
deactivate = "*91#"
menu = "8-1"

[surcharge.conference]
amount = "1.25"
currency = "EUR"

[surcharge.radio]
amount = "0.333333"
currency = "EUR"
"""

_HOME_FEATURES = """
[[feature]]
feature = "call-waiting"
title = "Call waiting"
activate = "*66#"
deactivate = "*67#"
menu = "6-5"

[[feature]]
feature = "call-forwarding"
title = "Call forwarding"
activate = "*44#"
deactivate = "*45#"
menu = "6-2"

[[feature]]
feature = "conference"
title = "Conference"
activate = "*50#"
deactivate = "*51#"

[[feature]]
feature = "radio"
title = "Radio"
activate = "*84#"
deactivate = "*85#"

[sold.conference]
offer = "conference-abroad"
mode = "once"

[sold.radio]
offer = "radio-abroad"
mode = "once"
"""


class VisitedNetwork:
    """The second instance; its server, a base station, starts at once and makes its own database meanwhile."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.folder = world.folder / "visited"
        self.config = self.folder / "configs"
        for name in ("offers", "tariffs"):
            (self.config / name).mkdir(parents=True)
        (self.config / "operator.toml").write_text(_OPERATOR, encoding="utf-8")
        self.features, self.home_features = self.folder / "features.toml", self.folder / "home-features.toml"
        self.features.write_text(_FEATURES, encoding="utf-8")
        self.home_features.write_text(_HOME_FEATURES, encoding="utf-8")
        self.port, link, roaming = free_ports(3)
        self._environment = world.environment | {
            "TOLLGATE_STORE__DATA": str(self.folder / "server"),
            "TOLLGATE_LINK__PORT": str(link),
            "TOLLGATE_WEB__PORT": str(self.port),
            "TOLLGATE_ROAMING__PORT": str(roaming),
            "TOLLGATE_SMS__HOST": "",
        }
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        # The first visit is weeks away: whoever is busy before goes first.
        command = ["nice", "-n", "10", sys.executable, "-m", "operator_server", "serve", "--role", "web"]
        command += ["--child-of", str(os.getpid()), "--config", str(self.config)]
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                command, env=os.environ | self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @cached_property
    def operator(self) -> Operator:
        """The second operator, opened in this process too."""
        with _environment(self._environment):
            return open_operator(self.config)

    @property
    def url(self) -> str:
        """Where its base station is."""
        return f"https://localhost:{self.port}"

    def settle(self) -> None:
        """Load the codes of both, and let each take the introduction of the other."""
        home = self._world.operator
        self._furnish(home, self.home_features, self.operator)
        self._furnish(self.operator, self.features, home)

    def _furnish(self, own: Operator, file: Path, other: Operator) -> None:
        now, codes, told = self._world.clock.now(), read_features(file), introduction(other)

        def furnish(connection: Connection) -> None:
            load_features(connection, codes, now)
            put_partner(connection, told, own.settings.operator.server_id, now, actor="cli:demo")

        transact(own.engine, furnish)

    def stop(self) -> None:
        """Ask its server to end, and wait."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if "operator" in self.__dict__:
            self.operator.engine.dispose()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """These variables for a while: settings are read from them."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
