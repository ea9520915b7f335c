"""A home network and a visited one, each with its own database; a mobile of the first in the air of the second."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from operator_samples import NOW, OFFERS, House, key_of
from sqlalchemy import Connection, update

from operator_server.store.parties import Account
from operator_server.store.rows import table
from operator_server.store.visited import RoamingPartner, SettlementRecord, VisitorRow
from operator_server.visited.base_station import BaseStation
from operator_server.visited.codes import Features, Sold, Surcharge, load_features
from operator_server.visited.faults import HomeRefused, HomeUnreachable, VisitedError
from operator_server.visited.home import Home, let_roam
from operator_server.visited.identity import introduction
from operator_server.visited.notices import tell_of_new
from operator_server.visited.partners import partners, put_partner
from operator_server.visited.peer import RemotePeer, remote_peer
from operator_server.visited.records import Claim
from operator_server.visited.wire import Settled, Vouched, Wanted
from signalling.codes import messages as m
from signalling.codes.table import FeatureCode
from signalling.documents import Quote
from signalling.ids import new_id
from signalling.messages import Signed
from terminal_sim.roaming import Mobile, MobileMemory
from terminal_sim.trust import Identity

HOME, VISITED = "op.example", "north.example"
HOME_CODES = [
    FeatureCode("call-waiting", "Call waiting", "*66#", "*67#", "6-5"),
    FeatureCode("call-forwarding", "Call forwarding", "*44#", "*45#", "6-2"),
    FeatureCode("caller-id", "Caller number", "*31#", "*32#", "6-7"),
    FeatureCode("conference", "Conference", "*50#", "*51#", "6-8"),
    FeatureCode("voice-dial", "Dial by voice", "*80#", "*81#", "6-9"),
    FeatureCode("radio", "Radio", "*84#", "*85#"),
]
LOCAL_CODES = [
    FeatureCode("call-waiting", "Call waiting", "*55#", "*56#"),
    FeatureCode("call-forwarding", "Call forwarding", "*72#", "*73#"),
    FeatureCode("caller-id", "Caller number", "*31#", "*32#"),
    FeatureCode("wake-up", "Wake-up call", "*90#", "*91#", "8-1"),
    FeatureCode("conference", "Conference", "*60#", "*61#", ef=7),
    FeatureCode("radio", "Radio", "*62#", "*63#", ef=9),
    FeatureCode("voice-dial", "Dial by voice", "*88#", "*89#", supported=False),
]
LOCAL = Features(
    LOCAL_CODES,
    surcharge={"conference": Surcharge("1.25", "EUR"), "radio": Surcharge("0.333333", "EUR")},
)
SOLD = {"conference": Sold("conference-abroad", "once"), "radio": Sold("radio-abroad", "once")}
ABROAD = "".join(
    f"""
[[offer]]
id = "{name}-abroad"
product = "{name}-abroad"
kind = "service"
text.en = {{ title = "{name.title()} abroad" }}

