"""Each command that changes something is in the audit trail: who, when, what, before and after.

A new command has to be tried here (``trail("...")``), or stand in :data:`READS` with what makes it change nothing.
"""

from __future__ import annotations

import email
import getpass
import json
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command_tree import commands, options
from operator_samples import TARIFF, House
from statement_maker import IBAN, simple, statement

from operator_server.audit import entries, verify_audit
from operator_server.billing.bill_run import run_bills
from operator_server.store.accounting import Charge
from operator_server.store.dealings import Rejection
from signalling.clock import SharedClock
from signalling.messages import Reject

if TYPE_CHECKING:
    from conftest import Tollgate

READS = {
    *("account balance", "account bucket list", "account list", "account share list", "account show"),
    *("account threshold list", "agreement list", "agreement show", "audit list", "audit verify", "bill commitments"),
    *("bill report", "card list", "card show", "charge enquire", "check", "credit-note export", "credit-note list"),
    *("credit-note show", "db current", "device credential list", "device list", "device show", "dispute list"),
    *("doctor", "bill list", "finance export", "invoice dispatches", "invoice export", "invoice list", "invoice show"),
    *("ledger verify", "mandate list", "offer history", "offer list", "offer preview", "offer why"),
    *("payment collections", "payment items", "payment list", "rejection list", "release list", "reminder list"),
    *("reminder show", "tariff explain", "tariff list", "tariff show", "tariff simulate", "terminal bundle"),
    *("terminal list", "terminal show", "token list", "tone deliveries", "tone export", "tone list", "tone sample"),
    *("top", "usage list", "usage rate", "user list", "visited list", "visited partners", "visited report"),
    *("tone reports", "visited check", "visited disputes", "visited roamers", "write-off notice", "write-off taxes"),
    *("write-off list", "key list", "event list", "charge list", "charge show"),
}
"""Commands that look, or write files for somebody else."""

WITHOUT = {
    "device invite": "needs an interrogated device with offers; writes device.invite (tests/devices)",
    "visited reconcile": "needs two operators; writes settlement.reconcile (tests/visited)",
    "serve": "runs the server, whose changes have causes of their own",
    "demo": "makes an operator of its own",
    "db backup": "copies what is there",
    "db copy": "copies what is there, trail and all",
    "tariff import-csv": "writes files of the configuration, which `tariff publish` puts in force",
    "tone offers": "writes files of the configuration, which `offer publish` puts in force",
}

NUMBER = "R-2026-000001"
MOVIE = """id = "movie"
product = "movie"
kind = "service"
text.en = { title = "Movie" }

[[mode]]
id = "monthly"
kind = "subscription"
label = { en = "By the month" }
amount = "10.00"
currency = "EUR"
tax_category = "S"
period = "month"
"""


FEATURES = """
[[feature]]
feature = "call-forwarding"
title = "Call forwarding"
activate = "*44#"
deactivate = "*45#"
"""


class Trail:
    """Runs a command and looks at the one entry that it left."""

    def __init__(self, tollgate: Tollgate, house: House) -> None:
        self.tollgate, self.house = tollgate, house

    def __call__(
        self, command: str, *arguments: Any, about: str = "", action: str = "", before: Any = None, after: Any = None,
        code: int = 0,
    ) -> Any:  # fmt: skip
        """What the command answers; ``before`` and ``after``: what the entry has at least."""
        known = self.count()
        text = ["--json"] if "--json" in options(commands()[command]) else []
        result = self.tollgate(*command.split(), *text, *arguments, code=code)
        with self.house.engine.connect() as connection:
            new = list(entries(connection))[: -known or None]
            assert verify_audit(connection)[2] == []
        assert len(new) == 1, f"{command}: {[(each.action, each.reference) for each in new]}"
        [entry] = new
        assert entry.actor.startswith(f"cli:{getpass.getuser()}")
        assert (entry.action, entry.reference) == (action or entry.action, about or entry.reference)
        assert "/" in entry.reference
        for wanted, had in ((before, entry.before), (after, entry.after)):
            if wanted is not None:
                assert {key: (had or {}).get(key) for key in wanted} == wanted
        return json.loads(result.stdout) if text else result.stdout

    def count(self) -> int:
        with self.house.engine.connect() as connection:
            return len(list(entries(connection, most=10_000)))


