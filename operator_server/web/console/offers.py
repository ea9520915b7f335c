"""Offers: what is offered to whom, how it is taken, and how it is changed: written, previewed, published."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Path, Query

from charging.modes import MODE_KINDS, PAYMENTS
from charging.subscriptions import UNITS
from charging.tariffs import Problem as Fault
from offers.catalogue import Offer
from operator_server.delivery.publishing import valid_releases
from operator_server.offering import history, publishing
from operator_server.offering.loading import Loaded
from operator_server.offering.preview import preview
from operator_server.offering.publishing import BadOffer, Checked, OfferFileError
from operator_server.offering.toml_text import parsed
from operator_server.web.calls import Call
from operator_server.web.console.base import Form, Moved, Section, View, moved, posted, show
from operator_server.web.console.charts import funnel
from operator_server.web.console.offers_data import (
    DAYS,
    OfferDesk,
    asks,
    changed_lines,
    models_chart,
    prices,
    state_of,
    told,
)
from operator_server.web.console.offers_form import fields_of, instant, local_text, source_of_form
from operator_server.web.problems import Problem

section = Section("Offers", "/console/offers", needs="offers.read")

OfferId = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._-]{0,47}$", max_length=48)]
VersionId = Annotated[str, Path(pattern=r"^[a-z0-9@._-]{1,64}$", max_length=64)]
Words = Annotated[str, Query(max_length=100)]
KINDS = ("software", "data", "update", "service")
STATES = ("live", "scheduled", "ended", "no release")
EXAMPLE = """id = "maps"
product = "maps"
kind = "service"

[text.{language}]
title = "Maps"
description = "Maps of the country, renewed each month."