[[offer.mode]]
id = "once"
kind = "one_off"
label = {{ en = "Once" }}
amount = "{amount}"
currency = "EUR"
tax_category = "S"
"""
    for name, amount in (("conference", "2.00"), ("radio", "0.50"))
)


class Direct:
    """Home without HTTP; ``down``: the line is cut before or behind home. It counts what it is asked."""

    def __init__(self, house: House, network: str) -> None:
        self.home, self.house, self.network = Home(house.operator, house.offers), house, network
        self.down = ""
        self.asked: list[str] = []

    def _do(self, what: str, operation: Callable[[Connection], Any]) -> Any:
        self.asked.append(what)
        if self.down == "before":
            raise HomeUnreachable("no line")
        try:
            result = self.house.change(operation)
        except VisitedError as no:
            raise HomeRefused(no.code, no.reason) from None
        if self.down == "behind":
            raise HomeUnreachable("the answer was lost")
        return result

    @property
    def _now(self) -> Any:
        return self.house.clock.now()

    def vouch(self, signed: Signed) -> Vouched:
        return self._do("vouch", lambda c: self.home.vouch(c, self.network, signed, self._now))

    def quote(self, terminal: str, wanted: Wanted) -> Signed:
        return self._do("quote", lambda c: self.home.quote(c, self.network, terminal, wanted, self._now))

    def decline(self, terminal: str, quote: str) -> None:
        self._do("decline", lambda c: self.home.decline(c, self.network, terminal, quote, self._now))

    def settle(self, claim: Claim) -> Settled:
        return self._do("settle", lambda c: self.home.settle(c, claim, self._now))

    def notify(self, terminal: str, titles: Sequence[str]) -> None:
        tell_of_new(self.house.operator, self.network, terminal, titles, self._now)


class Air:
    """Between a mobile and a base station; everything that was heard and said is kept."""

    def __init__(self, station: BaseStation) -> None:
        self.station = station
        self.said: list[Signed] = []
        self.messages: list[m.Said] = []
        self.heard: list[m.Heard] = []

    def overhead(self) -> m.Overhead:
        return self.station.overhead()

    def say(self, signed: Signed) -> list[m.Heard]:
        self.said.append(signed)
        self.messages.append(m.decode_uplink(m.decode_signed(m.encode_signed(signed)).document).message)
        heard = m.decode_heard(m.encode_heard(self.station.answer(signed)))
        self.heard += heard
        return heard

    def heard_of(self, kind: type) -> list[Any]:
        return [each for each in self.heard if isinstance(each, kind)]


class Lands:
    """The two operators: T-1 of A-1 at home in ``op.example`` may roam in ``north.example``."""

    def __init__(self, furnished: Path, folder: Path) -> None:
        shutil.copytree(furnished, folder / "home")
        shutil.copytree(furnished, folder / "visited")
        self.home = House(folder / "home")
        (folder / "home" / "configs" / "offers" / "shop.toml").write_text(OFFERS + ABROAD)
        self.home.take_over()
        self.visited = _north(folder / "visited")
        self.direct = Direct(self.home, VISITED)
        self.station = BaseStation(self.visited.operator, lambda partner: self.direct)
        self.home_station = BaseStation(self.home.operator)
        self.home_codes(HOME_CODES)
        self.local_codes(LOCAL)
        self.answers: list[bool] = []
        self.asked: list[tuple[str, Quote]] = []
        self.partner(self.visited, self.home)
        self.partner(self.home, self.visited)
        self.digests = self.home.change(lambda c: let_roam(c, self.home.operator, "T-1", NOW))

    def home_codes(self, codes: list[FeatureCode]) -> int:
        held = self.home.change(lambda c: load_features(c, Features(codes, sold=SOLD), self.home.clock.now()))
        return held.sequence

    def most_owed(self, feature: str, at_most: str, currency: str) -> None:
        """Home owes no more than this for a feature."""
        sold = msgspec.structs.replace(SOLD[feature], at_most=at_most, currency=currency)
        features = Features(HOME_CODES, sold=SOLD | {feature: sold})
        self.home.change(lambda c: load_features(c, features, self.home.clock.now()))

    def local_codes(self, features: Features) -> int:
        return self.visited.change(lambda c: load_features(c, features, NOW)).sequence

    def partner(self, house: House, other: House, url: str = "https://localhost:1") -> None:
        """``house`` takes the introduction of ``other``."""
        own, told = house.operator.settings.operator.server_id, introduction(other.operator, url)
        house.change(lambda c: put_partner(c, told, own, NOW, actor="cli:test"))

    def over_tls(self) -> None:
        """From now on the base station asks home over the interconnect."""
        self.station = BaseStation(self.visited.operator)

    def line(self) -> RemotePeer:
        """The visited operator's way to home."""
        [partner] = self.visited.change(partners)
        return remote_peer(self.visited.operator, partner)

    def memory(self, **changes: Any) -> MobileMemory:
        values: dict[str, Any] = {
            "terminal": "T-1", "home": HOME, "home_key": self.home.operator.keys.public_key(),
            "original": list(HOME_CODES), "sequence": 1, "key_digests": dict(self.digests),
        }  # fmt: skip
        return MobileMemory(**(values | changes))

    def mobile(self, memory: MobileMemory | None = None, station: BaseStation | None = None) -> Mobile:
        """A mobile that is on, whose user accepts as :attr:`answers` say."""

        def accept(text: str, quote: Quote) -> bool:
            self.asked.append((text, quote))
            return self.answers.pop(0)

        memory = msgspec.json.decode(msgspec.json.encode(memory or self.memory()), type=MobileMemory)
        identity = Identity(memory.terminal, key_of(memory.terminal))
        clock = self.home.clock
        return Mobile(
            memory, identity, Air(station or self.station), clock.micros, accept,
            new_agreement=lambda: new_id(clock.micros()),
        )  # fmt: skip

    def here(self, **changes: Any) -> Mobile:
        """A mobile that has entered the visited network."""
        mobile = self.mobile(self.memory(**changes))
        mobile.enter()
        return mobile

    def visitors(self) -> list[VisitorRow]:
        return self.visited.rows(VisitorRow)

    def records(self) -> tuple[list[SettlementRecord], list[SettlementRecord]]:
        """Those of the visited network, and those of home."""
        return self.visited.rows(SettlementRecord), self.home.rows(SettlementRecord)

    def mail_address(self, email: str) -> None:
        accounts = table(Account)
        self.home.change(lambda c: c.execute(update(accounts).where(accounts.c.id == "A-1").values(email=email)))

    def partners(self) -> list[RoamingPartner]:
        return self.visited.rows(RoamingPartner)


def _north(folder: Path) -> House:
    """The visited operator, under its own name."""
    import operator_samples

    text = operator_samples.OPERATOR
    operator_samples.OPERATOR = text.replace(HOME, VISITED).replace('name = "Operator"', 'name = "North"')
    try:
        return House(folder)
    finally:
        operator_samples.OPERATOR = text


def air_of(mobile: Mobile) -> Air:
    assert isinstance(mobile.air, Air)
    return mobile.air
