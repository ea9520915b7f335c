"""The keys of a card, made from a master key so that no two cards share one (NIST SP 800-108, CMAC counter mode)."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

from signalling.card.secured import PacketKeys
from signalling.card.tlv import CardError

KEY_BYTES = 16
_STATEMENT = b"tollgate card agreement 1\x00"


class CardKeys(NamedTuple):
    """The keys of one card: number of the set, KIc, KID, and the key that its agreements are vouched for with."""

    number: int
    kic: bytes
    kid: bytes
    agreement: bytes

    @property
    def packets(self) -> PacketKeys:
        """Those that secured packets need."""
        return PacketKeys(self.number, self.kic, self.kid)

    def encode(self) -> bytes:
        """Bytes to seal and keep."""
        return msgspec.msgpack.encode(tuple(self))


class Personalisation(msgspec.Struct, frozen=True):
    """What is written into a card when it is made: numbers, keys (:meth:`CardKeys.encode`), where its messages go,
    in which language its own words are.

    ``sent`` and ``heard``: from which counters on, where the card takes the place of another with the same number.
    """

    iccid: str
    imsi: str
    keys: bytes
    number: str
    sent: int = 0
    heard: int = 0
    language: str = "en"

    def encode(self) -> bytes:
        """As JSON. It holds secrets."""
        return msgspec.json.encode(self)


def decode_keys(data: bytes) -> CardKeys:
    """The keys again. Raises :class:`CardError`."""
    try:
        number, *keys = msgspec.msgpack.decode(data, type=tuple[int, bytes, bytes, bytes])
    except msgspec.MsgspecError as error:
        raise CardError(f"these bytes are no keys of a card: {error}") from None
    if not 1 <= number <= 15 or any(len(key) not in (16, 32) for key in keys):
        raise CardError("a key set has a number from 1 to 15 and three AES keys of 16 or 32 bytes")
    return CardKeys(number, *keys)


def diversify(master: bytes, iccid: str, number: int = 1) -> CardKeys:
    """The keys of the card with this ICCID, by one derivation for each use; ``master`` has 16 or 32 bytes."""
    if not iccid.isascii() or not iccid.isdigit() or not 18 <= len(iccid) <= 20:
        raise CardError(f"ICCID {iccid!r} has not 18 to 20 digits")
    if not 1 <= number <= 15:
        raise CardError(f"key number {number} is not of 1 to 15")
    context = iccid.encode() + bytes((number,))

    def derived(label: bytes) -> bytes:
        kdf = KBKDFCMAC(
            algorithm=algorithms.AES, mode=Mode.CounterMode, length=KEY_BYTES, rlen=4, llen=4,
            location=CounterLocation.BeforeFixed, label=b"tollgate card " + label, context=context, fixed=None,
        )  # fmt: skip
        return kdf.derive(master)

    return CardKeys(number, derived(b"KIc"), derived(b"KID"), derived(b"agreement"))


def agreement_mac(key: bytes, document: bytes, shown: bytes) -> bytes:
    """AES-CMAC, 16 bytes, over a confirmation document and the SHA-256 of the quote as the user was shown it.

    Statement: "tollgate card agreement 1" 00 | u32 length of the document, big-endian | document | digest.
    """
    mac = CMAC(algorithms.AES(key))
    mac.update(_STATEMENT + len(document).to_bytes(4, "big") + document + shown)
    return mac.finalize()


def luhn_digit(digits: str) -> str:
    """The check digit that ends an ICCID or an IMEI (ITU-T E.118)."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)
