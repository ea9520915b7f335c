"""An operator with tones to sell, and a card."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from card_samples import SERVICES, CardHouse, Phone
from operator_samples import NOW, OFFERS

from operator_server.tones.registry import import_tone

TUNES = {
    "tone-alarm": ("Alarm:d=8,o=6,b=160:c,c,c,p,c,c,c", ("novelty",)),
    "tone-bach": ("Bach:d=4,o=5,b=112:8e,8g,8f,a,c6,b,8d6,c6,e6,g6,f6,g6,a6,b6,c7,2c7", ("classical",)),
    "tone-bolero": ("Bolero:d=4,o=5,b=80:2c6,16b,16c6,16d6,16c6,16b,16a,8c6", ("classical", "dance")),
}
TONES = "".join(
    f"""
[[offer]]
id = "{product}"
product = "{product}"
kind = "tone"
target = {{ minima = {{ card_slots = 1 }} }}
text.en = {{ title = "{text.partition(":")[0]}" }}

[[offer.mode]]
id = "once"
kind = "one_off"
label = {{ en = "Once" }}
amount = "1.00"
currency = "EUR"
tax_category = "S"

[[offer.mode]]
id = "free"
kind = "free"
label = {{ en = "As a gift" }}
currency = "EUR"
tax_category = "S"
"""
    for product, (text, _) in TUNES.items()
)


class ToneHouse(CardHouse):
    """The operator of card SIM-1, who sells tones: the last of :data:`TUNES` is the newest."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "configs" / "offers" / "shop.toml").write_text(OFFERS + SERVICES + TONES)
        self.take_over()
        for place, (product, (text, kinds)) in enumerate(TUNES.items()):
            at = NOW + timedelta(minutes=place)
            self.change(lambda c, t=text, p=product, k=kinds, at=at: import_tone(c, t, at, product=p, kinds=k))

    def at_tones(self, *lines: str) -> Phone:
        """A phone whose user went through these lines of the menu of tones."""
        phone = self.phone()
        open_tones(phone, *lines)
        return phone


def open_tones(phone: Phone, *lines: str) -> None:
    phone.handset.open_menu()
    phone.choose("Tones", *lines)


def buy(phone: Phone, mode: str = "Once") -> None:
    """From a tone's screen to the agreement, and the tone on the card."""
    phone.choose(mode)
    phone.press(_ok(), "1")


def _ok() -> object:
    from terminal_sim.handset import Key

    return Key.OK
