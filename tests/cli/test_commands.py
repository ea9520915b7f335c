"""The operator's commands: what they do, what they say, and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from operator_samples import House, User

from operator_server.store.dealings import Rejection, Release
from operator_server.store.migrate import newest
from operator_server.store.parties import Account, Binding, Subscriber, Terminal, TerminalKey
from signalling.messages import Reject

if TYPE_CHECKING:
    from conftest import Tollgate

KEY = "ab" * 32


def shown(tollgate: Tollgate, *arguments: str) -> Any:
    return json.loads(tollgate(*arguments, "--json").stdout)


def csv(folder: Path, *lines: str) -> Path:
    file = folder / "list.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_an_account_is_opened_with_a_subscriber_and_its_money(tollgate: Tollgate, house: House) -> None:
    result = tollgate(
        "account", "create", "A-9", "--name", "Erika [Muster]", "--address", "Weg 1", "--address", "24103 Kiel",
        "--credit-limit", "50", "--language", "de",
    )  # fmt: skip
    assert "Account A-9 is open: EUR, credit limit 50.00." in result.output
    account = shown(tollgate, "account", "show", "A-9")
    assert (account["name"], account["address"], account["credit_limit"]) == (
        "Erika [Muster]", ["Weg 1", "24103 Kiel"], "50.00",
    )  # fmt: skip
    assert account["money"] == [
        {"currency": "EUR", "unbilled": "0.00", "open": "0.00", "reserved": "0.00", "available": "50.00"}
    ]
    assert [subscriber["id"] for subscriber in account["subscribers"]] == ["A-9"]
    assert "Erika [Muster]" in tollgate("account", "show", "A-9").output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["A-1", "--name", "Again"], "account A-1: exists already"),
        (["A 9", "--name", "x"], "account 'A 9': 1 to 64 of"),
        (["A-9", "--name", " "], "account A-9: name: must not be empty"),
        (["A-9", "--name", "x", "--country", "de"], "'de' is not two capital letters"),
        (["A-9", "--name", "x", "--currency", "XXX"], "account A-9: XXX is in ISO 4217 but nobody can pay in it"),
        (["A-9", "--name", "x", "--credit-limit", "-5"], "credit_limit: '-5' is below zero"),
        (["A-9", "--name", "x", "--credit-limit", "lots"], "'lots' is not a decimal number"),
    ],
)
def test_an_account_that_cannot_be_is_refused_with_the_reason(
    tollgate: Tollgate, house: House, arguments: list[str], told: str
) -> None:
    result = tollgate("account", "create", *arguments, code=1)
    assert told in result.output
    assert {row.id for row in house.rows(Account)} == {"A-1", "A-2"}


def test_an_import_of_accounts_does_the_good_lines_and_names_the_bad(tollgate: Tollgate, house: House) -> None:
    tollgate("account", "add-subscriber", "A-1", "A-taken")
    file = csv(
        house.folder,
        "id,name,address,country,credit_limit",
        "B-1,First,Weg 1|24103 Kiel,DE,10",
        "B-2,,Weg 2,DE,10",
        "A-1,Known,,,",
        "B-3,Third,Weg 3,DE,ten",
        "A-taken,Fourth,,,",
        "B-5,Fifth",
    )
    result = tollgate("account", "import", file, code=1)
    assert f"{file}: line 3: account B-2: name: must not be empty" in result.output
    assert f"{file}: line 5: account B-3: 'ten' is not a decimal number" in result.output
    assert f"{file}: line 6: account A-taken: a subscriber of another account has this id" in result.output
    assert "2 opened, 1 known already, 3 refused." in result.output
    assert {row.id for row in house.rows(Account)} == {"A-1", "A-2", "B-1", "B-5"}
    assert house.left("B-1") == 10_000_000
    again = tollgate("account", "import", csv(house.folder, "id,name", "B-1,First", "B-5,Fifth"))
    assert "0 opened, 2 known already, 0 refused." in again.output


def test_a_file_that_is_no_such_list_is_told(tollgate: Tollgate, house: House) -> None:
    file = csv(house.folder, "account,name", "B-1,First")
    assert f"{file}: line 1: the header lacks id" in tollgate("account", "import", file, code=1).output
    assert "cannot be read" in tollgate("account", "import", house.folder / "none.csv", code=1).output


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            ["id,name,credit-limit", "B-1,First,5"],
            "line 1: unknown column 'credit-limit'; there are: id, name, address",
        ),
        (["id,id,name", "B-1,B-2,First"], "line 1: the header has id twice"),
        (["id,name", "B-1,First", 'B-2,"Second', "B-3,Third"], "the row from line 3 on cannot be read"),
        (["id,name", "B-1,Boot, Haus GmbH"], "line 2: has more fields than the header"),
        (["id,name", 'B-1,"Boot\nHaus"'], "account B-1: name: 'Boot\\nHaus' holds a control character"),
        (["id,name", "B-1,Boot\0Haus"], "account B-1: name: 'Boot\\x00Haus' holds a control character"),
        (["id,name,address", "B-1,Boot,Weg 1|Kiel\u009b"], "account B-1: address: "),
    ],
)
def test_nothing_of_a_list_is_left_out_without_a_word(
    tollgate: Tollgate, house: House, lines: list[str], told: str
) -> None:
    assert told in tollgate("account", "import", csv(house.folder, *lines), code=1).output
    assert {row.id for row in house.rows(Account)} == {"A-1", "A-2"}


def test_what_is_typed_in_another_encoding_is_told(tollgate: Tollgate) -> None:
    output = tollgate("account", "create", "B-1", "--name", "M\udcfcller", code=1).output
    assert "'M\\udcfcller' is not UTF-8" in output


def test_many_bad_lines_are_counted_and_not_all_shown(tollgate: Tollgate, house: House) -> None:
    file = csv(house.folder, "id,name", *(f"bad id {number},x" for number in range(60)))
    output = tollgate("account", "import", file, code=1).output
    assert output.count("1 to 64 of") == 50
    assert "... and 10 more" in output
    assert "60 refused" in output


def test_groups_are_what_was_said_last(tollgate: Tollgate, house: House) -> None:
    tollgate("account", "groups", "A-1", "staff", "beta")
    assert house.rows(Subscriber, id="A-1")[0].groups == ["staff", "beta"]
    tollgate("account", "groups", "A-1")
    assert house.rows(Subscriber, id="A-1")[0].groups == []
    assert "tollgate account add-subscriber" in tollgate("account", "groups", "A-8", "x", code=1).output


def test_a_terminal_is_enrolled_bound_revoked_and_given_a_new_key(tollgate: Tollgate, house: House) -> None:
    tollgate("terminal", "enroll", "T-9", "--public-key", KEY, "--subscriber", "A-1")
    assert house.rows(TerminalKey, terminal_id="T-9")[0].public_key == bytes.fromhex(KEY)
    tollgate("terminal", "bind", "T-9", "A-2")
    assert [row.subscriber_id for row in house.rows(Binding, terminal_id="T-9", valid_to=None)] == ["A-2"]
    tollgate("terminal", "revoke", "T-9", "--reason", "lost")
    assert house.rows(Terminal, id="T-9")[0].status == "revoked"
    assert not house.rows(TerminalKey, terminal_id="T-9", valid_to=None)
    tollgate("terminal", "replace-key", "T-9", "--public-key", "cd" * 32)
    assert house.rows(Terminal, id="T-9")[0].status == "active"
    assert [row.public_key for row in house.rows(TerminalKey, terminal_id="T-9", valid_to=None)] == [b"\xcd" * 32]
    assert "T-9" in tollgate("terminal", "list").output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["enroll", "T-1", "--public-key", KEY, "--subscriber", "A-1"], "`tollgate terminal replace-key`"),
        (["enroll", "T-9", "--public-key", "abcd", "--subscriber", "A-1"], "32 bytes (64 hexadecimal digits), not 2"),
        (["enroll", "T-9", "--public-key", "00" * 32, "--subscriber", "A-1"], "anybody can sign for this public key"),
        (["enroll", "T-9", "--public-key", "ee" + "ff" * 31, "--subscriber", "A-1"], "anybody can sign for this"),
        (["enroll", "T-9", "--public-key", "wxyz", "--subscriber", "A-1"], "is not hexadecimal"),
        (["enroll", "T-9", "--public-key", KEY, "--subscriber", "A-9"], "subscriber A-9: there is none"),
        (["bind", "T-9", "A-1"], "terminal T-9: is not enrolled"),
        (["bind", "T-1", "A-9"], "subscriber A-9: there is none"),
        (["revoke", "T-9"], "terminal T-9: is not enrolled"),
        (["replace-key", "T-1", "--public-key", "ab"], "32 bytes"),
    ],
)
def test_what_cannot_be_done_with_a_terminal_is_told(
    tollgate: Tollgate, house: House, arguments: list[str], told: str
) -> None:
    assert told in tollgate("terminal", *arguments, code=1).output
    assert {row.id for row in house.rows(Terminal)} == {"T-1", "T-2", "T-3"}


def test_an_import_of_terminals_can_be_repeated_after_mending(tollgate: Tollgate, house: House) -> None:
    head = "terminal,public_key,subscriber,label"
    file = csv(house.folder, head, f"T-8,{KEY},A-1,One", "T-9,zz,A-1,Two", f"T-7,{KEY},A-9,Three")
    result = tollgate("terminal", "import", file, code=1)
    assert f"{file}: line 3: T-9: public key 'zz'... is not hexadecimal" in result.output
    assert f"{file}: line 4: terminal T-7: subscriber A-9" in result.output
    mended = csv(house.folder, head, f"T-8,{KEY},A-1,One", f"T-9,{KEY},A-1,Two")
    assert "1 enrolled, 1 known already, 0 refused." in tollgate("terminal", "import", mended).output
    assert house.rows(Terminal, id="T-9")[0].label == "Two"


def test_the_bundle_holds_what_a_terminal_trusts_and_no_secret(tollgate: Tollgate, house: House) -> None:
    file = house.folder / "bundle.json"
    tollgate("terminal", "bundle", "--out", file)
    bundle = json.loads(file.read_text())
    assert bundle["server"] == "op.example"
    assert "BEGIN CERTIFICATE" in bundle["ca_pem"]
    assert json.loads(bundle["tuf_root"])["signed"]["_type"] == "root"
    assert "PRIVATE" not in file.read_text()


def test_why_says_for_each_offer_what_keeps_it_from_the_user(tollgate: Tollgate, user: User) -> None:
    user.say(Reject("notes", user.version("notes")))
    explained = {each["offer"]: each for each in shown(tollgate, "offer", "why", "T-1")}
    assert explained["game"]["shown"]
    assert not explained["notes"]["shown"]
    [objection] = explained["notes"]["objections"]
    assert objection["filter"] == "rejected"
    assert explained["notes"]["reasons"] == [objection["text"]]
    assert "rejected: notes was rejected at" in tollgate("offer", "why", "T-1").output
    # A filter that the command once left out: the account's currency cannot pay for it.
    assert [each["filter"] for each in explained["yen"]["objections"]] == ["price"]
    assert "nothing stands against it" in tollgate("offer", "why", "T-1").output


def test_why_of_a_terminal_that_nobody_knows_or_that_never_answered_is_told(tollgate: Tollgate) -> None:
    assert "terminal T-9 is not enrolled" in tollgate("offer", "why", "T-9", code=1).output
    tollgate("terminal", "enroll", "T-9", "--public-key", KEY, "--subscriber", "A-1")
    assert "has not answered an interrogation yet" in tollgate("offer", "why", "T-9", code=1).output


def test_the_offers_are_listed_in_the_order_of_menus(tollgate: Tollgate) -> None:
    offers = shown(tollgate, "offer", "list")
    assert [offer["offer"] for offer in offers] == ["game", "notes", "hotline", "levels", "yen"]
    assert offers[0]["modes"] == ["per-use", "buy", "staff"]


@pytest.mark.requirement("S5")
def test_a_rejection_is_listed_and_can_be_undone_once(tollgate: Tollgate, house: House, user: User) -> None:
    user.say(Reject("game", user.version("game"), "too dear"))
    [rejection] = shown(tollgate, "rejection", "list", "--subscriber", "A-1")
    assert (rejection["offer_id"], rejection["until_at"]) == ("game", None)
    assert "for ever" in tollgate("rejection", "list").output
    assert "game" not in user.menu()
    done = tollgate("rejection", "undo", rejection["id"], "--reason", "asked by telephone [1]")
    assert "game is shown to A-1 again." in done.output
    assert "game" in user.menu()
    [row] = house.rows(Rejection)
    assert row.undone_by.startswith("cli:")
    assert row.undo_reason == "asked by telephone [1]"
    assert "[1]" in tollgate("rejection", "list").output
    assert "was undone at" in tollgate("rejection", "undo", rejection["id"], "--reason", "again", code=1).output
    assert "there is none" in tollgate("rejection", "undo", "nothing", "--reason", "x", code=1).output


def test_publish_seals_what_an_offer_asks_money_for(tollgate: Tollgate, house: House) -> None:
    file = house.folder / "build.bin"
    file.write_bytes(b"content")
    assert "sealed." in tollgate("publish", file, "--name", "game", "--version", "2.0").output
    assert "open." in tollgate("publish", file, "--name", "notes", "--version", "2.0").output
    output = tollgate("publish", file, "--name", "other", "--version", "1").output
    assert "No offer names this product yet." in output
    refused = tollgate("publish", file, "--name", "game", "--version", "2.1", "--open", code=1)
    assert "an offer asks money for it, so it must be sealed" in refused.output
    again = tollgate("publish", file, "--name", "game", "--version", "2.0", code=1)
    assert "published already; give it another version" in again.output
    missing = tollgate("publish", house.folder / "none", "--name", "game", "--version", "3", code=1)
    assert "No such file" in missing.output


@pytest.mark.parametrize(
    ("text", "instant"),
    [("2026-11-03", "2026-11-03T00:00:00+00:00"), ("2026-11-03T02:00:00+02:00", "2026-11-03T00:00:00+00:00")],
)
def test_a_release_expires_at_the_instant_that_was_said(
    tollgate: Tollgate, house: House, text: str, instant: str
) -> None:
    file = house.folder / "build.bin"
    file.write_bytes(b"content")
    tollgate("publish", file, "--name", "notes", "--version", "2.0", "--valid-until", text)
    [row] = house.rows(Release, product="notes", version="2.0")
    assert row.valid_until is not None
    assert row.valid_until.isoformat() == instant
    assert (
        "is not a date such as"
        in tollgate("publish", file, "--name", "notes", "--version", "3", "--valid-until", "soon", code=1).output
    )


def test_releases_are_listed_with_what_became_of_them(tollgate: Tollgate) -> None:
    tollgate("release", "revoke", "game", "1.0", "--reason", "a fault")
    states = {row["product"]: (row["state"], row["sealed"]) for row in shown(tollgate, "release", "list")}
    assert states == {"game": ("revoked", True), "notes": ("valid", False), "levels": ("valid", False)}
    assert "game 9 was never published" in tollgate("release", "revoke", "game", "9", "--reason", "x", code=1).output


def test_an_order_to_interrogate_that_no_server_takes_is_told(tollgate: Tollgate) -> None:
    result = tollgate("interrogate", "T-1", "--wait", "0.1", code=1)
    assert "no server took the order" in result.output
    assert "T-9: is not enrolled" in tollgate("interrogate", "T-9", code=1).output


def test_the_database_command_says_where_it_is(tollgate: Tollgate, tmp_path: Path) -> None:
    assert f"The database is at {newest()}." in tollgate("db", "upgrade").output
    assert f"{newest()}; needed: {newest()}" in tollgate("db", "current").output


def test_money_that_is_on_its_way_is_shown(tollgate: Tollgate, user: User) -> None:
    user.take("game", "buy")
    user.agree("hotline", "buy")
    [money] = shown(tollgate, "account", "show", "A-1")["money"]
    assert money == {
        "currency": "EUR", "unbilled": "6.99", "open": "0.00", "reserved": "5.00", "available": "8.01",
    }  # fmt: skip
    assert "there is none" in tollgate("account", "show", "A-9", code=1).output
    assert "proven" in tollgate("ledger", "verify").output


def test_changes_by_command_are_in_the_audit_trail(tollgate: Tollgate) -> None:
    tollgate("terminal", "revoke", "T-1", "--reason", "lost")
    tollgate("account", "create", "A-9", "--name", "Max")
    trail = json.loads(tollgate("audit", "list", "--json").output)
    told = [(entry["action"], entry["reference"], entry["actor"].partition(":")[0]) for entry in trail]
    assert told == [("account.create", "account/A-9", "cli"), ("terminal.revoke", "terminal/T-1", "cli")]
    assert (trail[0]["after"]["name"], trail[1]["after"]["reason"]) == ("Max", "lost")
    assert "2 entries" in tollgate("audit", "verify").output


def test_users_and_tokens_are_made_and_ended_by_command(tollgate: Tollgate) -> None:
    made = json.loads(tollgate("user", "add", "erika", "--role", "billing", "--json").output)
    assert (made["user"], len(made["password"])) == ("erika", 23)
    assert "there are operator" in tollgate("user", "add", "max", "--role", "boss", code=1).output
    token = json.loads(
        tollgate("token", "create", "erika", "--label", "export", "--scope", "read", "--json").output
    )  # fmt: skip
    assert token["token"].startswith("tollgate_")
    assert "does not have it" in tollgate(
        "token", "create", "erika", "--label", "x", "--scope", "people.write", code=1
    ).output  # fmt: skip
    tollgate("token", "revoke", token["id"])
    assert "revoked" in tollgate("token", "list").output
    tollgate("user", "role", "erika", "support")
    tollgate("user", "disable", "erika")
    [listed] = json.loads(tollgate("user", "list", "--json").output)
    assert (listed["role"], listed["status"], listed["tokens"]) == ("support", "disabled", 0)
    tollgate("user", "disable", "erika", "--undo")
    assert "logs on once with" in tollgate("user", "password", "erika").output
