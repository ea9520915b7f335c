"""The messages of the link, one structure a type; ``TYPE`` is the name on the wire.

Bodies are plain MessagePack maps. Fields that a receiver does not know are ignored, so that a newer peer can add some.
Instants are microseconds since 1970 (UTC), amounts are micros of a currency's major unit, identifiers and digests are
``str`` and ``bin``. Documents that somebody signs travel as the exact bytes that were signed (:class:`Signed`).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from signalling.decoding import UNREADABLE
from signalling.envelope import BodyError, Envelope, UnknownType

Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:@-]+\Z")]
Text = Annotated[str, Meta(max_length=4000)]
Word = Annotated[str, Meta(min_length=1, max_length=128)]
Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Micros = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Instant = Annotated[int, Meta(ge=0, le=2**62)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]

Trigger = Literal["logon", "calendar", "interval", "manual"]
"""Why the server inquires (claims 1 and 15)."""

SectionField = Literal["hardware", "firmware", "base_software", "catalogue_items"]


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of all messages."""

    TYPE: ClassVar[str]


class Signed(msgspec.Struct, frozen=True):
    """A document as the exact bytes that were signed, and the Ed25519 signature over its purpose and those bytes."""

    document: Annotated[bytes, Meta(max_length=32 * 1024)]
    signature: Signature


# The link itself: exchange 0.


class Challenge(Message, frozen=True):
    """Server, first word on a link: prove who you are over this nonce."""

    TYPE = "challenge"
    protocol: int
    server: Id
    nonce: Digest
    time: Instant


class Logon(Message, frozen=True):
    """Terminal: its proof; see :func:`signalling.proof.logon_statement`."""

    TYPE = "logon"
    terminal: Id
    binding: Literal["tls-exporter", "tls-server-end-point", "none"]
    signature: Signature
    languages: Annotated[list[Annotated[str, Meta(max_length=35)]], Meta(max_length=8)] = []
    software: Annotated[str, Meta(max_length=128)] = ""


class Welcome(Message, frozen=True):
    """Server: the proof holds. Times in seconds; ``rate`` is how many messages a second the terminal may send.

    ``key_changes``: each a signed :class:`signalling.documents.KeyChange`, oldest first.
    """

    TYPE = "welcome"
    session: Id
    time: Instant
    idle_timeout: int
    rate: int
    key_changes: Annotated[list[Signed], Meta(max_length=16)] = []


class Logoff(Message, frozen=True):
    """Terminal: its session ends, the link stays; the server answers with a new :class:`Challenge`."""

    TYPE = "logoff"


class Error(Message, frozen=True):
    """Either side: what was wrong with message ``re``. With ``closing`` the link ends after it."""

    TYPE = "error"
    code: Word
    reason: Text
    closing: bool = False


class Ping(Message, frozen=True):
    """Either side: are you there?"""

    TYPE = "ping"


class Pong(Message, frozen=True):
    """The answer to a ping."""

    TYPE = "pong"


class Bye(Message, frozen=True):
    """Either side: the link ends, for this reason."""

    TYPE = "bye"
    reason: Text = ""


# Interrogation: begun by the server.


class Inquiry(Message, frozen=True):
    """Server: what is your configuration code? (claim 15, first step)"""

    TYPE = "inquiry"
    trigger: Trigger


class ConfigurationReport(Message, frozen=True):
    """Terminal: its configuration code and the digests it is made of (claim 21)."""

    TYPE = "configuration"
    code: Digest
    sections: dict[SectionField, Digest]


class SectionRequest(Message, frozen=True):
    """Server: these sections were never seen; send them. Terminal answers with :class:`SectionPart` for each."""

    TYPE = "section_request"
    sections: list[SectionField]


class SectionPart(Message, frozen=True):
    """Terminal: part ``part`` of ``parts`` (from 1) of the canonical form of a section; at most 48 KiB each."""

    TYPE = "section_part"
    section: SectionField
    part: Annotated[int, Meta(ge=1, le=512)]
    parts: Annotated[int, Meta(ge=1, le=512)]
    data: Annotated[bytes, Meta(max_length=48 * 1024)]


# The offer menu: begun by the server with the offers that close each interrogation.


class ModeTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """A charging mode of an offer with its price, as the terminal shows it (claim 4).

    ``kind``: free, one_off, per_use, subscription, ... ``amount``: micros net of tax, for one unit of ``unit_size``
    ``unit`` (per_use), once (one_off) or for each ``period`` (subscription). ``tax_rate``: basis points.
    ``tax_included``: the basis points that ``amount`` contains, 0 where tax comes on top; where it contains tax and
    ``tax_rate`` is 0, the user owes none and pays ``amount`` without it. ``included``: units a period that cost
    nothing. ``price_text``: the price in the user's language, for terminals that compute nothing.

    ``payment``: postpaid, prepaid, pseudo_prepaid or rated_only. ``period``: day, week, month or year, which is
    ``charged`` in advance or in arrears; with ``pro_rata`` the first one ends with the calendar's and costs its share.
    ``trial_days``: days that cost nothing before the mode begins; the user is told ``trial_warning_days`` before it
    does. ``price_change_days``: the notice with which the price may be changed; 0: it is fixed.
    """

    mode: Id
    kind: Word
    label: Text
    price_text: Text
    currency: Annotated[str, Meta(min_length=3, max_length=3)]
    amount: Micros
    tax_category: Annotated[str, Meta(max_length=4)]
    tax_rate: Annotated[int, Meta(ge=0, le=10_000)]
    unit: Annotated[str, Meta(max_length=32)] = ""
    unit_size: Count = 1
    included: Count = 0
    included_per: Annotated[str, Meta(max_length=16)] = ""
    counter: Annotated[str, Meta(max_length=64)] = ""
    tariff_version: Annotated[str, Meta(max_length=128)] = ""
    payment: Word = "postpaid"
    period: Annotated[str, Meta(max_length=16)] = ""
    charged: Annotated[str, Meta(max_length=16)] = ""
    pro_rata: bool = False
    minimum_periods: Count = 0
    notice_days: Count = 0
    trial_days: Count = 0
    trial_warning_days: Count = 0
    price_change_days: Count = 0
    tax_included: Annotated[int, Meta(ge=0, le=10_000)] = 0


class OfferEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the menu. ``needs``: offers of the same menu that must be taken first."""

    offer: Id
    version: Id
    product: Id
    release: Word
    kind: Literal["software", "data", "update", "service", "tone"]
    title: Text
    text: Text
    size: Count
    modes: list[ModeTerms]
    needs: list[Id] = []
    replaces: str = ""


class Offers(Message, frozen=True):
    """Server: the menu after an interrogation, in numbered pages (claim 2, claim 15 third step). May be empty."""

    TYPE = "offers"
    menu: Id
    page: int
    pages: int
    offers: list[OfferEntry]


class Request(Message, frozen=True):
    """Terminal: the request signal for one offer and one of its charging modes (claims 2 and 22)."""

    TYPE = "request"
    offer: Id
    version: Id
    mode: Id


class Reject(Message, frozen=True):
    """Terminal: the reject signal (claims 3 and 17). ``release``: the one that was shown; empty for the newest."""

    TYPE = "reject"
    offer: Id
    version: Id
    reason: Text = ""
    release: Annotated[str, Meta(max_length=128)] = ""


class Later(Message, frozen=True):
    """Terminal: neither taken nor rejected; the offer comes again."""

    TYPE = "later"
    offer: Id
    version: Id


class Noted(Message, frozen=True):
    """Server: the reject or later is stored. ``until``: when the rejection ends, or absent for never."""

    TYPE = "noted"
    offer: Id
    until: Instant | None = None


# Negotiation of the charging mode: begun by the terminal with a request.


class QuoteMessage(Message, frozen=True):
    """Server: a quote, signed by the server (:class:`signalling.documents.Quote`).

    ``answer`` tells a counter-proposal's fate: ``quoted`` (a first quote), ``accepted``, ``countered``.
    """

    TYPE = "quote"
    quote: Signed
    answer: Literal["quoted", "accepted", "countered"] = "quoted"
    reason: Text = ""


class CounterProposal(Message, frozen=True):
    """Terminal: not that; rather this mode, or no more than this limit a period (claims 4 and 23)."""

    TYPE = "counter_proposal"
    quote: Id
    mode: Id
    spending_limit: Micros | None = None


class Refusal(Message, frozen=True):
    """Server: no. Nothing was reserved and nothing will be delivered for what it answers."""

    TYPE = "refusal"
    code: Word
    reason: Text


class Confirm(Message, frozen=True):
    """Terminal: the user's confirmation, signed (:class:`signalling.documents.Confirmation`)."""

    TYPE = "confirm"
    confirmation: Signed


class Decline(Message, frozen=True):
    """Terminal: the user leaves the negotiation; the offer is neither taken nor rejected."""

    TYPE = "decline"
    quote: Id


class Agreed(Message, frozen=True):
    """Server: the agreement is registered. ``digest`` is :func:`signalling.documents.agreement_digest`."""

    TYPE = "agreed"
    agreement: Id
    digest: Digest


# Delivery: begun by the terminal.


class DeliveryRequest(Message, frozen=True):
    """Terminal: start the transmission; signed (:class:`signalling.documents.DeliveryOrder`)."""

    TYPE = "delivery_request"
    order: Signed


class DeliveryGrantMessage(Message, frozen=True):
    """Server: the delivery grant, signed (:class:`signalling.documents.DeliveryGrant`)."""

    TYPE = "delivery_grant"
    grant: Signed
    usage: list[Signed] = []


class Receipt(Message, frozen=True):
    """Terminal: installed, or failed and why; signed (:class:`signalling.documents.DeliveryReceipt`)."""

    TYPE = "receipt"
    receipt: Signed