[[mode]]
id = "month"
kind = "subscription"
label = {{ {language} = "By the month" }}
amount = "2.99"
currency = "{currency}"
tax_category = "S"
period = "month"
"""


def desk(call: Call) -> OfferDesk:
    """What this application keeps between pages of offers."""
    state = call.request.app.state
    if not hasattr(state, "console_offers"):
        state.console_offers = OfferDesk(call.operator.settings)
    kept: OfferDesk = state.console_offers
    return kept


@section.page(needs="offers.read")
def offers(call: Call, q: Words = "", state: Annotated[str, Query(max_length=20)] = "") -> View:
    """The catalogue with reach and acceptance."""
    loaded, problems = desk(call).loaded()
    rows: list[dict[str, Any]] = []
    figures = None
    if loaded is not None:
        figures = desk(call).figures(call.connection, loaded, call.now)
        releases = valid_releases(call.connection, call.now)
        rows = [
            row for offer in loaded.catalogue
            if _matches(row := _row(call, offer, releases), q, state)
        ]  # fmt: skip
    return show(
        "offers.html", rows=rows, figures=figures, problems=problems, q=q, state=state, states=STATES, days=DAYS,
        all=len(loaded.catalogue) if loaded else 0,
    )  # fmt: skip


@section.page("/-/form", needs="offers.write")
def new_form(call: Call) -> View:
    """A new offer in a form."""
    return _form(call, "", "", [])


@section.page("/-/toml", needs="offers.write")
def new_toml(call: Call) -> View:
    """A new offer as TOML."""
    settings = call.operator.settings.operator
    return _toml(call, "", EXAMPLE.format(language=settings.language, currency=settings.currency), "", [])


@section.page("/{offer}", needs="offers.read")
def one(call: Call, offer: OfferId) -> View:
    """An offer: whom it reaches, how it is taken, what it says, and what can be done with it."""
    loaded = _loaded(call)
    found = loaded.catalogue.get(offer)
    if found is None:
        if history.versions(call.connection, offer, 1):
            return _history(call, offer, None)
        raise Problem(404, f"offer {offer}: there is none; `Offers` lists the catalogue")
    language, zone = call.operator.settings.operator.language, call.operator.settings.operator.time_zone
    seen = preview(call.connection, found, call.now, desk(call).population)
    taken = desk(call).figures(call.connection, loaded, call.now).of(offer)
    steps = [("Shown", taken.shown), ("Selected", taken.selected), ("Agreed", taken.agreed)]
    return show(
        "offers_one.html", offer=found, title=found.title(language), state=state_of(found, call.now, released=bool(
            seen.release)), seen=seen, chart=models_chart(seen), taken=taken, days=DAYS,
        funnel=funnel("How the offer is taken", steps), prices=prices(call.web.offers, found, language, call.now),
        asks=asks(found), source=publishing.source_of(call.operator.settings, offer),
        start=local_text(found.valid_from, zone), end=local_text(found.valid_until, zone),
    )  # fmt: skip


@section.page("/{offer}/form", needs="offers.write")
def edit_form(call: Call, offer: OfferId) -> View:
    """Change an offer in a form."""
    source = _source(call, offer)
    return _form(call, offer, source, [])


@section.page("/{offer}/toml", needs="offers.write")
def edit_toml(call: Call, offer: OfferId) -> View:
    """Change an offer as TOML."""
    source = _source(call, offer)
    return _toml(call, offer, source, source, [])


@section.page("/{offer}/history", needs="offers.read")
def versions(call: Call, offer: OfferId) -> View:
    """What an offer was, and who changed it."""
    return _history(call, offer, _loaded(call).catalogue.get(offer))


@section.page("/{offer}/history/{version}", needs="offers.read")
def version(call: Call, offer: OfferId, version: VersionId) -> View:
    """An offer as it once was, beside what it is now."""
    found = next((each for each in history.versions(call.connection, offer, history.MOST) if each.id == version), None)
    if found is None:
        raise Problem(404, f"offer {offer}: has no version {version}")
    live = _loaded(call).catalogue.get(offer)
    source = publishing.source_of(call.operator.settings, offer)
    return show(
        "offers_version.html", offer=offer, version=found, live=live, source=source, was=_mark(source),
        lines=changed_lines(found.source, source), is_live=live is not None and live.version == version,
    )  # fmt: skip


@section.form("/check", needs="offers.read", slow=True)
def check(call: Call) -> View:
    """What is wrong with what is typed, as a piece of page."""
    source, faults = _written(call, posted(call))
    checked: Checked | None = None
    if not faults:
        checked, faults = _checked(call, source)
    seen = preview(call.connection, checked.offer, call.now, desk(call).population) if checked else None
    return show("offers_checked.html", faults=faults, checked=checked, seen=seen)


@section.form("/preview", needs="offers.read", slow=True)
def previewed(call: Call) -> View:
    """Whom the offer would reach, before it is published."""
    form = posted(call)
    source, faults = _written(call, form)
    checked = None
    if not faults:
        checked, faults = _checked(call, source)
    if checked is None or form.has("back") or form.has("check"):
        return _again(call, form, source, faults)
    before = publishing.source_of(call.operator.settings, checked.offer.id)
    settings = call.operator.settings.operator
    return show(
        "offers_preview.html", offer=checked.offer, title=checked.offer.title(settings.language), source=source,
        was=form.text("was"), version=form.text("version"), before=before, lines=changed_lines(before, source),
        seen=(seen := preview(call.connection, checked.offer, call.now, desk(call).population)),
        chart=models_chart(seen), prices=prices(call.web.offers, checked.offer, settings.language, call.now),
        asks=asks(checked.offer), state=state_of(checked.offer, call.now, released=bool(seen.release)),
        start=local_text(checked.offer.valid_from, settings.time_zone),
        end=local_text(checked.offer.valid_until, settings.time_zone), how=form.text("how", "toml"),
        renamed=form.text("offer") not in ("", checked.offer.id),
    )  # fmt: skip


@section.form("/publish", needs="offers.write", slow=True)
def publish(call: Call) -> Moved | View:
    """Put it live."""
    form, settings = posted(call), call.operator.settings
    source, zone = form.raw("toml"), settings.operator.time_zone
    try:
        start, end = instant(form.text("from"), zone), instant(form.text("until"), zone)
        offer = publishing.check_offer(settings, source).offer
        if (start, end) != (_minute(offer.valid_from), _minute(offer.valid_until)):
            source = publishing.scheduled(source, start, end)
        before = publishing.source_of(settings, offer.id)
        if _mark(before) != form.text("was"):
            raise OfferFileError(f"offer {offer.id}: {_meanwhile(before, form.text('was'))}")
        action = "offer.roll_back" if form.text("version") else "offer.publish"
        done = call.write(
            lambda c: publishing.publish_offer(
                c, settings, source, call.now, actor=call.caller.actor, action=action, instead_of=before
            )
        )
    except BadOffer as bad:
        return _again(call, form, source, told(bad.problems, source, _file(source)), status=422)
    except OfferFileError as no:
        raise Problem(409, str(no)) from None
    except ValueError as no:
        raise Problem(422, str(no)) from None
    when = "it is shown from the time you set" if done.valid_from and done.valid_from > call.now else "it is live"
    return moved(f"/console/offers/{done.id}", f"{done.id} is published; {when}. Servers take it over in a second.")


@section.form("/{offer}/schedule", needs="offers.write", slow=True)
def schedule(call: Call, offer: OfferId) -> Moved:
    """Let it be valid from or until an instant."""
    form, settings = posted(call), call.operator.settings
    try:
        start, end = (instant(form.text(key), settings.operator.time_zone) for key in ("from", "until"))
        call.write(
            lambda c: publishing.schedule_offer(c, settings, offer, start, end, call.now, actor=call.caller.actor)
        )
    except ValueError as no:
        raise _problem(no) from None
    return moved(f"/console/offers/{offer}", f"The times of {offer} are changed.")


@section.form("/{offer}/withdraw", needs="offers.write", slow=True)
def withdraw(call: Call, offer: OfferId) -> Moved:
    """Take it out of the catalogue; agreements on it stay."""
    settings = call.operator.settings
    try:
        call.write(lambda c: publishing.withdraw_offer(c, settings, offer, call.now, actor=call.caller.actor))
    except OfferFileError as no:
        raise _problem(no) from None
    return moved("/console/offers", f"{offer} is withdrawn. Agreements on it stay; its history can put it back.")


def _row(call: Call, offer: Offer, releases: Any) -> dict[str, Any]:
    released = offer.kind == "service" or bool(releases.get(offer.product))
    return {
        "id": offer.id, "title": offer.title(call.operator.settings.operator.language), "kind": offer.kind,
        "product": offer.product, "modes": [mode.kind for mode in offer.modes],
        "state": state_of(offer, call.now, released=released), "from": offer.valid_from, "until": offer.valid_until,
    }  # fmt: skip


def _matches(row: dict[str, Any], words: str, state: str) -> bool:
    text = f"{row['id']} {row['title']} {row['product']} {row['kind']}".lower()
    return all(word in text for word in words.lower().split()) and (not state or row["state"][0] == state)


def _loaded(call: Call) -> Loaded:
    loaded, problems = desk(call).loaded()
    if loaded is None:
        faults = "; ".join(str(each) for each in problems[:5])
        raise Problem(409, f"the configuration folder has faults, mend them first: {faults}"[:2000])
    return loaded


def _source(call: Call, offer: str) -> str:
    source = publishing.source_of(call.operator.settings, offer)
    if not source:
        raise Problem(404, f"offer {offer}: is not in the catalogue; its history may have it")
    return source


def _written(call: Call, form: Form) -> tuple[str, list[Any]]:
    """The TOML that was written, or that the form makes."""
    if form.text("how") != "form":
        return form.raw("toml"), []
    settings = call.operator.settings.operator
    try:
        before = publishing.source_of(call.operator.settings, form.text("offer")) if form.text("offer") else ""
        return source_of_form(form, before, settings.language, settings.time_zone), []
    except ValueError as no:
        return "", told([Fault("offer", "valid", "", str(no))], "", "offer")


def _checked(call: Call, source: str) -> tuple[Checked | None, list[Any]]:
    try:
        return publishing.check_offer(call.operator.settings, source), []
    except BadOffer as bad:
        return None, told(bad.problems, source, _file(source))
    except OfferFileError as no:
        return None, told([Fault("offer", "", "", str(no))], source, "offer")


def _file(source: str) -> str:
    return f"{parsed(source).get('id', '')}.toml"


def _again(call: Call, form: Form, source: str, faults: list[Any], status: int = 0) -> View:
    """Back to what was written, with what is wrong."""
    status = status or (422 if faults else 200)
    good = not faults and form.has("check")
    if form.text("how") == "form":
        return _form(call, form.text("offer"), source, faults, status, form.text("was"), good)
    return _toml(call, form.text("offer"), source, None, faults, status, form.text("was"), good)


def _form(
    call: Call, offer: str, source: str, faults: list[Any], status: int = 200, was: str | None = None,
    good: bool = False,
) -> View:  # fmt: skip
    settings = call.operator.settings.operator
    loaded, _ = desk(call).loaded()
    return show(
        "offers_form.html", status, offer=offer, fields=fields_of(source, settings.language, settings.time_zone),
        faults=faults, was=_mark(source) if was is None else was, good=good, kinds=KINDS, mode_kinds=list(MODE_KINDS),
        payments=list(PAYMENTS), periods=["", *UNITS], currency=settings.currency,
        tariffs=["", *(sorted(t.tariff_id for t in loaded.tariffs) if loaded else ())],
        categories=["", *sorted(settings.tax_basis_points())], language=settings.language,
    )  # fmt: skip


def _toml(
    call: Call, offer: str, source: str, before: str | None, faults: list[Any], status: int = 200, was: str = "",
    good: bool = False,
) -> View:  # fmt: skip
    mark = was if before is None else _mark(before)
    return show("offers_toml.html", status, offer=offer, source=source, was=mark, faults=faults, good=good)


def _history(call: Call, offer: str, live: Offer | None) -> View:
    found = history.versions(call.connection, offer)
    done = history.changes(call.connection, offer)
    if not found and not done and live is None:
        raise Problem(404, f"offer {offer}: there is none and there was none")
    return show("offers_history.html", offer=offer, live=live, versions=found, changes=done)


def _mark(source: str) -> str:
    """Tells whether what somebody began with still stands."""
    return sha256(source.encode()).hexdigest()[:24] if source else ""


def _meanwhile(before: str, was: str) -> str:
    if before and not was:
        return "is in the catalogue already; open it there to change it"
    return "was changed meanwhile; open it again and make your change anew" if before else "was withdrawn meanwhile"


def _minute(at: datetime | None) -> datetime | None:
    """As fields of a form have it: they know no seconds."""
    return at.replace(second=0, microsecond=0) if at else None


def _problem(no: ValueError) -> Problem:
    status = 404 if isinstance(no, publishing.UnknownOffer) else 409 if isinstance(no, OfferFileError) else 422
    return Problem(status, str(no))
