"""The pages of tariffs: what is charged, for people; a cost step by step; a month tried; new versions."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from operator_samples import NOW
from test_console_offers import get, hidden, send, written
from web_samples import Site

from charging.tariffs import TariffError
from operator_server.audit import entries
from operator_server.offering.loading import keep_versions, load
from operator_server.people.roles import ROLES
from operator_server.store.accounting import Charge
from operator_server.store.rows import add
from signalling.ids import new_id

VERSION = """currency = "EUR"
tax_category = "S"
unit = "use"
zone = "Europe/Berlin"
rounding = { mode = "half_up", place = "record", to = "minor" }
grant_units = 20
price = { model = "per_unit", amount = "0.10" }
"""
TARIFF = 'id = "calls"\n\n[[version]]\neffective_from = 2026-01-01\n' + VERSION
BAD = "<script>alert(1)</script>"


def use(site: Site, *uses: tuple[str, int, int]) -> None:
    """Accounts that were charged for use by the tariff in October: account, units, cents."""
    loaded = load(site.house.operator.settings)
    version = loaded.tariffs.tariff("games").versions[0]
    at = datetime(2026, 10, 5, 12, tzinfo=UTC)

    def keep(connection: Any) -> None:
        keep_versions(connection, loaded, NOW)
        for number, (account, units, cents) in enumerate(uses):
            add(
                connection,
                Charge(
                    id=f"charge-{number}", transfer_id=new_id(1_790_000_000_000_000 + number), account_id=account,
                    subscriber_id=account, agreement_id=f"agr-{number}", kind="use", quantity=units,
                    currency="EUR", tax_category="S", tax_rate=1900, net=cents * 10_000,
                    tariff_version=version.version_id, effective_at=at,
                    recorded_at=at, period="2026-10",
                ),
            )  # fmt: skip

    site.house.change(keep)


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_tariffs_and_only_who_may_write_can_change_them(site: Site, role: str) -> None:
    client = site.logged_on(role)
    reads, writes = "tariffs.read" in ROLES[role], "tariffs.write" in ROLES[role]
    for path in ("", "/games", "/games/explain", "/games/simulate"):
        get(client, f"/console/tariffs{path}", 200 if reads else 403)
    for path in ("/-/new", "/games/new-version"):
        get(client, f"/console/tariffs{path}", 200 if writes else 403)
    if not writes:
        send(client, "/console/tariffs/publish", 403, toml=TARIFF)
        send(client, "/console/tariffs/preview", 403, toml=TARIFF)
    if reads:
        assert ("new-version" in get(client, "/console/tariffs/games")) == writes


@pytest.mark.parametrize("path", ["check", "preview", "publish", "games/simulate"])
def test_no_form_is_taken_without_its_token(site: Site, path: str) -> None:
    client = site.logged_on("operator")
    del client.headers["X-CSRF-Token"]
    answer = client.post(f"/console/tariffs/{path}", data={"toml": TARIFF}, headers={"Accept": "text/html"})
    assert answer.status_code == 403


def test_a_version_is_read_by_people(site: Site) -> None:
    client = site.logged_on("support")
    page = get(client, "/console/tariffs/games")
    assert page.count("to come") == 1
    first = re.findall(r'href="(/console/tariffs/games/version\?v=[^"]+)"', page)[-1]
    text = get(client, first.replace("&amp;", "&"))
    assert "0.05 EUR for each use." in text
    assert "10 uses per month" in text
    get(client, "/console/tariffs/games/version?v=nothing", 404)
    get(client, "/console/tariffs/nothing", 404)


def test_a_cost_is_explained_step_by_step(site: Site) -> None:
    client = site.logged_on("support")
    page = get(client, "/console/tariffs/games/explain?quantity=5&used=8&at=2026-11-02T10:00")
    assert "after 8 units" in page
    assert "0.15 EUR" in page
    page = get(client, "/console/tariffs/games/explain?quantity=5&at=2026-12-02T10:00")
    assert "0.35 EUR" in page
    assert "a whole number" in get(client, "/console/tariffs/games/explain?quantity=many", 422)
    assert "is no time" in get(client, "/console/tariffs/games/explain?quantity=1&at=soon", 422)
    assert "not yet" in get(client, "/console/tariffs/games/explain?quantity=1&at=2020-01-01T00:00", 422)


def test_a_version_is_written_checked_and_put_in_force(site: Site) -> None:
    client, settings = site.logged_on("operator"), site.house.operator.settings
    before = (settings.config_dir / "tariffs" / "games.toml").read_text()
    page = get(client, "/console/tariffs/games/new-version")
    was, source = hidden(page, "was"), written(page).replace('"0.07"', '"0.09"')
    assert "0.09" in source
    form = {"tariff": "games", "was": was, "begins": "2027-01-01"}
    assert "Nothing is wrong" in send(client, "/console/tariffs/check", toml=source, **form).text
    fault = send(client, "/console/tariffs/check", toml=source.replace('"0.09"', '"-1"'), **form).text
    assert "Line 6: <code>price.amount = &#39;-1&#39;</code>" in fault
    seen = send(client, "/console/tariffs/preview", toml=source, **form).text
    assert "0.09 EUR for each use." in seen
    assert (settings.config_dir / "tariffs" / "games.toml").read_text() == before
    done = send(client, "/console/tariffs/publish", 303, toml=written(seen), **form)
    assert done.headers["location"] == "/console/tariffs/games"
    after = (settings.config_dir / "tariffs" / "games.toml").read_text()
    assert after.startswith(before.rstrip())
    assert len(load(settings).tariffs.tariff("games").versions) == 3
    with site.house.engine.connect() as connection:
        [entry] = entries(connection, reference="tariff/games")
    assert (entry.actor, entry.action, len(entry.after["versions"])) == ("person:operator", "tariff.publish", 3)
    assert (
        "changed meanwhile"
        in send(client, "/console/tariffs/publish", 409, toml=source, **{**form, "begins": "2027-02-01"}).text
    )


def test_what_is_in_force_is_not_changed(site: Site) -> None:
    client = site.logged_on("operator")
    page = get(client, "/console/tariffs/games/new-version")
    form = {"tariff": "games", "was": hidden(page, "was"), "toml": VERSION}
    for day, told in (("2026-11-01", "lies in the past"), ("", "choose the day"), ("soon", "is no day")):
        assert told in send(client, "/console/tariffs/publish", 422, **form, begins=day).text
    assert "another version begins" in send(client, "/console/tariffs/publish", 422, **form, begins="2026-12-01").text
    changed = send(client, "/console/tariffs/publish", 422, toml=TARIFF.replace("calls", "games"), was=form["was"]).text
    assert "stays as it is" in changed
    other = send(
        client, "/console/tariffs/publish", 422, **{**form, "toml": VERSION.replace("EUR", "USD")}, begins="2027-01-01"
    )
    assert "make another tariff" in other.text


def test_a_new_tariff_is_published_and_no_name_leads_out_of_the_folder(site: Site) -> None:
    client, settings = site.logged_on("operator"), site.house.operator.settings
    for name in ("../evil", "/tmp/evil", "..", "a/b"):
        page = send(client, "/console/tariffs/publish", 422, toml=TARIFF.replace('"calls"', f'"{name}"')).text
        assert "<code>id = " in page
    send(client, "/console/tariffs/publish", 303, toml=TARIFF, was="")
    assert load(settings).tariffs.tariff("calls").versions
    assert "is there already" in send(client, "/console/tariffs/publish", 409, toml=TARIFF, was="").text
    assert not list(site.house.folder.rglob("evil*"))


def test_text_of_a_tariff_is_text_on_every_page(site: Site) -> None:
    client = site.logged_on("operator")
    source = TARIFF.replace('id = "calls"', f'# {BAD}</textarea></pre>\nid = "calls"\nname = {{ en = "{BAD}" }}')
    pages = [send(client, "/console/tariffs/preview", toml=source).text]
    pages.append(send(client, "/console/tariffs/check", toml=source + BAD).text)
    send(client, "/console/tariffs/publish", 303, toml=source, was="")
    pages += [get(client, f"/console/tariffs{path}") for path in ("", "/calls", "/calls/new-version")]
    for page in pages:
        assert "<script>" not in page
    with pytest.raises(TariffError):
        load(site.house.operator.settings).tariffs.tariff("evil")


def test_a_month_is_tried_and_shows_who_pays_more_and_less(site: Site) -> None:
    use(site, ("A-1", 12, 10), ("A-2", 40, 800), ("A-1", 1, 10))
    client = site.logged_on("support")
    page = get(client, "/console/tariffs/games/simulate")
    assert ">2026-10</option>" in page
    begun = send(client, "/console/tariffs/games/simulate", 303, month="2026-10", toml=VERSION, version="")
    shown = _ended(client, begun.headers["location"])
    assert 'aria-label="Accounts: pay more 1; pay less 1; pay the same 0"' in shown
    assert "+1.10 EUR" in shown
    assert "-4.00 EUR" in shown
    live = client.get(begun.headers["location"] + "/live", headers={"Accept": "text/html"})
    assert live.headers["x-live"] == "done"
    assert "<html" not in live.text


def test_a_simulation_that_cannot_be_says_why(site: Site) -> None:
    client = site.logged_on("support")
    assert "Nothing was used by this tariff yet" in get(client, "/console/tariffs/games/simulate")
    for month, told in (("2026-10", "no use was charged"), ("October", "October")):
        begun = send(client, "/console/tariffs/games/simulate", 303, month=month, toml=VERSION)
        page = _ended(client, begun.headers["location"])
        assert told in page
        assert 'role="alert"' in page
    use(site, ("A-1", 12, 10))
    page = send(
        client, "/console/tariffs/games/simulate", 422, month="2026-10", toml=VERSION.replace('"0.10"', "1")
    ).text
    assert "Line 7" in page
    send(client, "/console/tariffs/games/simulate", 404, month="2026-10", version="games@none")
    get(client, "/console/tariffs/-/simulations/01a5f3c2-7a10-7c41-a3b5-5d2f3c1e9a77", 404)


def test_a_list_says_what_to_do_where_there_is_nothing(site: Site) -> None:
    folder = site.house.operator.settings.config_dir
    for path in (*(folder / "tariffs").glob("*"), *(folder / "offers").glob("*")):
        path.unlink()
    page = get(site.logged_on("operator"), "/console/tariffs")
    assert "There is no tariff yet" in page
    assert "/console/tariffs/-/new" in page
    (folder / "tariffs" / "x.toml").write_text("id = 1\n")
    assert "x.toml" in get(site.logged_on("operator"), "/console/tariffs")


def _ended(client: Any, path: str) -> str:
    end = time.monotonic() + 10
    while "Look again" in (page := get(client, path)):
        assert time.monotonic() < end
        time.sleep(0.02)
    return page
