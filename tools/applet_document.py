"""Write the dialogue in ``docs/applet.md``: what crosses a card's interface while a user takes an offer, byte by byte.

Run: ``.venv/bin/python -m tools.applet_document``. A test holds the page to what this gives.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from signalling.card import dialogue as d
from signalling.card import secured, sms
from signalling.card.explain import as_text, explain_answer, explain_command
from signalling.card.keys import CardKeys, diversify
from terminal_sim.card import Card, CardMemory
from terminal_sim.handset import MODERN, Handset, Key

PAGE = Path(__file__).parent.parent / "docs" / "applet.md"
BEGIN, END = "<!-- dialogue: python -m tools.applet_document -->\n", "<!-- end of dialogue -->\n"
MASTER, ICCID = bytes(range(16)), "8949000000000000018"
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


class Operator:
    """Answers as a server does, the same in every run."""

    def __init__(self, keys: CardKeys) -> None:
        self._keys = keys
        self._heard = self._sent = 0
        self._parts = sms.Reassembler()

    def answer(self, tpdu: bytes) -> list[bytes]:
        """The deliveries that follow from a message of the card."""
        whole = self._parts.add("", sms.decode_submit(tpdu).content)
        if whole is None or whole.element(sms.COMMAND_PACKET) is None:
            return []
        security = secured.Security(receipt=0)
        opened = secured.open_command(whole.data, self._keys.packets, self._heard, security)
        self._heard = opened.counter
        reply = self.reply(d.decode_from_card(opened.data))
        if reply is None:
            return []
        self._sent += 1
        wanted = secured.Security(receipt=2 if isinstance(reply, d.Inquire) else 1)
        packet = secured.seal_command(d.encode_message(reply), self._keys.packets, d.TAR, self._sent, wanted)
        parts = sms.split((sms.Element(sms.COMMAND_PACKET, b""),), packet, self._sent)
        return [sms.Deliver("+4900000", part, NOW, sms.PID_SIM_DOWNLOAD, sms.DCS_CARD).encode() for part in parts]

    def reply(self, message: d.FromCard) -> d.CardMessage | None:
        """What the operator says to a message."""
        match message:
            case d.Hello():
                return d.Inquire("logon")
            case d.MyCode():
                return d.ShowMenu(1, ["News", "Data volume"])
            case d.WantOffer(menu=menu, offer=offer):
                return d.ShowOffer(menu, offer, "Every morning.", [d.ModeLine("month", "Monthly: €2.00")])
            case d.Take(mode=mode):
                return d.ShowQuote("q-1", bytes(32), mode, "News. Monthly: €2.00, with tax €2.38.", "EUR")
            case d.Yes():
                return d.Tell("done", "Agreed: News.")
        return None


def dialogue() -> str:
    """The page's part, as Markdown."""
    out: list[str] = []
    lines: list[str] = []
    on_air: deque[bytes] = deque()
    keys = diversify(MASTER, ICCID)
    operator = Operator(keys)

    def trace(direction: str, data: bytes) -> None:
        explained = explain_command(data) if direction == ">" else explain_answer(data)
        lines.append(f"{'phone -> card' if direction == '>' else 'card -> phone'}\n{as_text(explained)}")

    def send(tpdu: bytes) -> bool:
        on_air.append(tpdu)
        return True

    handset = Handset(Card(CardMemory(ICCID, "", keys.encode())).transmit, send, profile=MODERN, trace=trace)

    def step(words: str, *keys: Key | str) -> None:
        for key in keys:
            handset.press(key)
        while on_air:
            for tpdu in operator.answer(on_air.popleft()):
                handset.deliver(tpdu)
        out.append(f"### {words}\n\n```text\n" + "\n".join(lines) + "\n```\n")
        lines.clear()

    handset.power_on()
    step("The phone is switched on, and the card is asked for its configuration code")
    handset.open_menu()
    step("The user opens Offers", "1")
    step("He looks at News", "1")
    step("He reads its text and sees its charging mode", Key.OK)
    step("He takes it: the request signal", "1")
    step("He reads price and terms", Key.OK)
    step("He agrees: the confirmation and the card's MAC", "1")
    return "\n".join(out)


def written(page: str) -> str:
    """The page with its dialogue as it is now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{dialogue()}\n{END}{after}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
