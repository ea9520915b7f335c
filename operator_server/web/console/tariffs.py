"""Tariffs: versions and what they charge, a cost explained, a month tried with other prices, new versions."""

from __future__ import annotations

from datetime import date, datetime
from hashlib import sha256
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import Path, Query
from starlette.responses import HTMLResponse, Response

from charging.rating import RatingError
from charging.tariffs import Tariff, TariffError
from charging.tariffs.describe import describe
from operator_server.offering import tariff_publishing as publishing
from operator_server.offering.loading import Loaded
from operator_server.offering.tariff_publishing import BadTariff, TariffFileError, UnknownTariff
from operator_server.offering.toml_text import parsed
from operator_server.usage.simulation import months_of
from operator_server.web.calls import Call
from operator_server.web.console.base import Form, Moved, Section, View, moved, posted, show
from operator_server.web.console.offers import desk
from operator_server.web.console.offers_data import Told, changed_lines, told
from operator_server.web.console.offers_form import instant, local_text
from operator_server.web.console.render import PAGE_HEADERS, render
from operator_server.web.console.tariffs_data import (
    MOST_SHOWN,
    MOST_UNITS,
    compared,
    cost_of,
    name_of,
    price_in_short,
    steps_of,
    tried,
    version_text,
    versions_of,
)
from operator_server.web.jobs import Jobs
from operator_server.web.problems import Problem
from operator_server.web.works import SIMULATION

section = Section("Tariffs", "/console/tariffs", needs="tariffs.read")

