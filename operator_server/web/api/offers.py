"""Offers: listed, checked, previewed, published, scheduled, withdrawn; and rejections, which support may undo."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy import select

from offers.catalogue import Offer
from operator_server.offering import publishing
from operator_server.offering.loading import BrokenCatalogue, load
from operator_server.offering.preview import preview
from operator_server.offering.publishing import BadOffer, OfferFileError, UnknownOffer
from operator_server.offering.rejections import RejectionError, UnknownRejection, undo_rejection
from operator_server.store.dealings import OfferVersion, Rejection
from operator_server.store.rows import matching, table
from operator_server.web.api.forms import Form, Identifier, IdFilter
from operator_server.web.calls import Call, IfMatch
from operator_server.web.pages import Page, PageOf, listed, page
from operator_server.web.problems import Fault, Problem, the_row
from operator_server.web.routes import Routes

routes = Routes("Offers", "/api/v1")

OfferId = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._-]{0,47}$", max_length=48)]


class OfferView(BaseModel):
    """An offer of the catalogue."""

    id: str
    version: str
    product: str
    kind: str
    title: str
    modes: list[str] = Field(description="Charging modes")
    valid_from: datetime | None
    valid_until: datetime | None
    priority: int


class OfferDetail(OfferView):
    """An offer with all that it says."""

    source: str = Field(description="Its TOML")
    content: dict[str, Any]


class OfferVersionView(BaseModel):
    """An offer as it once was."""

    id: str
    offer: str
    product: str
    content: dict[str, Any]
    first_loaded_at: datetime


class OfferSource(Form):
    """An offer to check, preview or publish."""

    toml: str = Field(min_length=1, max_length=100_000, description="One offer, as docs/offers.md has it")


class Schedule(Form):
    """When an offer is valid; null is no bound."""

    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None


class AudienceView(BaseModel):
    """Whom an offer would reach."""

    offer: str
    terminals: int = Field(description="Terminals that were interrogated so far")
    matching: int = Field(description="Of these, those that the offer fits")
    reached: int = Field(description="Of the matching, those whose users' groups let it be shown")
    models: dict[str, int] = Field(description="The matching, by model")
    rejected: int = Field(description="Subscribers who rejected this offer")
    release: str = Field(description="What would be delivered; empty where none is published")


class RejectionView(BaseModel):
    """A user's no to an offer."""

    id: str
    subscriber: str
    terminal: str
    product: str
    offer: str
    offer_version: str
    release: str
    rejected_at: datetime
    until: datetime | None = Field(description="When it ends; null is never")
    reason: str
    undone_at: datetime | None
    undone_by: str
    undo_reason: str


class Undo(Form):
    """Why a rejection is undone."""

    reason: str = Field(min_length=1, max_length=500)


def _view(call: Call, offer: Offer) -> OfferView:
    return OfferView(**_values(call, offer))


def _values(call: Call, offer: Offer) -> dict[str, Any]:
    return {
        "id": offer.id, "version": offer.version, "product": offer.product, "kind": offer.kind,
        "title": offer.title(call.operator.settings.operator.language), "modes": [mode.id for mode in offer.modes],
        "valid_from": offer.valid_from, "valid_until": offer.valid_until, "priority": offer.priority,
    }  # fmt: skip


def _detail(call: Call, offer: Offer) -> OfferDetail:
    source = publishing.source_of(call.operator.settings, offer.id)
    return OfferDetail(**_values(call, offer), source=source, content=dict(offer.content))


def _now_live(call: Call, offer: str) -> Offer:
    """The offer as the files have it now, which the roles follow within a second."""
    try:
        found = load(call.operator.settings).catalogue.get(offer)
    except BrokenCatalogue as broken:
        raise Problem(409, f"the configuration folder has faults; mend them first: {broken}"[:2000]) from None
    if found is None:
        raise Problem(404, f"offer {offer}: is not in the catalogue")
    return found


def _told(no: OfferFileError) -> Problem:
    if isinstance(no, BadOffer):
        faults = [Fault(where=problem.key or "toml", reason=str(problem)) for problem in no.problems[:50]]
        return Problem(422, f"{len(no.problems)} fault(s): {no}"[:2000], errors=faults)
    return Problem(404 if isinstance(no, UnknownOffer) else 409, str(no))


@routes.get("/offers", needs="offers.read")
def list_offers(call: Call, paging: PageOf) -> Page[OfferView]:
    """The offers in force, in the order of menus."""
    return listed(paging, OfferView, [_view(call, offer) for offer in call.web.offers.memory.catalogue])


@routes.get("/offers/{offer}", needs="offers.read", problems=[409])
def show_offer(call: Call, offer: OfferId) -> OfferDetail:
    """An offer with its TOML."""
    return _detail(call, _now_live(call, offer))


@routes.get("/offers/{offer}/versions", needs="offers.read")
def list_offer_versions(call: Call, offer: OfferId, paging: PageOf) -> Page[OfferVersionView]:
    """What the offer said over time; publish an old source again to go back."""
    version = table(OfferVersion)

    def make(row: Any) -> OfferVersionView:
        return OfferVersionView(
            id=row.id, offer=row.offer_id, product=row.product, content=row.content, first_loaded_at=row.first_loaded_at
        )

    query = select(version).where(version.c.offer_id == offer)
    return page(call, OfferVersionView, query, [version.c.first_loaded_at, version.c.id], paging, make,
                newest_first=True)  # fmt: skip


