"""A phone on the screen: drawn with its keys, used by keyboard, or by words from a pipe.

Keys: arrows move, Enter is OK, Left or Escape goes back, Ctrl-X is the red key, Ctrl-N refuses, Tab asks for help,
m opens the card's menu, q quits; digits and letters are typed. Words, a line each: ``menu``, ``ok``, ``back``,
``red``, ``refuse``, ``help``, ``up``, ``down``, ``choose TEXT``, ``type TEXT``, ``wait``, ``show``, ``pause SECONDS``,
``call NUMBER``, ``quit``. On the air also ``sms TEXT`` to the operator's number; at a serving node ``ussd TEXT`` for a
code and for the answers to it, ``end``, ``move HOST:PORT`` to another node, ``hangup``, ``takes nothing`` and
``takes all``. At the keyboard ``*``, ``#`` and digits dial from the idle screen.
"""

from __future__ import annotations

import os
import select
import sys
import tempfile
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.align import Align
from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from signalling.card.explain import as_text, explain_answer, explain_command
from signalling.tones.player import play, player
from signalling.tones.sound import render
from terminal_sim.handset import Handset, Key, Screen

WIDTH = 34
LINES = 8
LONGEST_WAIT, LONGEST_CALL = 8.0, 70.0
"""Seconds that a script waits for the screen to be still: for an answer, and while a call stands."""

KEYS = {
    "\r": Key.OK, "\n": Key.OK, "\x1b[A": Key.UP, "\x1b[B": Key.DOWN, "\x1b[D": Key.BACK, "\x1b[C": Key.OK,
    "\x1b": Key.BACK, "\x18": Key.RED, "\x0e": Key.REFUSE, "\t": Key.HELP, "\x7f": Key.DELETE,
}  # fmt: skip
WORDS = {
    "ok": Key.OK, "back": Key.BACK, "red": Key.RED, "refuse": Key.REFUSE, "help": Key.HELP, "up": Key.UP,
    "down": Key.DOWN,
}  # fmt: skip


