"""The documents that bind: each a MessagePack map, kept and checked as the exact bytes that were signed.

``PURPOSE`` goes into the signature (:mod:`signalling.proof`). The server signs quotes and grants, the terminal signs
confirmations, orders, receipts and counter reports; with both signatures an agreement can be shown to either side.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Annotated, ClassVar, Literal, TypeVar

import msgspec
from msgspec import Meta

from signalling.decoding import UNREADABLE
from signalling.envelope import BodyError
from signalling.messages import Count, Digest, Id, Instant, Micros, ModeTerms, Signed, Text, Word

NO_REPORT = bytes(32)
"""``previous`` of the first counter report of an installation's counter."""


class Document(msgspec.Struct, frozen=True):
    """Base of all signed documents."""

    PURPOSE: ClassVar[str]

    def encode(self) -> bytes:
        """The bytes to sign."""
        return msgspec.msgpack.encode(self)


class Quote(Document, frozen=True):
    """What the server offers to this subscriber on this terminal, until ``expires``; it never changes.

    ``amount``: micros net that fall due once with delivery; 0 for modes that charge by use. ``tax``: micros on it.
    ``spending_limit``: micros net that use may cost in a period, absent for no limit. ``digest``: SHA-256 of the
    release as published, empty where nothing is delivered.
    """

    PURPOSE = "quote"
    quote: Id
    server: Id
    subscriber: Id
    terminal: Id
    offer: Id
    offer_version: Id
    product: Id
    release: Word
    digest: Annotated[bytes, Meta(max_length=32)]
    length: Count
    mode: ModeTerms
    amount: Micros
    tax: Micros
    currency: str
    tariff_version: str
    terms: Text
    issued: Instant
    expires: Instant
    spending_limit: Micros | None = None
    in_place_of: Id | None = None


class Confirmation(Document, frozen=True):
    """The user's yes to one quote. ``agreement`` is made by the terminal and makes the confirmation idempotent."""

    PURPOSE = "confirmation"
    agreement: Id
    quote: Id
    quote_digest: Digest
    mode: Id
    at: Instant
    spending_limit: Micros | None = None


class DeliveryOrder(Document, frozen=True):
    """The request that starts a delivery: it carries the hash of the agreement and a fresh X25519 key for the grant."""

    PURPOSE = "delivery-order"
    agreement: Id
    agreement_digest: Digest
    wrap_key: Digest
    at: Instant


class DeliveryGrant(Document, frozen=True):
    """What the terminal may fetch and open. ``content_key`` is wrapped by HPKE (RFC 9180) for the order's key.

    ``target``: path in the TUF repository, empty where nothing is fetched. ``sha256`` and ``length``: of the file as
    served. ``installation``: the id under which its counters report.
    """

    PURPOSE = "delivery-grant"
    agreement: Id
    installation: Id
    product: Id
    release: Word
    target: Annotated[str, Meta(max_length=512)]
    sha256: Annotated[bytes, Meta(max_length=32)]
    length: Count
    sealed: bool
    content_key: Annotated[bytes, Meta(max_length=512)]
    issued: Instant
    expires: Instant


class DeliveryReceipt(Document, frozen=True):
    """Installed, or failed: a signed failure takes the charge back."""

    PURPOSE = "delivery-receipt"
    agreement: Id
    installation: Id
    outcome: Literal["installed", "failed"]
    reason: Annotated[str, Meta(max_length=256)]
    at: Instant


class CounterReport(Document, frozen=True):
    """An application counter (claims 10 and 20). It only goes up; a new epoch begins after a reset, from 0.

    ``sequence`` rises by one a report within an installation's counter, across epochs, from 1. ``previous``: SHA-256
    of the report before. ``samples``: the value at announced cut-over instants that lie within this epoch and after
    the report before, in ascending order.
    """

    PURPOSE = "counter-report"
    installation: Id
    counter: Id
    epoch: Count
    sequence: Count
    value: Count
    samples: Annotated[list[tuple[Instant, Count]], Meta(max_length=64)]
    previous: Digest
    at: Instant


class UsageGrant(Document, frozen=True):
    """Use granted ahead: the counter may rise to ``ceiling`` in ``epoch`` until ``valid_until``.

    After ``report_by`` the terminal reports before it uses again.
    """

    PURPOSE = "usage-grant"
    grant: Id
    installation: Id
    counter: Id
    epoch: Count
    ceiling: Count
    issued: Instant
    valid_until: Instant
    report_by: Instant


class KeyChange(Document, frozen=True):
    """The server signs with ``new_key`` from now on; signed with ``old_key``, the one before. Both are Ed25519, raw."""

    PURPOSE = "key-change"
    server: Id
    old_key: Digest
    new_key: Digest
    at: Instant


D = TypeVar("D", bound=Document)


def decode_document(kind: type[D], document: bytes) -> D:
    """The document in these bytes. Raises :class:`signalling.envelope.BodyError`."""
    try:
        return msgspec.msgpack.decode(document, type=kind)
    except UNREADABLE as error:
        raise BodyError(f"{kind.PURPOSE}: {error}") from None


def document_digest(document: bytes) -> bytes:
    """SHA-256 of a document's bytes."""
    return hashlib.sha256(document).digest()


def agreement_digest(quote: Signed, confirmation: Signed) -> bytes:
    """The hash of an agreement: over both documents and both parties' evidence.

    SHA-256( "TGA1" | for each of quote document, quote signature, confirmation document, confirmation signature:
    u32 length, big-endian | bytes ).
    """
    digest = hashlib.sha256(b"TGA1")
    for part in (quote.document, quote.signature, confirmation.document, confirmation.signature):
        digest.update(struct.pack(">I", len(part)))
        digest.update(part)
    return digest.digest()
