"""The terminal's menu for a person: plain text, also from a pipe, one command a line.

It runs in a thread of its own beside the reactor; each wish waits for its answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from twisted.internet.threads import blockingCallFromThread

from signalling.clock import Clock, from_micros
from signalling.messages import ModeTerms, Status
from signalling.money import MoneyError, decimal_micros
from terminal_sim import counters
from terminal_sim.client import LinkLost, StepRefused
from terminal_sim.counters import UseRefused
from terminal_sim.delivery import DeliveryPaused
from terminal_sim.events import Complaint, Event, MenuShown, NoticeArrived, Refused
from terminal_sim.keeper import LinkKeeper
from terminal_sim.menu import Line, MenuError
from terminal_sim.negotiation import Quotation, money
from terminal_sim.state import Agreement, Item, State

HELP = """offers              what is offered now              (o)
select N            take offer N                     (s N)
reject N            do not show offer N again        (r N)
later N             decide on offer N another time   (l N)
installed           what is installed                (i)
use N [TIMES]       use installed item N             (u N)
report              report the counters now
status              validity, authorization, charges (t)
messages            messages from the operator       (m)
quit                leave                            (q)"""


class Quit(Exception):
    """The user leaves, or the input ended."""


class Offline(Exception):
    """The server is not reached now; the text says why."""


class TerminalConsole:
    """The menu over one terminal's state and link."""

    def __init__(self, state: State, clock: Clock, reactor: Any, keeper: LinkKeeper, console: Console) -> None:
        self._state, self._clock, self._reactor, self._keeper = state, clock, reactor, keeper
        self._console = console
        self._out: list[str] = []
        self._commands: dict[str, Callable[[list[str]], None]] = {
            "offers": self._offers, "o": self._offers,
            "select": self._select, "s": self._select,
            "reject": self._reject, "r": self._reject,
            "later": self._later, "l": self._later,
            "installed": self._installed, "i": self._installed,
            "use": self._use, "u": self._use,
            "report": self._report,
            "status": self._status, "t": self._status,
            "messages": self._messages, "m": self._messages,
            "help": self._help, "?": self._help, "h": self._help,
            "quit": self._quit, "q": self._quit, "exit": self._quit,
        }  # fmt: skip

    def happened(self, event: Event) -> None:
        """Events to tell the user before the next prompt; called in the reactor's thread."""
        if isinstance(event, NoticeArrived):
            self._out.append(f"Message: {event.notice.text}  (messages shows it)")
        elif isinstance(event, MenuShown):
            self._out.append(f"{len(event.menu.lines)} offers; 'offers' shows them")
        elif isinstance(event, Complaint):
            self._out.append(f"The server complains: {event.code}: {event.reason}")

    def trouble(self, text: str) -> None:
        """Something to tell before the next prompt."""
        self._out.append(text)

    def run(self) -> None:
        """Read commands until the user quits or the input ends."""
        self._say(f"Terminal {self._state.identity.terminal} of {self._state.trust.server}. 'help' lists the commands.")
        try:
            while True:
                self._tell()
                self._command(self._ask("> "))
        except Quit:
            self._say("Good-bye.")

    def _command(self, text: str) -> None:
        word, *arguments = text.split() or [""]
        if not word:
            return
        command = self._commands.get(word.lower())
        if command is None:
            self._say(f"There is no command {word!r}; 'help' lists them.")
            return
        try:
            command(arguments)
        except (MenuError, UseRefused, Offline) as error:
            self._say(f"{error}.")
        except LinkLost as error:
            self._say(f"The link was lost: {error}. What was begun goes on when it stands again.")
        except StepRefused as error:
            self._say(f"The delivery does not go on: {error}. It is tried again at the next connection.")
        except DeliveryPaused as error:
            self._say(f"The download was interrupted: {error}. It goes on at the next connection.")

    # Talking.

    def _say(self, text: str = "") -> None:
        self._console.print(text, markup=False, highlight=False)

    def _tell(self) -> None:
        out, self._out = self._out, []
        for text in dict.fromkeys(out):
            self._say(f"* {text}")

    def _ask(self, prompt: str) -> str:
        self._console.print(prompt, end="", markup=False, highlight=False)
        self._console.file.flush()
        try:
            line = sys.stdin.readline()
        except UnicodeDecodeError:
            return "?"
        if not line:
            raise Quit
        if not sys.stdin.isatty():
            self._say(line.rstrip("\n"))
        return line.strip()

    def _call(self, wish: Callable[..., Any], *arguments: Any) -> Any:
        return blockingCallFromThread(self._reactor, wish, *arguments)

    def _client(self) -> Any:
        client = self._keeper.client
        if client is None:
            raise Offline(f"Not connected: {self._keeper.trouble or 'connecting'}")
        return client

    def _number(self, arguments: list[str], place: int = 0, default: int | None = None) -> int:
        if len(arguments) <= place:
            if default is None:
                raise MenuError("say which number")
            return default
        text = arguments[place]
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise MenuError(f"{text!r} is not a number")
        return int(text)

    # The offer display part and the requesting part.

    def _offers(self, arguments: list[str]) -> None:
        menu = self._client().dialogue.menu
        if not menu.lines:
            self._say("There is nothing to offer for this terminal now.")
            return
        table = Table("No.", "Offer", "Kind", "Charging modes", "", box=None, pad_edge=False)
        for number, line in enumerate(menu.lines, 1):
            entry = line.entry
            modes = "\n".join(f"{terms.label}: {terms.price_text}" for terms in entry.modes)
            mark = "" if line.mark == "open" else line.mark
            needs = [other.entry.title for other in menu.missing(line)]
            text = f"{entry.title} {entry.release}\n{entry.text}" + (f"\nneeds {', '.join(needs)}" if needs else "")
            table.add_row(str(number), text, entry.kind, modes, mark)
        self._console.print(table, markup=False, highlight=False)

    def _line(self, arguments: list[str]) -> Line:
        line: Line = self._client().dialogue.menu.line(self._number(arguments))
        return line

    def _select(self, arguments: list[str]) -> None:
        line = self._line(arguments)
        mode = self._choose_mode(line.entry.modes)
        if mode is None:
            return
        client = self._client()
        answer = self._call(client.request, line, mode.mode)
        while isinstance(answer, Quotation):
            if answer.answer == "countered":
                self._say(f"The operator answers with another proposal. {answer.reason}")
            for text in answer.lines():
                self._say(text)
            wish = self._ask("[c]onfirm, [p]ropose another mode or a limit, [n]o: ").lower()
            if wish in ("c", "confirm", "y", "yes"):
                self._confirm(client, line, answer)
                return
            if wish in ("p", "propose"):
                proposal = self._propose(line)
                if proposal is not None:
                    answer = self._call(client.counter, line, answer, *proposal)
                continue
            if wish in ("n", "no", ""):
                self._call(client.decline, line, answer)
                line.mark = "open"
                self._say("Nothing was agreed.")
                return
        self._say(f"The operator refuses: {answer.reason} ({answer.code}).")

    def _choose_mode(self, modes: list[ModeTerms]) -> ModeTerms | None:
        """The charging mode display part: which mode?"""
        for number, terms in enumerate(modes, 1):
            self._say(f"  {number}  {terms.label}: {terms.price_text}")
        text = self._ask(f"Charging mode [1-{len(modes)}, empty: back]: ")
        if not text:
            return None
        number = self._number([text])
        if not 1 <= number <= len(modes):
            raise MenuError(f"there is no mode {number}")
        return modes[number - 1]

    def _propose(self, line: Line) -> tuple[str, int | None] | None:
        try:
            mode = self._choose_mode(line.entry.modes)
            if mode is None:
                return None
            text = self._ask(f"Spending limit a period in {mode.currency} [empty: none]: ") if mode.counter else ""
            limit = decimal_micros(text) if text else None
        except (MenuError, MoneyError) as error:
            self._say(f"{error}.")
            return None
        if limit is not None and limit < 0:
            self._say("A limit is not below 0.")
            return None
        return mode.mode, limit

    def _confirm(self, client: Any, line: Line, quotation: Quotation) -> None:
        agreement = self._call(client.confirm, line, quotation)
        if isinstance(agreement, Refused):
            self._say(f"The operator refuses: {agreement.reason} ({agreement.code}). Nothing was agreed.")
            return
        self._say(f"Agreed: {agreement.id}")
        self._deliver(client, agreement)

    def _deliver(self, client: Any, agreement: Agreement) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as progress:
            task = progress.add_task(agreement.confirmed.title, total=None)

            def arrived(done: int, length: int) -> None:
                progress.update(task, completed=done, total=length)

            self._call(client.finish, agreement, arrived)
        if agreement.outcome == "installed":
            self._say(f"{agreement.confirmed.title} {agreement.confirmed.release} is installed.")
        else:
            self._say(f"{agreement.confirmed.title} was not installed: {agreement.reason}.")
        if agreement.charge:
            self._say(f"Charge: {agreement.charge}.")

    def _reject(self, arguments: list[str]) -> None:
        line = self._line(arguments)
        answer = self._call(self._client().reject, line, " ".join(arguments[1:])[:200])
        if isinstance(answer, Refused):
            self._say(f"The operator did not note it: {answer.reason} ({answer.code}).")
            return
        until = f"until {from_micros(answer.until):%Y-%m-%d}" if answer.until is not None else "again"
        self._say(f"{line.entry.title} will not be offered {until}.")

    def _later(self, arguments: list[str]) -> None:
        line = self._line(arguments)
        answer = self._call(self._client().later, line)
        if isinstance(answer, Refused):
            self._say(f"The operator did not note it: {answer.reason} ({answer.code}).")
        else:
            self._say(f"{line.entry.title} will be offered again.")

    # What is installed, counters, messages, status.

    def _installed(self, arguments: list[str]) -> None:
        items = self._state.active_items()
        if not items:
            self._say("Nothing is installed yet.")
            return
        table = Table("No.", "Item", "Mode", "Used", "Granted up to", box=None, pad_edge=False)
        for number, item in enumerate(items, 1):
            terms = self._state.agreements[item.agreement].confirmed.terms
            kept = self._state.counters_of(item.installation)
            used = ", ".join(f"{counter.value} {terms.unit or 'times'}" for counter in kept)
            granted = ", ".join(str(counter.usage.ceiling) for counter in kept if counter.usage is not None)
            table.add_row(str(number), f"{item.title} {item.release}", terms.label, used or "not counted", granted)
        self._console.print(table, markup=False, highlight=False)

    def _item(self, arguments: list[str]) -> Item:
        items = self._state.active_items()
        number = self._number(arguments)
        if not 1 <= number <= len(items):
            raise MenuError(f"there is no installed item {number}; 'installed' lists them")
        return items[number - 1]

    def _use(self, arguments: list[str]) -> None:
        item = self._item(arguments)
        times = self._number(arguments, 1, default=1)
        if not 1 <= times <= 1_000_000:
            raise MenuError("use an item 1 to 1000000 times")
        value = self._call(counters.use, self._state, item.installation, times, self._clock.micros())
        self._say(f"{item.title}: used." if value is None else f"{item.title}: used {times}, counter at {value}.")

    def _report(self, arguments: list[str]) -> None:
        answer = self._call(self._client().report)
        if answer is None:
            self._say("There is nothing new to report.")
        elif isinstance(answer, Refused):
            self._say(f"The operator refuses: {answer.reason} ({answer.code}).")
        else:
            for outcome in answer.outcomes:
                self._say(f"{outcome.counter} of {outcome.installation}: report {outcome.sequence} {outcome.status}")

    def _status(self, arguments: list[str]) -> None:
        status = self._call(self._client().status)
        if not isinstance(status, Status):
            self._say(f"The operator refuses: {status.reason} ({status.code}).")
            return
        for text in _status_lines(status):
            self._say(text)

    def _messages(self, arguments: list[str]) -> None:
        if not self._state.notices:
            self._say("No messages.")
            return
        for message in self._state.notices.values():
            noticed = message.noticed
            mark = " " if message.read else "*"
            self._say(f"{mark} {from_micros(noticed.at):%Y-%m-%d %H:%M} {noticed.about}: {noticed.text}")
        unread = [message.noticed.notice for message in self._state.unread()]
        client = self._keeper.client
        if unread and client is not None:
            self._call(client.read, unread)

    def _help(self, arguments: list[str]) -> None:
        self._say(HELP)

    def _quit(self, arguments: list[str]) -> None:
        raise Quit


def _status_lines(status: Status) -> list[str]:
    """Validity, authorization, counters and charges in words (claim 25)."""
    text = []
    for item in status.installations:
        used = "".join(f", {counter} {value}" for counter, value in sorted(item.counters.items()))
        text.append(f"{item.product} {item.release}: {item.validity}, {item.authorization.replace('_', ' ')}{used}")
    for charge in status.charges:
        text.append(
            f"{charge.currency}: not yet billed {money(charge.unbilled, charge.currency)}, "
            f"billed and open {money(charge.open, charge.currency)}, "
            f"reserved {money(charge.reserved, charge.currency)}, "
            f"left to spend {money(charge.available, charge.currency)}"
        )
    return text or ["Nothing is installed and nothing was charged."]