@routes.post("/offers/check", needs="offers.read", slow=True)
def check_offer(call: Call, body: OfferSource) -> OfferView:
    """Check an offer as if it were published; the answer names every fault with its key."""
    try:
        return _view(call, publishing.check_offer(call.operator.settings, body.toml).offer)
    except OfferFileError as no:
        raise _told(no) from None


@routes.post("/offers/preview", needs="offers.read", slow=True)
def preview_offer(call: Call, body: OfferSource) -> AudienceView:
    """Whom an offer would reach if it were published: how many terminals, by model, and who rejected it before."""
    try:
        checked = publishing.check_offer(call.operator.settings, body.toml)
    except OfferFileError as no:
        raise _told(no) from None
    seen = preview(call.connection, checked.offer, call.now)
    return AudienceView(
        offer=checked.offer.version, terminals=seen.terminals, matching=seen.matching, reached=seen.reached,
        models=seen.models, rejected=seen.rejected, release=seen.release,
    )  # fmt: skip


@routes.get("/offers/{offer}/audience", needs="offers.read", slow=True, problems=[409])
def show_audience(call: Call, offer: OfferId) -> AudienceView:
    """Whom an offer of the catalogue reaches."""
    found = _now_live(call, offer)
    seen = preview(call.connection, found, call.now)
    return AudienceView(
        offer=found.version, terminals=seen.terminals, matching=seen.matching, reached=seen.reached,
        models=seen.models, rejected=seen.rejected, release=seen.release,
    )  # fmt: skip


@routes.put("/offers/{offer}", needs="offers.write", slow=True, problems=[409, 412, 428])
def publish_offer(call: Call, offer: OfferId, body: OfferSource, if_match: IfMatch) -> OfferDetail:
    """Put an offer live, in force within a second. `If-Match: *` for a new one, else the ETag of the one there."""
    settings = call.operator.settings

    def publish(connection: Any) -> Offer:
        if if_match.strip() != "*":
            call.require_match(_detail(call, _now_live(call, offer)), if_match)
        try:
            checked = publishing.check_offer(settings, body.toml)
            if checked.offer.id != offer:
                raise Problem(422, f"toml: its id is {checked.offer.id!r}, the address says {offer!r}")
            return publishing.publish_offer(connection, settings, body.toml, call.now, actor=call.caller.actor)
        except OfferFileError as no:
            raise _told(no) from None

    return _detail(call, call.write(publish))


@routes.put("/offers/{offer}/schedule", needs="offers.write", slow=True, problems=[409, 412, 428])
def schedule_offer(call: Call, offer: OfferId, body: Schedule, if_match: IfMatch) -> OfferDetail:
    """Let an offer be valid from or until an instant."""

    def schedule(connection: Any) -> Offer:
        call.require_match(_detail(call, _now_live(call, offer)), if_match)
        try:
            return publishing.schedule_offer(
                connection, call.operator.settings, offer, body.valid_from, body.valid_until, call.now,
                actor=call.caller.actor,
            )  # fmt: skip
        except OfferFileError as no:
            raise _told(no) from None

    return _detail(call, call.write(schedule))


@routes.delete("/offers/{offer}", needs="offers.write", status=204, slow=True, problems=[409, 412, 428])
def withdraw_offer(call: Call, offer: OfferId, if_match: IfMatch) -> None:
    """Take an offer out of the catalogue; agreements on it stay."""

    def withdraw(connection: Any) -> None:
        call.require_match(_detail(call, _now_live(call, offer)), if_match)
        try:
            publishing.withdraw_offer(connection, call.operator.settings, offer, call.now, actor=call.caller.actor)
        except OfferFileError as no:
            raise _told(no) from None

    call.write(withdraw)


def _rejection(row: Any) -> RejectionView:
    return RejectionView(
        id=row.id, subscriber=row.subscriber_id, terminal=row.terminal_id, product=row.product, offer=row.offer_id,
        offer_version=row.offer_version, release=row.release, rejected_at=row.rejected_at, until=row.until_at,
        reason=row.reason, undone_at=row.undone_at, undone_by=row.undone_by, undo_reason=row.undo_reason,
    )  # fmt: skip


@routes.get("/rejections", needs="rejections.read")
def list_rejections(
    call: Call,
    paging: PageOf,
    subscriber: IdFilter = "",
    offer: Annotated[str, Query(max_length=48)] = "",
) -> Page[RejectionView]:
    """What users rejected, newest first."""
    rejection = table(Rejection)
    query = matching(select(rejection), (rejection.c.subscriber_id, subscriber), (rejection.c.offer_id, offer))
    return page(call, RejectionView, query, [rejection.c.id], paging, _rejection, newest_first=True)


@routes.get("/rejections/{rejection}", needs="rejections.read")
def show_rejection(call: Call, rejection: Identifier) -> RejectionView:
    """A rejection."""
    rows = table(Rejection)
    row = the_row(call.connection, select(rows).where(rows.c.id == rejection), f"rejection {rejection}")
    return _rejection(row)


@routes.post("/rejections/{rejection}/undo", needs="rejections.undo", problems=[409])
def undo(call: Call, rejection: Identifier, body: Undo) -> RejectionView:
    """Let the offer be shown again to the user who rejected it."""

    def change(connection: Any) -> RejectionView:
        rows = table(Rejection)
        try:
            undo_rejection(connection, rejection, body.reason, call.now, actor=call.caller.actor)
        except UnknownRejection as no:
            raise Problem(404, str(no)) from None
        except RejectionError as no:
            raise Problem(409, str(no)) from None
        return _rejection(connection.execute(select(rows).where(rows.c.id == rejection)).one())

    return call.write(change)
