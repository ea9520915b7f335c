"""Tariffs: read, published, a version scheduled or withdrawn before it holds, and tried on past use."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import Path
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy import Connection

from charging.tariffs import Tariff, TariffError, TariffVersion
from charging.tariffs.headline import headline
from operator_server.offering import tariff_publishing as publishing
from operator_server.offering.tariff_publishing import BadTariff, TariffFileError, UnknownTariff
from operator_server.usage.simulation import NothingToCompare, simulate_month
from operator_server.web.api.forms import PERIOD, Form, Identifier, amount
from operator_server.web.api.jobs import JobView, job_view, jobs_of
from operator_server.web.calls import Answer, Call, IfMatch
from operator_server.web.pages import Page, PageOf, listed
from operator_server.web.problems import Fault, Problem
from operator_server.web.routes import Routes
from operator_server.web.simulations import AccountBill, Outcome, decode_outcome, summarised
from operator_server.web.works import SIMULATION

routes = Routes("Tariffs", "/api/v1")

TariffId = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]
VersionId = Annotated[str, Path(min_length=1, max_length=160, pattern=r"^[A-Za-z0-9_.:@~-]{1,160}$")]


class TariffVersionView(BaseModel):
    """A version of a tariff."""

    tariff: str
    names: dict[str, str]
    version: str
    effective_from: datetime
    currency: str
    unit: str
    price: str = Field(description="The price that is shown; of several, the highest")
    content: dict[str, Any]


class TariffSource(Form):
    """A tariff file to check or publish."""

    toml: str = Field(min_length=1, max_length=100_000, description="A tariff file, as docs/tariffs.md has it")


class TariffDetail(BaseModel):
    """A tariff as its file has it."""

    tariff: str
    names: dict[str, str]
    source: str = Field(description="Its TOML")
    versions: list[TariffVersionView]
    offers: list[str] = Field(description="Offers that charge by it")


class NewVersion(Form):
    """A version that is to hold from a time to come."""

    toml: str = Field(
        min_length=1, max_length=100_000,
        description="The keys of a [[version]] as docs/tariffs.md has them, without header and effective_from",
    )  # fmt: skip
    effective_from: date | AwareDatetime = Field(
        description="A day, which begins at midnight in the tariff's zone, or an instant", examples=["2027-01-01"]
    )


class SimulationForm(Form):
    """A tariff to try on past use."""

    toml: str = Field(min_length=1, max_length=100_000, description="A tariff file, as docs/tariffs.md has it")
    period: str = Field(pattern=f"^{PERIOD}$", description="Month of use, such as 2026-10")


class BillView(BaseModel):
    """What an account pays now, and would pay then."""

    account: str
    uses: int
    quantity: int
    now: str
    then: str
    difference: str


class SimulationView(BaseModel):
    """A month's use rated by another tariff; nothing is charged. Amounts are net."""

    period: str
    tariff: str
    version: str
    currency: str
    unit: str
    total: BillView
    accounts: list[BillView] = Field(description="The largest differences first, at most 1000")
    account_count: int
    unrated: list[dict[str, str]] = Field(description="Agreements that it cannot rate, at most 1000; left out above")
    unrated_count: int


class SimulationJobView(BaseModel):
    """A simulation, and what it says once it is done."""

    job: JobView
    result: SimulationView | None


def _version(tariff: Tariff, version: TariffVersion) -> TariffVersionView:
    price = headline(version)
    size = f"{price.size} " if price.size > 1 else ""
    text = f"{amount(price.amount, version.currency)} {version.currency} per {size}{version.unit}"
    return TariffVersionView(
        tariff=tariff.tariff_id, names=dict(tariff.names), version=version.version_id,
        effective_from=version.effective_from, currency=version.currency, unit=version.unit,
        price=text if price.exact else f"up to {text}", content=json.loads(version.content),
    )  # fmt: skip


@routes.get("/tariffs", needs="tariffs.read")
def list_tariffs(call: Call, paging: PageOf) -> Page[TariffVersionView]:
    """The versions of the tariffs in force."""
    rows = [_version(tariff, version) for tariff in call.web.offers.tariffs for version in tariff.versions]
    return listed(paging, TariffVersionView, rows)


