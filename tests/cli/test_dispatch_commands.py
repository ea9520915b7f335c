"""``tollgate invoice send``, ``dispatches`` and ``bounce`` as billing staff use them."""

from __future__ import annotations

import email
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Tollgate


@pytest.fixture(autouse=True)
def billed(tollgate: Tollgate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two accounts with a commitment each, billed for March; one of them has no e-mail address."""
    monkeypatch.setenv("TOLLGATE_OUTLET__FOLDER", str(tmp_path / "outbox"))
    for account, more in (("A-8", ("--email", "erika@muster.example")), ("A-9", ())):
        tollgate("account", "create", account, "--name", "Erika Muster", *more)
        tollgate("bill", "commit", account, "50.00", "--from", "2026-01-01")
    tollgate("bill", "--period", "2026-03")


def _rows(tollgate: Tollgate, *arguments: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(tollgate("invoice", "dispatches", *arguments, "--json").output)
    return found


def test_a_month_is_sent_once_and_who_has_no_address_is_named(tollgate: Tollgate, tmp_path: Path) -> None:
    first = tollgate("invoice", "send", "--period", "2026-03")
    assert "1 invoices are sent, 0 refused, 0 wait" in first.output
    assert "1 have no e-mail address" in first.output
    assert "0 invoices are sent" in tollgate("invoice", "send", "--period", "2026-03").output
    assert [row["state"] for row in _rows(tollgate)] == ["sent"]
    assert len(list((tmp_path / "outbox").glob("*.eml"))) == 1
    assert "invoice.send" in tollgate("audit", "list", "--json").output


def test_a_number_is_sent_whenever_it_is_named_also_elsewhere(tollgate: Tollgate) -> None:
    number = json.loads(tollgate("invoice", "list", "--json").output)[1]["number"]
    tollgate("invoice", "send", number, "--to", "office@muster.example")
    tollgate("invoice", "send", number, "--to", "office@muster.example")
    assert [row["recipient"] for row in _rows(tollgate)] == ["office@muster.example"] * 2
    assert "has no e-mail address" in tollgate("invoice", "send", number, code=1).output
    tollgate("invoice", "send", code=2)
    tollgate("invoice", "send", number, "--period", "2026-03", code=2)
    assert "there is none" in tollgate("invoice", "send", "R-1", code=1).output


def test_what_comes_back_shows_as_bounced_and_goes_out_again(tollgate: Tollgate, tmp_path: Path) -> None:
    tollgate("invoice", "send", "--period", "2026-03")
    [mail] = (tmp_path / "outbox").glob("*.eml")
    name = email.message_from_bytes(mail.read_bytes())["Message-ID"]
    report = tmp_path / "bounce.eml"
    report.write_text(
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
        "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\n"
        "Final-Recipient: rfc822; erika@muster.example\nAction: failed\nStatus: 5.1.1\n\n"
        f"--b\nContent-Type: text/rfc822-headers\n\nMessage-ID: {name}\n\n--b--\n"
    )
    (tmp_path / "other.eml").write_text("Subject: hello\n\nI am on holiday\n")
    told = tollgate("invoice", "bounce", report, tmp_path / "other.eml").output
    assert "to erika@muster.example is bounced: 5.1.1" in told
    assert "1 reports taken in, 1 messages left alone" in told
    assert [row["state"] for row in _rows(tollgate, "--state", "bounced")] == ["bounced"]
    assert "1 invoices are sent" in tollgate("invoice", "send", "--period", "2026-03").output
    assert tollgate("invoice", "bounce", tmp_path / "nowhere", code=1).output