@pytest.fixture
def trail(tollgate: Tollgate, house: House) -> Trail:
    return Trail(tollgate, house)


def test_every_command_is_tried_here_or_changes_nothing() -> None:
    tried = set(re.findall(r'trail\(\s*"([a-z -]+)"', Path(__file__).read_text(encoding="utf-8")))
    said = tried | READS | set(WITHOUT)
    assert sorted(set(commands()) - said) == [], "try them here, or say that they change nothing"
    assert sorted(tried & (READS | set(WITHOUT))) == []


def test_accounts_and_their_balances(trail: Trail) -> None:
    about = "account/A-1"
    trail("account create", "A-9", "--name", "New", about="account/A-9", after={"name": "New", "status": "active"})
    trail(
        "account change", "A-9", "--name", "Newer", about="account/A-9", before={"name": "New"}, after={"name": "Newer"}
    )
    trail("account add-subscriber", "A-9", "A-9-2", about="subscriber/A-9-2", after={"account_id": "A-9"})
    trail("account groups", "A-9", "staff", about="subscriber/A-9", before={"groups": []}, after={"groups": ["staff"]})
    trail(
        "account top-up", "A-1", "20.00", "--id", "v-1", about=about, action="balance.top_up",
        before={"prepaid": {"EUR": "0.00"}}, after={"prepaid": {"EUR": "20.00"}, "id": "v-1"},
    )  # fmt: skip
    trail("account adjust", "A-1", "--reason", "goodwill", "--", "-2.50", about=about, after={"reason": "goodwill"})
    trail("account pay-out", "A-1", "5.00", about=about, before={"prepaid": {"EUR": "17.50"}})
    trail(
        "account limit", "A-1", "200", about=about, before={"credit_limit": "20.00"}, after={"credit_limit": "200.00"}
    )
    trail("account bar", "A-1", "--reason", "unpaid", about=about, before={"barred": None}, after={"barred": "unpaid"})
    trail("account unbar", "A-1", about=about, before={"barred": "unpaid"}, after={"barred": None})
    trail("account bucket add", "A-1", "second", "60", "--id", "b-1", about="bucket/b-1", after={"remaining": 60})
    trail(
        "account bucket adjust", "b-1", "30", "--reason", "x", about="bucket/b-1",
        before={"remaining": 60}, after={"remaining": 90},
    )  # fmt: skip
    trail("account share add", "A-1", "A-2", "--id", "s-1", about="share/s-1", after={"user_id": "A-2"})
    trail("account share end", "s-1", about="share/s-1", before={"ended_at": None})
    trail("account threshold add", "A-1", "--below", "20%", "--id", "t-1", about="threshold/t-1")
    trail("account threshold remove", "t-1", about="threshold/t-1", before={"sense": "below"}, after={})
    trail("bill cycle", "A-1", "--day", "15", about=about, before={"cycle_day": 1}, after={"cycle_day": 15})
    trail("bill commit", "A-1", "50.00", after={"account_id": "A-1", "amount": "50.00"})


def test_an_import_has_an_entry_for_each_row(trail: Trail, tmp_path: Path) -> None:
    accounts, terminals = tmp_path / "accounts.csv", tmp_path / "terminals.csv"
    accounts.write_text("id,name\nA-7,Seven\n")
    terminals.write_text(f"terminal,public_key,subscriber\nT-7,{'ab' * 32},A-7\n")
    trail("account import", accounts, about="account/A-7", action="account.create", after={"name": "Seven"})
    trail("terminal import", terminals, about="terminal/T-7", action="terminal.enrol", after={"subscriber": "A-7"})