TariffId = Annotated[str, Path(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$", max_length=64)]
VersionId = Annotated[str, Query(max_length=160)]
JobId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$", max_length=36)]
Text = Annotated[str, Query(max_length=100)]
EXAMPLE = """id = "data"
name = {{ en = "Data by volume" }}

[[version]]
effective_from = {day}
currency = "{currency}"
tax_category = "S"
unit = "MiB"
zone = "{zone}"
rounding = {{ mode = "half_up", place = "line", to = "minor" }}
included = 100
price = {{ model = "per_unit", amount = "0.01" }}
"""


@section.page(needs="tariffs.read")
def tariffs(call: Call) -> View:
    """The tariffs, each with the version that holds now."""
    loaded, problems = desk(call).loaded()
    rows: list[dict[str, Any]] = []
    for tariff in loaded.tariffs if loaded else ():
        begun = [version for version in tariff.versions if version.effective_from <= call.now]
        coming = [version for version in tariff.versions if version.effective_from > call.now]
        rows.append({
            "id": tariff.tariff_id, "name": name_of(tariff, _language(call)), "count": len(tariff.versions),
            "price": price_in_short(begun[-1]) if begun else "", "since": begun[-1].effective_from if begun else None,
            "next": coming[0].effective_from if coming else None,
            "offers": publishing.used_by(loaded.catalogue, tariff.tariff_id) if loaded else [],
        })  # fmt: skip
    return show("tariffs.html", rows=rows, problems=problems)


@section.page("/-/new", needs="tariffs.write")
def new(call: Call) -> View:
    """A new tariff."""
    settings = call.operator.settings.operator
    day = call.now.astimezone(settings.zone).date().replace(day=1)
    source = EXAMPLE.format(day=day, currency=settings.currency, zone=settings.time_zone)
    return show("tariffs_toml.html", tariff="", source=source, was="", begins="", faults=[], good=False)


@section.page("/-/simulations/{job}", needs="tariffs.read")
def simulation(call: Call, job: JobId) -> View:
    """What a simulation says, or how far it is."""
    return show("tariffs_simulation.html", **_tried(call, job))


@section.page("/-/simulations/{job}/live", needs="tariffs.read")
def simulation_live(call: Call, job: JobId) -> Response:
    """How far a simulation is, as a piece of page."""
    data = _tried(call, job)
    done = {} if data["tried"].job.state == "running" else {"X-Live": "done"}
    return HTMLResponse(
        render(call.request, call.caller, "tariffs_progress.html", data), headers={**PAGE_HEADERS, **done}
    )


@section.page("/{tariff}", needs="tariffs.read")
def one(call: Call, tariff: TariffId) -> View:
    """A tariff with all its versions."""
    loaded, found = _found(call, tariff)
    return show(
        "tariffs_one.html", tariff=found, name=name_of(found, _language(call)), price=price_in_short,
        versions=versions_of(call.connection, found, call.now), offers=publishing.used_by(loaded.catalogue, tariff),
        source=publishing.tariff_source(call.operator.settings, tariff),
    )  # fmt: skip


@section.page("/{tariff}/version", needs="tariffs.read")
def version(call: Call, tariff: TariffId, v: VersionId) -> View:
    """What one version charges, for people."""
    _, found = _found(call, tariff)
    all_of_it = versions_of(call.connection, found, call.now)
    listed = next((each for each in all_of_it if each.version.version_id == v), None)
    if listed is None:
        raise Problem(404, f"tariff {tariff}: has no version {v}")
    return show(
        "tariffs_version.html", tariff=tariff, listed=listed, told=describe(listed.version),
        source=version_text(listed.version),
    )  # fmt: skip


@section.form("/{tariff}/withdraw", needs="tariffs.write", slow=True)
def withdraw(call: Call, tariff: TariffId) -> Moved:
    """Take away a version that is not in force yet."""
    settings, version = call.operator.settings, posted(call).text("version")
    try:
        call.write(
            lambda c: publishing.withdraw_version(
                c, settings, tariff, version, call.now, actor=call.caller.actor
            )
        )  # fmt: skip
    except UnknownTariff as no:
        raise Problem(404, str(no)) from None
    except TariffFileError as no:
        raise Problem(409, str(no)) from None
    left = publishing.tariff_source(settings, tariff)
    said = f"{version} is withdrawn." if left else f"{tariff} is withdrawn with its only version."
    return moved(f"/console/tariffs/{tariff}" if left else "/console/tariffs", said)


@section.page("/{tariff}/explain", needs="tariffs.read")
def explained(
    call: Call, tariff: TariffId, quantity: Text = "", at: Text = "", destination: Text = "", used: Text = ""
) -> View:
    """A cost, step by step."""
    _, found = _found(call, tariff)
    zone = call.operator.settings.operator.time_zone
    errors: dict[str, str] = {}
    cost = None
    when = at or local_text(call.now, zone)
    if quantity:
        cost = _cost(call, found, quantity, when, destination, used, errors)
    return show(
        "tariffs_explain.html", 422 if errors else 200, tariff=tariff, unit=found.versions[-1].unit, quantity=quantity,
        at=when, destination=destination, used=used, errors=errors, cost=cost, steps=steps_of(cost) if cost else [],
        destinations=any("destination" in each.content for each in found.versions),
    )  # fmt: skip


@section.page("/{tariff}/simulate", needs="tariffs.read", slow=True)
def trying(call: Call, tariff: TariffId) -> View:
    """A month that is to be tried with other prices."""
    return _trying(call, tariff, {}, [])


@section.form("/{tariff}/simulate", needs="tariffs.read", slow=True)
def simulate(call: Call, tariff: TariffId) -> Moved | View:
    """Begin a simulation; it changes nothing."""
    form = posted(call)
    _, found = _found(call, tariff)
    wanted = form.text("version")
    try:
        if wanted:
            known = [e.version for e in versions_of(call.connection, found, call.now) if e.version.version_id == wanted]
            if not known:
                raise Problem(404, f"tariff {tariff}: has no version {wanted}")
            other = known[0]
        else:
            other = publishing.read_version(tariff, form.raw("toml"), date(2000, 1, 1))
    except BadTariff as bad:
        return _trying(call, tariff, form.values(), told(bad.problems, form.raw("toml"), "tariff", "version[0]."), 422)
    month = form.text("month")
    given = {"tariff": tariff, "content": other.content, "month": month, "typed": not wanted}
    what = f"the simulation of {tariff} in {month}"
    job = _jobs(call).start(SIMULATION, what, tariff, given, call.caller.actor)
    return moved(f"/console/tariffs/-/simulations/{job.id}")


@section.page("/{tariff}/new-version", needs="tariffs.write")
def new_version(call: Call, tariff: TariffId) -> View:
    """The next version of a tariff."""
    _, found = _found(call, tariff)
    was = publishing.tariff_source(call.operator.settings, tariff)
    return show(
        "tariffs_toml.html", tariff=tariff, source=version_text(found.versions[-1]), was=_mark(was), begins="",
        faults=[], good=False,
    )  # fmt: skip


@section.form("/check", needs="tariffs.read", slow=True)
def check(call: Call) -> View:
    """What is wrong with what is typed, as a piece of page."""
    _, faults, _ = _checked(call, posted(call))
    return show("offers_checked.html", faults=faults, checked=None, seen=None)


@section.form("/preview", needs="tariffs.write", slow=True)
def previewed(call: Call) -> View:
    """What would be put in force, read for people, before it is."""
    form = posted(call)
    source, faults, found = _checked(call, form)
    if found is None or form.has("check") or form.has("back"):
        return _again(form, faults)
    before = publishing.tariff_source(call.operator.settings, found.tariff_id)
    known = _known(call, found)
    mine = [(each, describe(each)) for each in found.versions if each.version_id not in known]
    return show(
        "tariffs_preview.html", tariff=found, before=before, source=source, versions=mine, was=form.text("was"),
        lines=changed_lines(before, source), form=form.values(),
    )  # fmt: skip


@section.form("/publish", needs="tariffs.write", slow=True)
def publish(call: Call) -> Moved | View:
    """Put it in force."""
    form, settings = posted(call), call.operator.settings
    source, faults, found = _checked(call, form)
    if found is None:
        return _again(form, faults)
    before = publishing.tariff_source(settings, found.tariff_id)
    if _mark(before) != form.text("was"):
        raise Problem(409, f"tariff {found.tariff_id}: " + (
            "was changed meanwhile; open it again and make your change anew" if form.text("was")
            else "is there already; open it and make a new version"
        ))  # fmt: skip
    try:
        done = call.write(
            lambda c: publishing.publish_tariff(
                c, settings, source, call.now, actor=call.caller.actor, instead_of=before
            )
        )
    except BadTariff as bad:
        return _again(form, told(bad.problems, source, f"{found.tariff_id}.toml"))
    except TariffFileError as no:
        raise Problem(409, str(no)) from None
    return moved(
        f"/console/tariffs/{done.tariff_id}", f"{done.tariff_id} is published. Servers take it over in a second."
    )


def _known(call: Call, tariff: Tariff) -> set[str]:
    loaded, _ = desk(call).loaded()
    if loaded is None or tariff.tariff_id not in loaded.tariffs:
        return set()
    return {each.version_id for each in loaded.tariffs.tariff(tariff.tariff_id).versions}


def _checked(call: Call, form: Form) -> tuple[str, list[Told], Tariff | None]:
    """The file that is written, what is wrong with it, and its tariff where nothing is."""
    settings, tariff, text = call.operator.settings, form.text("tariff"), form.raw("toml")
    source, prefix = text, ""
    try:
        if tariff:
            begins = _begin(form.text("begins"), settings.operator.zone)
            before = publishing.tariff_source(settings, tariff)
            prefix = f"version[{before.count('[[version]]')}]."
            source = publishing.with_version(settings, tariff, text, begins)
        return source, [], publishing.check_tariff(settings, source, call.now).tariff
    except BadTariff as bad:
        file = publishing.file_of(settings, tariff or _id(text))
        return source, told(bad.problems, text, file, prefix), None
    except ValueError as no:
        return source, [Told(0, "effective_from", form.text("begins"), str(no))], None


def _id(text: str) -> str:
    return str(parsed(text).get("id", ""))


def _begin(text: str, zone: ZoneInfo) -> date | datetime:
    """When a version begins: a day (its midnight in the tariff's zone) or a time. Raises ``ValueError``."""
    if not text:
        raise ValueError("choose the day from which the version holds")
    if "T" not in text:
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text!r} is no day; write it as 2026-12-01") from None
    at = instant(text, zone.key)
    assert at is not None
    return at


def _again(form: Form, faults: list[Told]) -> View:
    return show(
        "tariffs_toml.html", 422 if faults else 200, tariff=form.text("tariff"), source=form.raw("toml"),
        was=form.text("was"), begins=form.text("begins"), faults=faults, good=not faults and form.has("check"),
    )  # fmt: skip


def _trying(call: Call, tariff: str, form: dict[str, str], faults: list[Told], status: int = 200) -> View:
    _, found = _found(call, tariff)
    listed = versions_of(call.connection, found, call.now)
    choices = [(each.version.version_id, f"{each.version.version_id} ({each.state})") for each in listed]
    return show(
        "tariffs_simulate.html", status, tariff=tariff, months=months_of(call.connection, tariff),
        versions=[("", "The text below"), *choices],
        source=form.get("toml") or version_text(found.versions[-1]), form=form, faults=faults,
    )  # fmt: skip


def _tried(call: Call, job: str) -> dict[str, Any]:
    found = tried(_jobs(call), job)
    if found is None:
        raise Problem(404, "this simulation is kept no longer; begin it again from its tariff")
    result = found.result
    return {
        "tried": found, "result": result, "told": compared(result) if result is not None else None,
        "most": MOST_SHOWN, "source": version_text(found.version),
    }  # fmt: skip


def _jobs(call: Call) -> Jobs:
    jobs: Jobs = call.request.app.state.jobs
    return jobs


def _found(call: Call, tariff: str) -> tuple[Loaded, Tariff]:
    loaded, problems = desk(call).loaded()
    if loaded is None:
        faults = "; ".join(str(each) for each in problems[:5])
        raise Problem(409, f"the configuration folder has faults, mend them first: {faults}"[:2000])
    try:
        return loaded, loaded.tariffs.tariff(tariff)
    except TariffError as no:
        raise Problem(404, str(no)) from None


def _cost(
    call: Call, tariff: Tariff, quantity: str, at: str, destination: str, used: str, errors: dict[str, str]
) -> Any:
    units = {}
    for key, text in (("quantity", quantity), ("used", used or "0")):
        if text.isascii() and text.isdigit() and int(text) <= MOST_UNITS:
            units[key] = int(text)
        else:
            errors[key] = "a whole number of units is needed"
    if destination and not (destination.isascii() and destination.lstrip("+").isdigit()):
        errors["destination"] = "a number such as 4930123456 is needed"
    try:
        used_at = instant(at, call.operator.settings.operator.time_zone)
        assert used_at is not None
        loaded, _ = desk(call).loaded()
        assert loaded is not None
        held = loaded.tariffs.at(tariff.tariff_id, used_at)
        if not errors:
            return cost_of(held, units["quantity"], used_at, destination.lstrip("+"), units["used"])
    except RatingError as no:
        errors["quantity"] = str(no)
    except (ValueError, TariffError) as no:
        errors["at"] = str(no)
    return None


def _language(call: Call) -> str:
    return call.operator.settings.operator.language


def _mark(source: str) -> str:
    return sha256(source.encode()).hexdigest()[:24] if source else ""
