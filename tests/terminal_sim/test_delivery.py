"""The software receiving part against a real repository: sealed, broken off, tampered with."""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from terminal_fakes import DAY, FakeServer, Pair, entry

from operator_server.delivery.repository import Repository
from operator_server.web.app import create_app
from operator_server.web.server import EmbeddedServer, bind, make_config, serve_here
from signalling.clock import SettableClock, from_micros
from signalling.sealing import grant_info, new_content_key, seal, wrap_key
from terminal_sim import delivery
from terminal_sim.delivery import DeliveryFailed, SoftwareReceiver
from terminal_sim.download import installed, item_path
from terminal_sim.repository_fetcher import TransferSettings
from terminal_sim.state import Agreement, State
from terminal_sim.user import BreakOnce

CONTENT = hashlib.shake_256(b"navigator").digest(300_000)
QUICK = TransferSettings(connect_timeout=2, read_timeout=2)


@pytest.fixture
def pair(pair: Pair, tmp_path: Path) -> Iterator[Pair]:
    """The pair with a repository that holds the navigator, sealed, and a grant for it."""
    server, folder = pair.server, tmp_path / "operator"
    repository = Repository.create(
        folder / "repository" / "metadata", folder / "repository" / "targets", folder / "keys", from_micros(server.now)
    )
    key, sealed = new_content_key(), io.BytesIO()
    seal(io.BytesIO(CONTENT), sealed, key)
    (folder / "package").write_bytes(sealed.getvalue())
    target = repository.add_target("navigator/1.0/navigator.bin", folder / "package", now=from_micros(server.now))
    server.offers = [entry()]
    server.grant_extra = {
        "target": target.path,
        "sha256": target.sha256,
        "length": target.length,
        "sealed": True,
        "content_key": lambda order: wrap_key(key, order.wrap_key, grant_info(order.agreement)),
    }
    listener = bind("127.0.0.1", 0)
    web = EmbeddedServer(make_config(create_app(folder / "repository")))
    thread = threading.Thread(target=lambda: asyncio.run(serve_here(web, listener)))
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/repository"
    trust = msgspec.structs.replace(pair.state.trust, repository_urls=[url], tuf_root=repository.root_bytes().decode())
    pair.state = State(pair.state.identity, trust, pair.state.journal, tmp_path / "terminal")
    yield pair
    web.should_exit = True
    thread.join(10)


def granted(pair: Pair) -> Agreement:
    pair.connect()
    line = pair.dialogue.menu.line(1)
    quotation = pair.answer(pair.dialogue.request(line, "once"))
    agreement: Agreement = pair.answer(pair.dialogue.confirm(line, quotation, pair.server.now))
    pair.dialogue.advance(agreement, pair.server.now)
    pair.pump()
    assert agreement.step == "granted"
    return agreement


def receiver(pair: Pair, **options: Any) -> SoftwareReceiver:
    return SoftwareReceiver(pair.state, SettableClock(from_micros(pair.server.now)), settings=QUICK, **options)


@pytest.mark.requirement("S11")
def test_a_sealed_package_is_opened_with_the_key_of_the_grant(pair: Pair) -> None:
    agreement = granted(pair)
    receiver(pair).receive(agreement)
    (item,) = installed(pair.state.items_folder)
    assert item_path(pair.state.items_folder, item).read_bytes() == CONTENT
    assert (item.product, item.version) == ("navigator", "1.0")


@pytest.mark.requirement("S11")
def test_a_broken_download_goes_on_where_it_stopped_even_after_a_restart(pair: Pair) -> None:
    agreement = granted(pair)
    with pytest.raises(delivery.DeliveryPaused):
        receiver(pair, fault=BreakOnce(100_000)).receive(agreement)
    pair.restart()
    second = receiver(pair)
    second.receive(pair.state.agreements[agreement.id])
    assert second.count.resumed == 1
    assert second.count.received < len(CONTENT) - 90_000


def test_changed_bytes_end_in_a_signed_failure_that_takes_the_charge_back(pair: Pair, tmp_path: Path) -> None:
    agreement = granted(pair)
    for file in (tmp_path / "operator" / "repository" / "targets").rglob("*navigator.bin"):
        data = bytearray(file.read_bytes())
        data[1000] ^= 1
        file.write_bytes(bytes(data))
    with pytest.raises(DeliveryFailed) as failure:
        receiver(pair).receive(agreement)
    assert failure.value.code == "tampered"
    delivery.failed(pair.state, agreement, failure.value, pair.server.now)
    pair.dialogue.advance(agreement, pair.server.now)
    pair.pump()
    assert pair.server.receipts[agreement.id].outcome == "failed"
    assert pair.server.receipts[agreement.id].reason.startswith("tampered")
    assert (agreement.step, agreement.charge) == ("done", "reversed")
    assert pair.state.active_items() == []


def test_metadata_that_expired_by_the_terminals_clock_is_refused(pair: Pair) -> None:
    agreement = granted(pair)
    late = SettableClock(from_micros(pair.server.now + 6 * DAY + 23 * DAY))
    with pytest.raises(DeliveryFailed, match="expired"):
        SoftwareReceiver(pair.state, late, settings=QUICK).receive(agreement)


def test_a_grant_for_something_else_is_refused(pair: Pair, server: FakeServer) -> None:
    server.grant_extra = {**server.grant_extra, "target": ""}
    pair.connect()
    line = pair.dialogue.menu.line(1)
    quotation = pair.answer(pair.dialogue.request(line, "once"))
    agreement: Agreement = pair.answer(pair.dialogue.confirm(line, quotation, server.now))
    re = pair.dialogue.advance(agreement, server.now)
    assert re is not None
    assert "nothing to fetch" in pair.answer(re).reason
    assert agreement.step == "ordered"
