"""What the applet keeps on its card."""

from __future__ import annotations

import msgspec

from signalling.tones.ringing import Binding

SLOTS = 8
"""For tones, on one card."""


class AppletMemory(msgspec.Struct):
    """What the applet keeps: the last menu, the phone it was in last, and what lies in its slots.

    ``slots``: product to version and content; a slot a product. ``tone_menu``: the last menu is one of tones.
    ``bindings``: which tone rings for whom.
    """

    menu: int = 0
    titles: list[str] = []
    gone: list[int] = []
    tac: str = ""
    slots: dict[str, tuple[str, bytes]] = {}
    tone_menu: bool = False
    tone_titles: dict[str, str] = {}
    bindings: list[Binding] = []

    def keep_menu(self, menu: int, titles: list[str]) -> None:
        """Another menu takes the place of the one before."""
        self.menu, self.titles, self.gone = menu, titles, []
        self.tone_menu = False

    def open_refs(self) -> list[int]:
        """Places in the menu whose offers were neither taken nor rejected since."""
        return [ref for ref in range(1, len(self.titles) + 1) if ref not in self.gone]

    def tone_title(self, product: str) -> str:
        """How a tone is called on the screen."""
        return self.tone_titles.get(product, product)

    def remove_tone(self, product: str) -> None:
        """Free its slot; it rings for nobody any more."""
        self.slots.pop(product, None)
        self.tone_titles.pop(product, None)
        self.bindings = [each for each in self.bindings if each.product != product]
