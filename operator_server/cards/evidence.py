"""What proves the yes of a card's user: the card's MAC, over the confirmation and over what stood on the screen."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from signalling.messages import Count, Id, Instant


class CardProof(msgspec.Struct, frozen=True):
    """The proof of an agreement whose evidence is of kind ``card_mac``, kept as MessagePack in ``Agreement.proof``.

    ``mac``: as :func:`signalling.card.keys.agreement_mac` makes it with the card's agreement key of set ``key_number``.
    ``shown``: the quote as the card was sent it; its SHA-256 is in the MAC. ``packet``: counter of the packet that
    brought it. Operator and card share the key: the MAC shows that the card or the operator made it, and a card
    cannot be told apart from its operator by anybody else.
    """

    iccid: Annotated[str, Meta(max_length=20)]
    key_number: int
    mac: Annotated[bytes, Meta(min_length=16, max_length=16)]
    shown: Annotated[bytes, Meta(max_length=8192)]
    packet: Count
    terminal: Id
    at: Instant
    kind: str = "card_mac"

    def encode(self) -> bytes:
        """The bytes to keep."""
        return msgspec.msgpack.encode(self)


def decode_proof(proof: bytes) -> CardProof:
    """The record again. Raises ``msgspec.MsgspecError``."""
    return msgspec.msgpack.decode(proof, type=CardProof)
