"""The air as HTTP: a base station at an address, and ``tollgate-terminal roam`` for a person or a script."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import urllib3

from signalling.clock import Clock
from signalling.codes import messages as m
from signalling.codes.table import CodeError, Direction
from signalling.documents import Quote
from signalling.ids import new_id
from signalling.messages import Signed
from terminal_sim import state as states
from terminal_sim.roaming import Mobile, RoamingError, load_mobile, save_mobile
from terminal_sim.trust import Trust

SECONDS = 40.0
LONGEST = 1024 * 1024
KIND = "application/msgpack"
_MENU = re.compile(r"[0-9]{1,2}(-[0-9]{1,2})*\Z")
HELP = "*66#: a code; 6-5 or 6-5 off: a place of the menu; codes; new; page; quit"


class HttpAir:
    """A base station at ``url``, whose certificate one of ``ca_pem`` has signed."""

    def __init__(self, url: str, ca_pem: str) -> None:
        self._url = f"{url.rstrip('/')}/air"
        context = ssl.create_default_context(cadata=ca_pem or None) if url.startswith("https:") else None
        self._pool = urllib3.PoolManager(retries=False, timeout=SECONDS, ssl_context=context)

    def overhead(self) -> m.Overhead:
        """See :class:`terminal_sim.roaming.Air`."""
        heard = self._ask("GET", b"")
        if len(heard) != 1 or not isinstance(heard[0], m.Overhead):
            raise RoamingError(f"{self._url}: there is no base station")
        return heard[0]

    def say(self, signed: Signed) -> list[m.Heard]:
        """See :class:`terminal_sim.roaming.Air`."""
        return self._ask("POST", m.encode_signed(signed))

    def close(self) -> None:
        """Let the connection go; another message makes a new one."""
        self._pool.clear()

    def _ask(self, method: str, body: bytes) -> list[m.Heard]:
        try:
            answer = self._pool.request(
                method, self._url, body=body or None, headers={"Content-Type": KIND}, redirect=False,
                preload_content=False,
            )  # fmt: skip
            try:
                data = answer.read(LONGEST)
            finally:
                answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise RoamingError(f"{self._url}: no network: {error}") from None
        if answer.status != 200:
            raise RoamingError(
                f"{self._url}: the network answers {answer.status}: {data[:300].decode(errors='replace')}"
            )
        try:
            return m.decode_heard(data)
        except CodeError as no:
            raise RoamingError(f"{self._url}: {no}") from None


def roam(
    folder: Path, url: str, bundle: Path, clock: Clock, lines: Iterator[str], say: Callable[[str], None], *, yes: bool
) -> None:
    """Enter the network at ``url`` and do what the lines say. ``yes``: accept what costs something, else ask a line.

    Raises :class:`RoamingError` and what the terminal's state raises.
    """
    path = folder / "mobile.json"
    if not path.exists():
        raise RoamingError(f"{path}: there is none; `tollgate visited mobile TERMINAL --out {path}` writes it")
    memory = load_mobile(path)
    kept = states.load(folder)
    identity = kept.identity
    if kept.trust.server == memory.home:
        # The home operator may have replaced its key since the mobile was made; its terminal follows at logon.
        memory.home_key = kept.trust.server_public_key
    kept.close()
    if identity.terminal != memory.terminal:
        raise RoamingError(f"{path}: is of {memory.terminal}, the terminal in {folder} is {identity.terminal}")

    def accept(text: str, quote: Quote) -> bool:
        say(f"{text}. Accept? (yes, no)")
        return yes or next(lines, "no").strip() == "yes"

    mobile = Mobile(
        memory, identity, HttpAir(url, Trust.read(bundle).ca_pem), clock.micros, accept,
        lambda changed: save_mobile(path, changed), lambda: new_id(clock.micros()),
    )  # fmt: skip
    mobile.enter()
    say(f"registered in {mobile.network}, codes {mobile.local().sequence if not mobile.at_home else memory.sequence}")
    shown = _show(mobile, say, 0, 0)
    for line in lines:
        words = line.split()
        if words == ["quit"]:
            break
        try:
            _do(mobile, words, say)
        except CodeError as no:
            say(str(no))
        shown = _show(mobile, say, *shown)


def _do(mobile: Mobile, words: list[str], say: Callable[[str], None]) -> None:
    match words:
        case []:
            return
        case ["codes"]:
            for each in mobile.memory.original:
                here = mobile.local().codes.get(each.feature, each)
                say(f"{each.title}: {each.activate} {each.deactivate}, here {here.activate} {here.deactivate}")
        case ["new"]:
            say(", ".join(each.title for each in mobile.acknowledge_new()) or "nothing new")
        case ["page"]:
            if not mobile.page(mobile.air.overhead()):
                say("the codes are those of the network")
        case [path, *way] if _MENU.match(path) and way in ([], ["on"], ["off"]):
            directions: tuple[Direction, ...] = get_args(Direction)
            mobile.menu(path, directions[way == ["off"]])
        case [digits]:
            mobile.dial(digits)
        case _:
            say(HELP)


def _show(mobile: Mobile, say: Callable[[str], None], sent: int, said: int) -> tuple[int, int]:
    for digits in mobile.sent[sent:]:
        say(f"sent {digits}")
    for text in mobile.said[said:]:
        say(text)
    return len(mobile.sent), len(mobile.said)