def test_terminals(trail: Trail) -> None:
    about = "terminal/T-1"
    trail("terminal enroll", "T-9", "--public-key", "ab" * 32, "--subscriber", "A-1", after={"subscriber": "A-1"})
    trail("terminal bind", "T-1", "A-2", about=about, before={"subscriber": "A-1"}, after={"subscriber": "A-2"})
    trail("terminal revoke", "T-1", about=about, before={"status": "active"}, after={"status": "revoked"})
    trail("terminal replace-key", "T-1", "--public-key", "cd" * 32, about=about, before={"fingerprint": ""})
    trail("interrogate", "T-1", "--wait", "0", about=about, action="terminal.interrogate", code=1)
    trail("device poll", "T-1", "--wait", "0", about=about, action="terminal.interrogate", code=1)
    trail("card ask", "T-1", "--wait", "0", about=about, action="terminal.interrogate", code=1)


def test_devices_and_cards(trail: Trail, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("community-1\n")
    trail("device credential add", "routers", "--secret-file", secret, about="credential/routers")
    trail(
        "device add", "gw-1", "--host", "192.0.2.1", "--credential", "routers", "--subscriber", "A-1",
        about="device/gw-1", after={"host": "192.0.2.1", "subscriber": "A-1"},
    )  # fmt: skip
    trail(
        "device change", "gw-1", "--host", "192.0.2.2", about="device/gw-1",
        before={"host": "192.0.2.1"}, after={"host": "192.0.2.2"},
    )  # fmt: skip
    trail("device pause", "gw-1", about="device/gw-1", after={"state": "paused"})
    trail("device resume", "gw-1", about="device/gw-1", before={"state": "paused"})
    trail("device credential add", "spare", "--secret-file", secret)
    trail("device credential remove", "spare", about="credential/spare", before={"version": "v2c"})
    card = ["SIM-1", "--iccid", "8949000000000000018", "--msisdn", "+491701234567", "--subscriber", "A-1"]
    trail("card add", *card, about="card/SIM-1", after={"msisdn": "+491701234567", "subscriber": "A-1"})
    trail("card new-master", about="card_master/all", before={"numbers": [1]}, after={"numbers": [1, 2]})
    trail("card keys", "SIM-1", "--out", tmp_path / "card.json", about="card/SIM-1")
    trail("tone send-again", "SIM-1", about="card/SIM-1")
    trail("tone locate", "+491701234567", "--node", "north", about="phone/+491701234567", after={"node": "north"})
    tone = tmp_path / "scale.rtttl"
    tone.write_text("Scale:d=4,o=5,b=100:c,d,e,f\n")
    trail("tone form", "SIM-1", "--form", "rtttl", about="card/SIM-1")
    trail("tone import", tone, "--id", "tone-scale", about="tone/tone-scale", after={"title": "Scale"})


def test_offers_tariffs_and_releases(trail: Trail, house: House, tmp_path: Path) -> None:
    offer, tariff = tmp_path / "movie.toml", tmp_path / "games.toml"
    offer.write_text(MOVIE)
    tariff.write_text(TARIFF.replace('"0.07"', '"0.08"'))
    version = trail("offer publish", offer, about="offer/movie", after={})["version"]
    trail("offer schedule", "movie", "--from", "2026-12-01", about="offer/movie")
    trail("offer withdraw", "movie", about="offer/movie")
    trail("offer roll-back", "movie", version, about="offer/movie")
    trail("tariff publish", tariff, about="tariff/games")
    version_file = tmp_path / "version.toml"
    version_file.write_text(TARIFF.rpartition("[[version]]")[2].replace("effective_from = 2026-12-01\n", ""))
    versions = trail("tariff schedule", "games", version_file, "--from", "2027-02-01", about="tariff/games")
    trail("tariff withdraw", "games", versions[-1]["version"], about="tariff/games")
    file = tmp_path / "chess.bin"
    file.write_bytes(b"moves")
    trail("publish", file, "--name", "chess", "--version", "1.0", about="release/chess/1.0", after={"sealed": False})
    trail(
        "release revoke", "chess", "1.0", "--reason", "bad", about="release/chess/1.0",
        before={"status": "valid"}, after={"status": "revoked", "reason": "bad"},
    )  # fmt: skip
    trail("release rotate-key", "timestamp", about="repository_key/timestamp")
    user = house.user()
    user.say(Reject("notes", user.version("notes"), ""))
    [rejection] = house.rows(Rejection)
    trail("rejection undo", rejection.id, "--reason", "asked", before={"undone": False}, after={"undone": True})


def test_agreements(trail: Trail, house: House) -> None:
    (house.folder / "configs" / "offers" / "movie.toml").write_text(MOVIE)
    house.take_over()
    bought = house.user().take("movie", "monthly").agreement
    about = f"agreement/{bought}"
    trail("agreement cancel", bought, about=about, before={"cancelled_at": None})
    trail("agreement renew", bought, about=about, after={"cancelled_at": None})
    trail("agreement withdraw", bought, about=about)
    trail(
        "agreement limit", "A-1", "--amount", "20", about="subscriber/A-1",
        before={"limits": {}}, after={"limits": {"EUR": "20.00"}},
    )  # fmt: skip
    trail("agreement standing", "A-1", "games", "--payment", "postpaid", about="subscriber/A-1")
    trail("agreement announce", action="price.announce")
    trail("agreement due", action="agreement.due")
    known = trail.count()
    trail.tollgate("agreement", "announce", "--dry-run")
    assert trail.count() == known


def test_use_that_is_charged_by_hand(trail: Trail, house: House, tmp_path: Path) -> None:
    trail.tollgate("account", "top-up", "A-1", "10.00")
    more = ["--tariff", "games", "--pays", "prepaid"]
    trail("charge consume", "A-1", "use", "30", "--id", "c-1", *more, about="subscriber/A-1", after={"id": "c-1"})
    [charge] = [each for each in house.rows(Charge) if each.net]
    trail("charge refund", charge.id, "--reason", "bad line", about=f"charge/{charge.id}")
    trail("charge reserve", "A-1", "use", "20", "--id", "r-1", *more, about="subscriber/A-1")
    trail("charge commit", "r-1", "--quantity", "5", about="usage_reservation/r-1", after={"quantity": 5})
    trail.tollgate("charge", "reserve", "A-1", "use", "20", "--id", "r-2", *more)
    trail("charge release", "r-2", about="usage_reservation/r-2")
    records = tmp_path / "use.csv"
    records.write_text("id,subscriber,tariff,quantity,at\nu-1,A-1,games,3,2026-11-01T10:00:00Z\n")
    trail("usage import", records, "--source", "switch", about="usage/use.csv", after={"source": "switch"})


def test_a_month_and_its_claims(trail: Trail, house: House, tmp_path: Path) -> None:
    month = ("2026-11",)
    trail.tollgate("bill", "lock", "2026-09")
    trail("bill unlock", "2026-09", about="period/2026-09", before={"end_at": "2026-09-30T22:00:00+00:00"})
    house.user().take("game", "buy")
    trail.tollgate("charge", "consume", "A-2", "use", "30", "--tariff", "games")
    house.clock.advance(timedelta(days=40))
    SharedClock(house.folder / "clock").set(house.clock.now())
    trail("bill run", *month, "--draft", about="period/2026-11", action="bill_run.start", after={"kind": "draft"})
    trail("bill approve", *month, "--by", "Erika", before={"state": "drafted"}, after={"state": "approved"})
    trail("bill discard", *month)
    trail.tollgate("bill", "run", *month, "--draft")
    trail.tollgate("bill", "approve", *month)
    trail("bill finalise", *month, before={"state": "approved"})
    commitment = trail.tollgate("bill", "commit", "A-2", "50.00", "--json").stdout
    trail("bill end-commitment", json.loads(commitment)["commitment"], before={"ends_at": None})
    trail("bill lock", "2026-10", about="period/2026-10")
    trail("finance recognise", "2026-10", about="period/2026-10")
    trail.tollgate("account", "change", "A-1", "--email", "erika@muster.example")
    trail("invoice send", NUMBER, about=f"invoice/{NUMBER}", before={"mails": 0}, after={"mails": 1})
    trail("invoice bounce", bounced(house, tmp_path), action="invoice.bounce", after={"said": "failed"})
    faulty = json.loads(trail.tollgate("invoice", "list", "--account", "A-2", "--json").stdout)[0]["number"]
    right = tmp_path / "right.toml"
    right.write_text(TARIFF.replace('"0.05"', '"0.04"'))
    trail("invoice rerate", faulty, "--tariff", right, about=f"invoice/{faulty}")
    debt = f"debt/{NUMBER}"
    trail("dispute hold", NUMBER, "--reason", "never came", about=debt, before={"held": []})
    trail("dispute release", NUMBER, about=debt, after={"held": []})
    taken = trail("payment add", "A-1", "1.00", after={"amount": "1.00", "account_id": "A-1"})
    trail("payment return", taken["payment"], "--reason", "MD06", before={"state": "booked"})
    trail("credit-note create", NUMBER, "--reason", "x", about=f"invoice/{NUMBER}", after={"open": "0.00"})
    trail.tollgate("payment", "add", "A-1", "5.00")
    trail("payment refund", "A-1", "5.00", "--id", "f-1", about="account/A-1")
    trail("reminder run", action="reminder.run")


def test_write_offs_and_mandates(trail: Trail, house: House, tmp_path: Path) -> None:
    house.user().take("game", "buy")
    house.clock.advance(timedelta(days=40))
    SharedClock(house.folder / "clock").set(house.clock.now())
    run_bills(house.engine, house.operator.settings, "2026-11", now=house.clock.now())
    first = trail("write-off ask", NUMBER, "--reason", "insolvent", "--by", "eve", after={"state": "asked"})
    trail("write-off refuse", first["write_off"], "--by", "adam", before={"state": "asked"}, after={"state": "refused"})
    again = trail("write-off ask", NUMBER, "--reason", "insolvent", "--by", "eve")["write_off"]
    trail("write-off approve", again, "--by", "adam", about=f"write_off/{again}", after={"state": "approved"})
    iban = ["--iban", "DE89370400440532013000", "--signed-on", "2026-10-01"]
    trail("mandate add", "M-1", "--account", "A-1", *iban, about="mandate/M-1", after={"state": "active"})
    trail("mandate add", "M-2", "--account", "A-1", *iban, about="mandate/M-2", after={"replaces": "M-1"})
    trail("mandate revoke", "M-2", before={"state": "active"}, after={"state": "revoked"})
    trail("write-off correct-taxes", about="write_off/all")


def test_money_by_bank(trail: Trail, house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLGATE_RECEIVABLES__CREDITOR_ID", "DE98ZZZ09999999999")
    monkeypatch.setenv("TOLLGATE_OPERATOR__IBAN", IBAN)
    monkeypatch.setenv("TOLLGATE_OPERATOR__BIC", "BYLADEM1001")
    house.user().take("game", "buy")
    house.clock.advance(timedelta(days=40))
    SharedClock(house.folder / "clock").set(house.clock.now())
    run_bills(house.engine, house.operator.settings, "2026-11", now=house.clock.now())
    iban = ["--iban", "DE89370400440532013000", "--signed-on", "2026-10-01"]
    trail.tollgate("mandate", "add", "M-1", "--account", "A-1", *iban)
    made = trail("payment collect", "--on", "2026-12-31", "--out", tmp_path / "pain.xml", action="collection.make")
    trail("payment cancel-collection", made["id"], about=f"collection/{made['id']}")
    paper = tmp_path / "statement.xml"
    paper.write_bytes(statement(simple("3.00", "nobody knows what for")))
    trail("payment import", paper, about="statement/statement.xml", action="payment.import")
    [waiting] = json.loads(trail.tollgate("payment", "list", "--state", "suspense", "--json").stdout)
    trail(
        "payment assign", waiting["payment"], "A-1", about=f"payment/{waiting['payment']}",
        before={"account_id": None}, after={"account_id": "A-1"},
    )  # fmt: skip


def bounced(house: House, folder: Path) -> Path:
    """A report that the mail with an invoice did not arrive."""
    [mail] = (house.operator.data / "outbox").glob("*.eml")
    name = email.message_from_bytes(mail.read_bytes())["Message-ID"]
    report = folder / "bounce.eml"
    report.write_text(
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
        "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\n"
        "Final-Recipient: rfc822; erika@muster.example\nAction: failed\nStatus: 5.1.1\n\n"
        f"--b\nContent-Type: text/rfc822-headers\n\nMessage-ID: {name}\n\n--b--\n"
    )
    return report


def test_roaming(trail: Trail, tmp_path: Path) -> None:
    codes, ours, theirs = tmp_path / "features.toml", tmp_path / "own.json", tmp_path / "north.json"
    codes.write_text(FEATURES)
    trail("visited codes", codes, about="feature_table/all", before={"sequence": None}, after={"sequence": 1})
    trail("visited mobile", "T-1", "--out", tmp_path / "mobile.json", about="terminal/T-1")
    trail.tollgate("visited", "introduction", "--url", "https://here.example:7790", "--out", ours)
    theirs.write_text(ours.read_text().replace("op.example", "north.example"))
    trail("visited introduction", "--new-key", "--out", ours, action="roaming_identity.renew")
    trail("visited partner", "north.example", "--introduction", theirs, about="roaming_partner/north.example")
    trail("visited settle", action="settlement.hand_over")


def test_the_database(trail: Trail, house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operator_server.cli.db.migrate.upgrade", lambda url: ("0001", "0002"))
    trail("db upgrade", about="database/schema", before={"schema": "0001"}, after={"schema": "0002"})
    monkeypatch.undo()
    monkeypatch.setenv("TOLLGATE_CONFIG", str(trail.tollgate.config))
    monkeypatch.setenv("TOLLGATE_CLOCK", f"file:{house.folder / 'clock'}")
    trail.tollgate("db", "backup", tmp_path / "copy.db")
    house.engine.dispose()
    for path in house.operator.data.glob("tollgate.sqlite*"):
        path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trail, "count", lambda: 1)
        trail("db restore", tmp_path / "copy.db", about="database/schema", action="db.restore")


def test_people_and_tokens(trail: Trail) -> None:
    trail("user add", "erika", "--role", "billing", about="person/erika", action="person.create")
    trail("user role", "erika", "support", before={"role": "billing"}, after={"role": "support"})
    trail("user password", "erika", about="person/erika")
    made = trail("token create", "erika", "--label", "x", "--scope", "read")
    trail("token revoke", made["id"], about=f"token/{made['id']}")
    trail("user disable", "erika", before={"status": "active"}, after={"status": "disabled"})


def test_keys(trail: Trail, house: House) -> None:
    before = house.operator.vault.key_id
    trail("key rotate", "content", about="key/content", before={"fingerprint": before})
    [former] = (house.operator.data / "keys").glob("content_kek.bin.*.old")
    os.utime(former, (1, 1))
    trail("key forget", about="key/content", before={"fingerprint": before})
    trail("key rotate", "server", about="key/server")


def test_erasure(trail: Trail) -> None:
    trail("account erase", "A-2", "--yes", about="account/A-2", action="account.erase", after={"status": "erased"})


def test_what_is_refused_or_asked_leaves_no_entry(tollgate: Tollgate, trail: Trail) -> None:
    before = trail.count()
    assert tollgate("account", "top-up", "nobody", "20.00", code=1)
    assert tollgate("bill", "run", "October", code=1)
    assert tollgate("publish", "/nowhere", "--name", "x", "--version", "1", code=1)
    tollgate("account", "balance", "A-1")
    tollgate("payment", "items")
    assert trail.count() == before
