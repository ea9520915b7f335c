"""Offers as pages that fit a frame, from entries that are encoded already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from signalling.messages import Message

PAGE_BYTES = 60 * 1024
"""Offers on one page; with its envelope it fits a frame."""


class OffersPage(Message, frozen=True):
    """:class:`signalling.messages.Offers` with entries that are encoded already."""

    TYPE = "offers"
    menu: str
    page: int
    pages: int
    offers: Sequence[msgspec.Raw]


class _Named(msgspec.Struct):
    """Of an offer's entry, what tells it from others."""

    offer: str
    product: str


def without(entries: Sequence[msgspec.Raw], rejected: set[str]) -> Sequence[msgspec.Raw]:
    """The entries but those of the products of rejected offers."""
    named = [msgspec.msgpack.decode(entry, type=_Named) for entry in entries]
    products = {each.product for each in named if each.offer in rejected}
    return [entry for entry, each in zip(entries, named, strict=True) if each.product not in products]


def in_pages(entries: Sequence[msgspec.Raw]) -> Iterator[Sequence[msgspec.Raw]]:
    """The entries in pages that fit a frame; one empty page when there are none."""
    page: list[msgspec.Raw] = []
    size = 0
    for entry in entries:
        length = memoryview(entry).nbytes
        if page and size + length > PAGE_BYTES:
            yield page
            page, size = [], 0
        page.append(entry)
        size += length
    yield page