@routes.get("/tariffs/{tariff}", needs="tariffs.read")
def show_tariff(call: Call, tariff: TariffId, paging: PageOf) -> Page[TariffVersionView]:
    """All versions of a tariff."""
    try:
        found = call.web.offers.tariffs.tariff(tariff)
    except TariffError as no:
        raise Problem(404, str(no)) from None
    return listed(paging, TariffVersionView, [_version(found, version) for version in found.versions])


@routes.get("/tariffs/{tariff}/source", needs="tariffs.read", problems=[409])
def show_tariff_source(call: Call, tariff: TariffId) -> TariffDetail:
    """A tariff with its TOML, as the files have it now; its ETag is what changes of the tariff need."""
    return _detail(call, tariff)


def _detail(call: Call, tariff: str) -> TariffDetail:
    settings = call.operator.settings
    try:
        found, offers = publishing.in_files(settings, tariff)
    except TariffFileError as no:
        raise _told(no) from None
    return TariffDetail(
        tariff=tariff, names=dict(found.names), source=publishing.tariff_source(settings, tariff),
        versions=[_version(found, version) for version in found.versions], offers=offers,
    )  # fmt: skip


def _told(no: TariffFileError) -> Problem:
    if isinstance(no, BadTariff):
        faults = [Fault(where=problem.key or "toml", reason=str(problem)) for problem in no.problems[:50]]
        return Problem(422, f"{len(no.problems)} fault(s): {no}"[:2000], errors=faults)
    return Problem(404 if isinstance(no, UnknownTariff) else 409, str(no))


@routes.post("/tariffs/check", needs="tariffs.read", slow=True, problems=[409])
def check_tariff(call: Call, body: TariffSource) -> TariffDetail:
    """Check a tariff file as if it were published, with all offers; the answer names every fault with its key."""
    try:
        checked = publishing.check_tariff(call.operator.settings, body.toml, call.now)
    except TariffFileError as no:
        raise _told(no) from None
    found = checked.tariff
    return TariffDetail(
        tariff=found.tariff_id, names=dict(found.names), source=body.toml,
        versions=[_version(found, version) for version in found.versions],
        offers=publishing.used_by(checked.loaded.catalogue, found.tariff_id),
    )  # fmt: skip


def _changed(call: Call, tariff: str, if_match: str, change: Callable[[Connection, str | None], object]) -> None:
    """``change`` gets the TOML that was read, which the publishing functions compare once more under their lock."""

    def operation(connection: Connection) -> None:
        before = None
        if if_match.strip() != "*":
            call.require_match(_detail(call, tariff), if_match)
            before = publishing.tariff_source(call.operator.settings, tariff)
        try:
            change(connection, before)
        except TariffFileError as no:
            raise _told(no) from None

    call.write(operation)


@routes.put("/tariffs/{tariff}", needs="tariffs.write", slow=True, problems=[409, 412, 428])
def publish_tariff(call: Call, tariff: TariffId, body: TariffSource, if_match: IfMatch) -> TariffDetail:
    """Put a tariff file in force within a second. `If-Match: *` for a new one, else the ETag of its source.

    Versions in force stay as they are; others begin at a time to come.
    """
    settings = call.operator.settings

    def publish(connection: Connection, before: str | None) -> None:
        named = publishing.check_tariff(settings, body.toml, call.now).tariff.tariff_id
        if named != tariff:
            raise Problem(422, f"toml: its id is {named!r}, the address says {tariff!r}")
        publishing.publish_tariff(
            connection, settings, body.toml, call.now, actor=call.caller.actor, instead_of=before
        )  # fmt: skip

    _changed(call, tariff, if_match, publish)
    return _detail(call, tariff)


