"""A customer with everything: use that a terminal reported, a subscription, buckets, a rejection, an invoice."""

from __future__ import annotations

from datetime import timedelta

from operator_samples import OFFERS, House, key_of
from sqlalchemy import Connection, update

from operator_server.balances.buckets import add_bucket
from operator_server.balances.money import top_up
from operator_server.balances.thresholds import add_threshold
from operator_server.billing.bill_run import run_bills
from operator_server.billing.dispatch import ask, send_due_invoices
from operator_server.counting.grants import UsageGrants
from operator_server.counting.intake import present, take_reports
from operator_server.counting.tariffs import TariffVersions
from operator_server.store.parties import Account, Notice
from operator_server.store.rows import add, table
from signalling.clock import to_micros
from signalling.documents import CounterReport, document_digest
from signalling.ids import new_id
from signalling.messages import CounterReports, Reject
from signalling.proof import sign

RADIO = """
[[offer]]
id = "radio"
product = "radio"
kind = "service"
text.en = { title = "Radio" }

[[offer.mode]]
id = "monthly"
kind = "subscription"
label = { en = "By the month" }
amount = "4.99"
currency = "EUR"
tax_category = "S"
period = "month"
charged = "advance"
minimum_periods = 12
notice = "30d"
"""


def subscribe(house: House) -> str:
    """A-1 takes the radio by the month; the agreement."""
    (house.folder / "configs" / "offers" / "shop.toml").write_text(OFFERS + RADIO)
    house.take_over()
    user = house.user()
    return user.take("radio", "monthly").agreement


def report(house: House, installation: str, values: list[int]) -> None:
    """The terminal T-1 reports its counter, a day after another."""
    previous, user = bytes(32), house.user()
    settings, keys = house.operator.settings, house.operator.keys
    versions = TariffVersions(lambda: house.offers.tariffs)
    grants = UsageGrants(versions, keys.signing, settings)
    for sequence, value in enumerate(values, 1):
        house.clock.advance(timedelta(days=1))
        now = house.clock.now()
        document = CounterReport(
            installation=installation, counter="use", epoch=0, sequence=sequence, value=value, samples=[],
            previous=previous, at=to_micros(now),
        ).encode()  # fmt: skip
        previous = document_digest(document)
        presented = present(user.visitor, CounterReports([sign(key_of("T-1"), CounterReport.PURPOSE, document)]))
        house.change(
            lambda c, p=presented, at=now: take_reports(c, versions, grants, settings.operator.zone, [p], at)
        )  # fmt: skip


def whole_life(house: House) -> None:
    """Months of a customer, with a November that is billed and sent."""
    subscribe(house)
    grant = house.user().take("game", "per-use")
    now = house.clock.now()

    def people(connection: Connection) -> None:
        accounts = table(Account)
        connection.execute(
            update(accounts)
            .where(accounts.c.id == "A-1")
            .values(name="Erika Muster", address=["Weg 1", "24103 Kiel"], email="erika@muster.example", language="de")
        )
        top_up(connection, "A-1", 20_000_000, id="voucher-4711", now=now)
        add_bucket(connection, "A-1", "second", 3600, id="minutes", name="Free hour", now=now)
        add_threshold(connection, "A-1", id="low", sense="below", value=2_000, percent=True, now=now)
        add(
            connection,
            Notice(
                id=new_id(to_micros(now)), terminal_id="T-1", subscriber_id="A-1", kind="validity",
                text="Your release of the game 1.0 is valid until 30 November.", created_at=now,
            ),
        )  # fmt: skip

    house.change(people)
    report(house, grant.installation, [7, 19, 22, 40, 41, 60, 66, 80, 81, 95])
    house.user("T-3", "A-2").take("game", "buy")
    house.clock.advance(timedelta(days=22))
    run_bills(house.engine, house.operator.settings, "2026-11", now=house.clock.now())
    house.change(lambda c: ask(c, "R-2026-000001", house.clock.now(), by="person:billing"))
    send_due_invoices(house.engine, house.operator.settings, house.clock.now())
    user = house.user()
    user.say(Reject("notes", user.version("notes"), "no need"))