def _drawn(screen: Screen, notice: str = "") -> Panel:
    """The phone as it looks now."""
    body = Text(no_wrap=False)
    if screen.kind == "idle":
        body.append("\n\nTollgate\n\n" if not notice else f"\n{notice}\n")
    else:
        body.append(screen.title + "\n", style="bold" if screen.lines else "")
    top = max(0, min(screen.marked - LINES // 2, len(screen.lines) - LINES))
    for place, item in enumerate(screen.lines[top : top + LINES], top):
        body.append(
            f"{'>' if place == screen.marked else ' '} {item.text}\n", "reverse" if place == screen.marked else ""
        )
    if screen.kind == "input":
        body.append(("*" * len(screen.typed) if screen.hidden else screen.typed) + "_\n", style="underline")
    keys = {"idle": "m menu   q quit", "key": "press a key", "text": "Enter OK   Left back"}
    foot = keys.get(screen.kind, "Enter OK   Left back") + ("   Tab help" if screen.help else "")
    body.append("\n" + foot, style="dim")
    return Panel(body, width=WIDTH, title="phone", subtitle="Ctrl-X red key", padding=(0, 1))


def _as_line(screen: Screen, notice: str = "") -> str:
    """The screen in one line, for scripts."""
    if screen.kind == "idle":
        return f"[idle] {notice}".rstrip()
    lines = " | ".join(("*" if place == screen.marked else "") + item.text for place, item in enumerate(screen.lines))
    return f"[{screen.kind}] {screen.title}" + (f" | {lines}" if lines else "")


class Tracer:
    """Prints what crosses the card's interface, explained; ``on`` or not."""

    def __init__(self, console: Console, *, on: bool) -> None:
        self._console = console
        self.on = on

    def __call__(self, direction: str, data: bytes) -> None:
        if not self.on:
            return
        lines = explain_command(data) if direction == ">" else explain_answer(data)
        who = "phone -> card" if direction == ">" else "card -> phone"
        self._console.print(f"{who}\n{as_text(lines)}", markup=False, highlight=False, soft_wrap=True)


class PhoneConsole:
    """Reads keys or words in a thread; ``call`` runs a function where the phone lives and waits for it."""

    def __init__(
        self,
        handset: Handset,
        console: Console,
        call: Callable[[Callable[[], Any]], Any],
        do: Callable[[str, str], str] = lambda word, rest: f"{word}: this phone cannot",
    ) -> None:
        """``do``: what the phone does beside the card, by word and argument; it gives what is wrong with it."""
        self._handset = handset
        self._console = console
        self._call = call
        self._do = do
        self.notice = ""
        self.text = ""
        """The last text for the user: of a short message, or in a USSD session."""

        self._dialled = ""
        self._live = False

    def changed(self) -> None:
        """Something happened that the user did not do: draw again."""
        if self._live:
            self._draw()

    def run(self, source: IO[str] = sys.stdin) -> None:
        """Until the user quits or the input ends."""
        if source.isatty():
            self._live = True
            with _raw(source):
                self._draw()
                for key in _keys(source):
                    if not self._pressed(key):
                        return
                    self._draw()
        else:
            for line in source:
                if not self._word(line.strip()):
                    return
                self._say()

    def _pressed(self, key: str) -> bool:
        idle = self._handset.screen.kind == "idle"
        if key == "q" and idle:
            return False
        if idle and (key in "0123456789*#+" or (self._dialled and key in ("\r", "\n", "\x7f", "\x18"))):
            self._dial(key)
            return True
        if key == "m" and idle:
            self._call(self._handset.open_menu)
        elif key in KEYS or key.isprintable():
            self._call(lambda: self._handset.press(KEYS.get(key, key)))
            self._hear()
        return True

    def _dial(self, key: str) -> None:
        """A key of what the user dials; OK sends it."""
        if key in ("\r", "\n"):
            dialled, self._dialled, self.text = self._dialled, "", ""
            self.notice = self._call(lambda: self._do("ussd", dialled))
        elif key == "\x7f":
            self._dialled = self._dialled[:-1]
        elif key == "\x18":
            self._dialled = ""
            self._call(lambda: self._do("end", ""))
        else:
            self._dialled += key

    def _word(self, line: str) -> bool:
        word, _, rest = line.partition(" ")
        handset = self._handset
        if word == "quit":
            return False
        if word == "menu":
            self._call(handset.open_menu)
        elif word == "wait":
            self._call(handset.wait)
        elif word == "type":
            self._call(lambda: handset.enter(rest) if handset.screen.kind == "input" else handset.press(rest[:1]))
        elif word == "choose":
            try:
                self._call(lambda: handset.choose(rest))
            except LookupError as error:
                self._console.print(str(error), markup=False, highlight=False)
        elif word == "call":
            caller, _, called = rest.partition(" ")
            tone = self._call(lambda: handset.incoming_call(caller, called))
            rings = tone.title if tone else "the phone's own ring"
            self._console.print(f"{caller} calls: {rings}", markup=False, highlight=False)
        elif word in ("ussd", "sms", "end", "move", "hangup", "takes"):
            self.text = ""
            if trouble := self._call(lambda: self._do(word, rest)):
                self._console.print(trouble, markup=False, highlight=False)
        elif word == "pause":
            time.sleep(min(60.0, float(rest or "1")))
        elif word in WORDS:
            self._call(lambda: handset.press(WORDS[word]))
        elif word and word != "show":
            self._console.print(f"{word!r} is no word here; see --help", markup=False, highlight=False)
        self._settle()
        self._hear()
        return True

    def _hear(self) -> None:
        """Play the sample that the phone was given, and say so."""
        sample, self._handset.played = self._handset.played, None
        if sample is None:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sample.wav"
            path.write_bytes(render(sample))
            trouble = play(path) if player() else "no player on this machine"
        self.notice = f"{sample.title} is played" + (f": {trouble}" if trouble else "")
        self._console.print(self.notice, markup=False, highlight=False)

    def _settle(self) -> None:
        """Wait until the phone has had something to show for a moment; a script needs the answer to its last word."""
        last, quiet, begun = "", 0, time.monotonic()
        while quiet < 6 and time.monotonic() < begun + (LONGEST_CALL if self._handset.waits else LONGEST_WAIT):
            time.sleep(0.05)
            now = _as_line(self._handset.screen) + self.text
            busy = self._handset.waits or (self._handset.screen.kind == "text" and not self._handset.asked)
            quiet = quiet + 1 if now == last and not busy else 0
            last = now

    def _say(self) -> None:
        if self.text:
            shown, self.text = " | ".join(self.text.splitlines()), ""
            self._console.print(f"[message] {shown}", markup=False, highlight=False, soft_wrap=True)
        self._console.print(_as_line(self._handset.screen, self.notice), markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        self._console.clear()
        notice = "\n".join(each for each in (self.text, self._dialled, self.notice) if each)
        self._console.print(Group(Align.left(_drawn(self._handset.screen, notice))))


@contextmanager
def _raw(source: IO[str]) -> Iterator[None]:
    before = termios.tcgetattr(source)
    tty.setcbreak(source)
    try:
        yield
    finally:
        termios.tcsetattr(source, termios.TCSADRAIN, before)


def _keys(source: IO[str]) -> Iterator[str]:
    """A key at a time; an arrow is one key."""
    number = source.fileno()
    while data := os.read(number, 1):
        if data == b"\x1b" and select.select([number], [], [], 0.05)[0]:
            data += os.read(number, 2)
        elif data[0] >= 0xC0:
            data += os.read(number, 1 if data[0] < 0xE0 else 2 if data[0] < 0xF0 else 3)
        yield data.decode("utf-8", "replace")