class ReceiptNoted(Message, frozen=True):
    """Server: the receipt is stored; ``charge`` tells what became of the charge: none, charged, reversed."""

    TYPE = "receipt_noted"
    agreement: Id
    charge: Literal["none", "charged", "reversed"]


# Counters: asked for by the server after an interrogation, or brought by the terminal.


class CounterInquiry(Message, frozen=True):
    """Server: report your application counters (claims 10 and 20).

    ``cut_overs``: instants at which the terminal is to have noted, or to note, each counter's value.
    """

    TYPE = "counter_inquiry"
    cut_overs: list[Instant] = []


class CounterReports(Message, frozen=True):
    """Terminal: its signed reports (:class:`signalling.documents.CounterReport`); may be empty."""

    TYPE = "counter_reports"
    reports: Annotated[list[Signed], Meta(max_length=64)]


class CounterOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one report: accepted, duplicate, gap (accepted, but reports before it are missing), conflict,

    reset (a new epoch began), refused.
    """

    installation: str
    counter: str
    epoch: int
    sequence: int
    status: Literal["accepted", "duplicate", "gap", "conflict", "reset", "refused"]
    reason: str = ""


class CounterNoted(Message, frozen=True):
    """Server: the fate of each report, and the usage grants that follow from it."""

    TYPE = "counter_noted"
    outcomes: list[CounterOutcome]
    usage: list[Signed] = []


# Messages to the user and the status he can ask for (claims 11 and 25).


class Notice(Message, frozen=True):
    """Server: a message for the user. ``subject`` is what it speaks of, such as an installation or a product."""

    TYPE = "notice"
    notice: Id
    kind: Literal["validity", "authorization", "counter", "charge", "delivery", "offer"]
    text: Text
    subject: Annotated[str, Meta(max_length=128)] = ""
    state: Annotated[str, Meta(max_length=32)] = ""


class NoticeRead(Message, frozen=True):
    """Terminal: these notices were shown."""

    TYPE = "notice_read"
    notices: Annotated[list[Id], Meta(max_length=64)]


class StatusRequest(Message, frozen=True):
    """Terminal: what is the state of my software, my authorizations, my counters and my charges?"""

    TYPE = "status_request"


class InstallationStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """One installed item: whether its release is valid, whether the user may use it, and what was counted."""

    installation: str
    product: str
    release: str
    validity: Literal["valid", "expired", "revoked"]
    authorization: Literal["authorized", "not_authorized", "ended"]
    counters: dict[str, int] = {}
    agreement: str = ""


class ChargeStatus(msgspec.Struct, frozen=True):
    """Micros of the account in one currency: not yet billed, billed and open, reserved, and left to spend."""

    currency: str
    unbilled: int
    open: int
    reserved: int
    available: int


class Status(Message, frozen=True):
    """Server: the answer (claim 11)."""

    TYPE = "status"
    installations: list[InstallationStatus]
    charges: list[ChargeStatus]


# SIM cards: whoever is logged on may carry what is said between a card and the server; it cannot be read or altered.


class CardData(Message, frozen=True):
    """Either side: one part of a secured packet from or for the card with this ICCID.

    ``data`` is the user data of a short message with its header (3GPP TS 23.040, TS 31.115).
    """

    TYPE = "card_data"
    card: Annotated[str, Meta(max_length=20)]
    data: Annotated[bytes, Meta(max_length=140)]


FROM_TERMINAL: tuple[type[Message], ...] = (
    Logon, Logoff, Error, Ping, Pong, Bye, ConfigurationReport, SectionPart, Request, Reject, Later, CounterProposal,
    Confirm, Decline, DeliveryRequest, Receipt, CounterReports, NoticeRead, StatusRequest, CardData,
)  # fmt: skip
FROM_SERVER: tuple[type[Message], ...] = (
    Challenge, Welcome, Error, Ping, Pong, Bye, Inquiry, SectionRequest, Offers, Noted, QuoteMessage, Refusal, Agreed,
    DeliveryGrantMessage, ReceiptNoted, CounterInquiry, CounterNoted, Notice, Status, CardData,
)  # fmt: skip


class BodyDecoder:
    """Decodes bodies of the given types, each by a decoder made once."""

    def __init__(self, types: tuple[type[Message], ...]) -> None:
        self._decoders = {kind.TYPE: msgspec.msgpack.Decoder(kind) for kind in types}

    def decode(self, envelope: Envelope) -> Any:
        """The message in the envelope. Raises :class:`UnknownType` or :class:`BodyError`."""
        decoder = self._decoders.get(envelope.type)
        if decoder is None:
            raise UnknownType(f"type {envelope.type[:64]!r} is not known here")
        try:
            return decoder.decode(envelope.body)
        except UNREADABLE as error:
            raise BodyError(f"{envelope.type}: {error}") from None


decode_from_terminal = BodyDecoder(FROM_TERMINAL).decode
decode_from_server = BodyDecoder(FROM_SERVER).decode
