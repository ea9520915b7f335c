"""A mobile that roams: the codes that its user knows, those of the network around it beside them, and what it dials.

No I/O: :attr:`Mobile.air` carries a signed message to the base station and brings what it answers. The user dials in
the codes of home, or a place of the menu; what goes out is the code of the network around, without the user's doing
(US 6,029,065). What costs something is asked first, and only the key made for it unlocks it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from signalling.codes import keys
from signalling.codes import messages as m
from signalling.codes.table import (
    CodeError,
    Direction,
    FeatureCode,
    by_feature,
    check_codes,
    differing,
    menu_digits,
    read_dialled,
    translate,
)
from signalling.documents import Confirmation, Quote, decode_document, document_digest
from signalling.envelope import BodyError
from signalling.messages import Signed
from signalling.proof import ProofError, check, sign
from terminal_sim.files import write_atomically
from terminal_sim.trust import Identity

MOST_STEPS = 20
"""Messages that one action may lead to; a network that goes on for ever is left."""


class RoamingError(RuntimeError):
    """The network answers what it may not, or cannot be reached; the text says what. Nothing was kept."""


class Local(msgspec.Struct):
    """What is kept of one network: its sequence and the codes that differ. ``unlocked``: features paid for, by number.

    ``new``: features that the original set does not have and the user has not been shown yet.
    """

    sequence: int = 0
    codes: dict[str, FeatureCode] = {}
    unlocked: list[int] = []
    new: list[str] = []


class MobileMemory(msgspec.Struct):
    """What stays without power. ``original`` is the set of the home network and stays usable for entry.

    ``key_digests``: of the keys of features that cost something; empty where the mobile lacks that option.
    ``home_key``: the home operator's public key, which signs quotes. ``counter``: of the last message sent.
    """

    terminal: str
    home: str
    home_key: bytes
    original: list[FeatureCode] = []
    sequence: int = 0
    key_digests: dict[int, bytes] = {}
    counter: int = 0
    networks: dict[str, Local] = {}
    display: bool = True


class Air(Protocol):
    """The way to one base station. Both raise :class:`RoamingError`, ``OSError``."""

    def overhead(self) -> m.Overhead:
        """What the base station broadcasts."""

    def say(self, signed: Signed) -> list[m.Heard]:
        """Bring a message up; what comes down."""


Accept = Callable[[str, Quote], bool]
"""Asks the user whether he accepts: the notice, and the quote."""


class Mobile:
    """A mobile in one network. ``accept`` asks the user; ``keep`` is called when the memory changed.

    :attr:`said` is what the display shows, in order; :attr:`sent` the digits that went out.
    """

    def __init__(
        self,
        memory: MobileMemory,
        identity: Identity,
        air: Air,
        clock: Callable[[], int],
        accept: Accept = lambda text, quote: False,
        keep: Callable[[MobileMemory], None] = lambda memory: None,
        new_agreement: Callable[[], str] | None = None,
    ) -> None:
        self.memory, self.air = memory, air
        self.said: list[str] = []
        self.sent: list[str] = []
        self.active: set[str] = set()
        self.network = ""
        self._identity, self._clock, self._accept, self._keep = identity, clock, accept, keep
        self._new_agreement = new_agreement
        self._wanted: tuple[str, Direction, str] | None = None

    # The network.

    @property
    def at_home(self) -> bool:
        """Whether the network around is the mobile's own."""
        return self.network == self.memory.home

    def local(self) -> Local:
        """What is kept of the network around."""
        return self.memory.networks.setdefault(self.network, Local())

    def enter(self) -> None:
        """Find a network around: register there, without the user's doing, and take its codes."""
        overhead = self.air.overhead()
        self.network = overhead.network
        self._talk(m.Register(self._sequence(), self.memory.display))
        self.page(overhead)

    def page(self, overhead: m.Overhead) -> bool:
        """An overhead message came; whether the mobile answered it. The sequence that it holds already is ignored."""
        if overhead.network != self.network:
            raise RoamingError(f"the base station of {self.network} speaks as {overhead.network}")
        if overhead.download == "on_demand" or overhead.sequence == self._sequence():
            return False
        self._talk(m.PageResponse(self._sequence()))
        return True

    def _sequence(self) -> int:
        return self.memory.sequence if self.at_home else self.local().sequence

    # The user.

    def menu(self, path: str, direction: Direction = "activate") -> None:
        """A place of the menu and Send. New features of the network around stand at its places."""
        try:
            self.dial(menu_digits(path, direction, self.memory.original))
        except CodeError:
            added = [self.local().codes[name] for name in self._added()]
            self._originate(menu_digits(path, direction, added), local=True)

    def dial(self, digits: str) -> None:
        """What the user typed in the codes of home, or of the network around, and Send."""
        meant = read_dialled(digits, self.memory.original)
        known = {} if self.at_home else self.local().codes
        if meant is not None and meant.feature in known:
            self._originate(translate(digits, self.memory.original, known), local=True)
        else:
            local = meant is None and read_dialled(digits, known.values()) is not None
            self._originate(digits, local=local or self.at_home)

    def acknowledge_new(self) -> list[FeatureCode]:
        """The user has read what is new here; those features."""
        local = self.local()
        read = [local.codes[name] for name in local.new if name in local.codes]
        if read:
            self._talk(m.NewCodesRead([each.feature for each in read]))
        local.new = []
        self._kept()
        return read

    def _added(self) -> list[str]:
        return sorted(self.local().codes.keys() - by_feature(self.memory.original).keys())

    def _originate(self, digits: str, *, local: bool) -> None:
        read = read_dialled(digits, self.local().codes.values() if local else self.memory.original)
        self._wanted = None if read is None else (read.feature, read.direction, read.rest)
        self._send_digits(m.Origination(digits, local))

    def _send_digits(self, message: m.Origination | m.OriginationContinuation | m.Activate) -> None:
        self.sent.append(message.digits)
        self._talk(message)

    # The air.

    def _talk(self, message: m.Said) -> None:
        """Say something, and what its answers lead to, until nobody has more to say."""
        waiting: list[m.Said] = [message]
        for _ in range(MOST_STEPS):
            if not waiting:
                return
            for heard in self._exchange(waiting.pop(0)):
                waiting += self._hear(heard)
        raise RoamingError(f"{self.network} does not come to an end")

    def _exchange(self, message: m.Said) -> list[m.Heard]:
        memory = self.memory
        memory.counter += 1
        self._kept()
        uplink = m.Uplink(
            terminal=memory.terminal, home=memory.home, network=self.network, counter=memory.counter, message=message
        )
        return self.air.say(sign(self._identity.key, m.PURPOSE, m.encode_uplink(uplink)))

    def _hear(self, heard: m.Heard) -> list[m.Said]:
        match heard:
            case m.FeatureCodes():
                return self._take_codes(heard)
            case m.StatusRequest():
                return [m.StatusResponse(sorted(by_feature(self.memory.original)))]
            case m.GeneralPage(ef=ef):
                return [m.EfResponse(ef, ef in self.memory.key_digests)]
            case m.SurchargeNotice():
                return [self._ask(heard)]
            case m.FeatureKey():
                return self._unlock(heard)
            case m.Acknowledged(feature=feature, active=active):
                (self.active.add if active else self.active.discard)(feature)
                self._say(f"{self._title(feature)}: {'on' if active else 'off'}")
            case m.Tone(text=text) | m.Refusal(reason=text):
                self._say(text)
        return []

    def _say(self, text: str) -> None:
        if self.memory.display:
            self.said.append(text)

    def _title(self, feature: str) -> str:
        known = by_feature(self.memory.original) | self.local().codes
        return known[feature].title if feature in known else feature

    def _kept(self) -> None:
        self._keep(self.memory)

    # Codes.

    def _take_codes(self, message: m.FeatureCodes) -> list[m.Said]:
        try:
            check_codes(message.codes)
        except CodeError as no:
            raise RoamingError(f"{self.network} sends codes that clash: {no}") from None
        if self.at_home:
            self._take_home(message)
        else:
            self._take_local(message)
        self._kept()
        wanted, self._wanted = self._wanted, None
        if message.whole or wanted is None:
            return []
        # On demand: the wanted feature again, in the code that came.
        feature, direction, rest = wanted
        code = by_feature(message.codes).get(feature)
        if code is None:
            return []
        digits = f"{code.code(direction)[:-1]}{rest}#"
        self.sent.append(digits)
        return [m.OriginationContinuation(digits)]

    def _take_home(self, message: m.FeatureCodes) -> None:
        known = by_feature(self.memory.original)
        came = by_feature(message.codes)
        self._announce([each for each in message.codes if known and each.feature not in known])
        self.memory.original = list((came if message.whole else known | came).values())
        self.memory.sequence = message.sequence

    def _take_local(self, message: m.FeatureCodes) -> None:
        local, original = self.local(), by_feature(self.memory.original)
        # What costs something is not taken before its key has unlocked it, whatever the network sends.
        open_here = [each for each in message.codes if not each.ef or each.ef in local.unlocked]
        kept = differing(original, open_here)
        self._announce([each for name, each in kept.items() if name not in original and name not in local.codes])
        if message.whole:
            paid = {name: each for name, each in local.codes.items() if each.ef in local.unlocked and each.ef}
            local.codes = paid | kept
            local.sequence = message.sequence
        else:
            local.codes |= kept

    def _announce(self, features: list[FeatureCode]) -> None:
        for each in features:
            self.local().new.append(each.feature)
            self._say(f"New: {each.title}, {each.activate}" + (f", menu {each.menu}" if each.menu else ""))

    # What costs something.

    def _ask(self, notice: m.SurchargeNotice) -> m.Said:
        """The home operator signed what it costs; the user's yes is signed in turn."""
        quote = self._checked(notice)
        self._say(notice.text)
        if not self._accept(notice.text, quote):
            self._wanted = None
            return m.SurchargeAnswer(notice.feature)
        assert self._new_agreement is not None
        yes = Confirmation(
            self._new_agreement(), quote.quote, document_digest(notice.quote.document), quote.mode.mode, self._clock()
        )
        return m.SurchargeAnswer(notice.feature, sign(self._identity.key, Confirmation.PURPOSE, yes.encode()))

    def _checked(self, notice: m.SurchargeNotice) -> Quote:
        try:
            quote = decode_document(Quote, check(self.memory.home_key, Quote.PURPOSE, notice.quote))
        except (ProofError, BodyError) as no:
            raise RoamingError(f"{self.network} shows a price that home did not sign: {no}") from None
        if quote.terminal != self.memory.terminal:
            raise RoamingError(f"{self.network} shows a price made for {quote.terminal}")
        return quote

    def _unlock(self, message: m.FeatureKey) -> list[m.Said]:
        code, local = message.code, self.local()
        digest = self.memory.key_digests.get(message.ef)
        if code.ef != message.ef or digest is None or not keys.fits(message.key, digest):
            self._say(f"{code.title}: the key does not fit")
            return []
        if message.ef not in local.unlocked:
            local.unlocked.append(message.ef)
        local.codes[code.feature] = code
        self._kept()
        wanted, self._wanted = self._wanted, None
        direction, rest = (wanted[1], wanted[2]) if wanted and wanted[0] == code.feature else ("activate", "")
        digits = f"{code.code(direction)[:-1]}{rest}#"
        self.sent.append(digits)
        return [m.Activate(digits)]


def load_mobile(path: Path) -> MobileMemory:
    """The mobile in a file. Raises :class:`RoamingError`, ``OSError``."""
    try:
        memory = msgspec.json.decode(path.read_bytes(), type=MobileMemory)
        check_codes(memory.original)
    except (msgspec.MsgspecError, UnicodeDecodeError, CodeError) as error:
        raise RoamingError(f"{path}: not a mobile's memory: {error}; `tollgate visited mobile` writes one") from None
    return memory


def save_mobile(path: Path, memory: MobileMemory) -> None:
    """Write the memory so that a crash leaves the old or the new one."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(memory)))