@routes.post(
    "/tariffs/{tariff}/versions", needs="tariffs.write", status=201, slow=True, problems=[409, 412, 428],
    model=TariffDetail,
)  # fmt: skip
def schedule_tariff_version(call: Call, tariff: TariffId, body: NewVersion, if_match: IfMatch) -> Answer:
    """Put a further version beside those of a tariff, from a time to come; `If-Match` is the ETag of its source."""

    def schedule(connection: Connection, before: str | None) -> None:
        publishing.schedule_version(
            connection, call.operator.settings, tariff, body.toml, body.effective_from, call.now,
            actor=call.caller.actor, instead_of=before,
        )  # fmt: skip

    _changed(call, tariff, if_match, schedule)
    return Answer(_detail(call, tariff), 201, {"Location": f"/api/v1/tariffs/{tariff}/source"})


@routes.delete(
    "/tariffs/{tariff}/versions/{version}", needs="tariffs.write", status=204, slow=True, problems=[409, 412, 428]
)
def withdraw_tariff_version(call: Call, tariff: TariffId, version: VersionId, if_match: IfMatch) -> None:
    """Take away a version that is not in force yet; with its only one goes the tariff."""

    def withdraw(connection: Connection, before: str | None) -> None:
        publishing.withdraw_version(
            connection, call.operator.settings, tariff, version, call.now, actor=call.caller.actor, instead_of=before
        )  # fmt: skip

    _changed(call, tariff, if_match, withdraw)


def _other(body: SimulationForm) -> TariffVersion:
    """The newest version of the file that is to be tried."""
    try:
        return publishing.read_file(body.toml).versions[-1]
    except BadTariff as no:
        raise _told(no) from None


@routes.post("/tariffs/simulate", needs="tariffs.read", slow=True, problems=[409])
def simulate_tariff(call: Call, body: SimulationForm) -> SimulationView:
    """Rate a month's past use by another tariff and see who would pay more and less. Nothing is charged.

    The answer comes when all is rated; for months with much use begin a simulation and watch it.
    """
    version = _other(body)
    try:
        result = simulate_month(call.connection, version, body.period, call.operator.settings.operator.zone)
    except (NothingToCompare, TariffError) as no:
        raise Problem(409, str(no)) from None
    return _simulated(summarised(result, body.period))


@routes.post("/tariff-simulations", needs="tariffs.read", status=202, problems=[409], model=SimulationJobView)
def start_simulation(call: Call, body: SimulationForm) -> Answer:
    """Begin to rate a month's past use by another tariff; one at a time. The answer says where to watch it."""
    version = _other(body)
    given = {"tariff": version.tariff_id, "content": version.content, "month": body.period, "typed": True}
    what = f"the simulation of {version.tariff_id} in {body.period}"
    job = jobs_of(call).start(SIMULATION, what, version.tariff_id, given, call.caller.actor)
    view = SimulationJobView(job=job_view(job), result=None)
    return Answer(view, 202, {"Location": f"/api/v1/tariff-simulations/{job.id}"})


@routes.get("/tariff-simulations/{job}", needs="tariffs.read")
def show_simulation(call: Call, job: Identifier) -> SimulationJobView:
    """How far a simulation is, and what it says."""
    jobs = jobs_of(call)
    found, kept = jobs.find(job), jobs.given(job, SIMULATION)
    if found is None or kept is None:
        raise Problem(404, f"simulation {job}: there is none; begin it again")
    result = kept[1]
    return SimulationJobView(
        job=job_view(found), result=None if result is None else _simulated(decode_outcome(result))
    )  # fmt: skip


def _simulated(told: Outcome) -> SimulationView:
    def view(bill: AccountBill) -> BillView:
        now, then, more = (amount(each, told.currency) for each in (bill.now, bill.then, bill.difference))
        return BillView(
            account=bill.account, uses=bill.uses, quantity=bill.quantity, now=now, then=then, difference=more
        )

    return SimulationView(
        period=told.month, tariff=told.tariff, version=told.version, currency=told.currency, unit=told.unit,
        total=view(told.total), accounts=[view(bill) for bill in told.bills], account_count=told.accounts,
        unrated=[{"account": a, "agreement": g, "reason": r} for a, g, r in told.unrated],
        unrated_count=told.unrated_count,
    )  # fmt: skip
