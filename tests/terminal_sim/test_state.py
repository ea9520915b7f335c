"""What survives: journals cut anywhere, keys, locks, bundles."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from terminal_fakes import CONFIGURATION, FakeServer, Pair, entry, make_trust
from test_terminal_dialogue import buy

from signalling import messages as m
from terminal_sim import counters, delivery
from terminal_sim import state as states
from terminal_sim.journal import FileJournal, JournalError, MemoryJournal, Used, read_journal
from terminal_sim.state import State
from terminal_sim.trust import Identity, Trust, TrustError


def facts(state: State) -> dict[str, object]:
    """Everything a state adds up to."""
    return {
        "agreements": {
            a.id: (a.step, a.digest, a.order, a.grant, a.receipt, a.charge) for a in state.agreements.values()
        },
        "items": state.items,
        "counters": state.counters,
        "cut_overs": state.cut_overs,
        "notices": state.notices,
        "code": state.configuration().code(),
    }


def a_full_life(pair: Pair) -> None:
    pair.server.offers = [entry(), entry("b", "b")]
    pair.server.notices = [m.Notice(notice="n1", kind="charge", text="Nearly spent")]
    pair.server.cut_overs = [pair.server.now - 5]
    pair.connect()
    agreement = buy(pair)
    counters.use(pair.state, agreement.granted().installation, 2, pair.server.now)
    pair.dialogue.report(pair.server.now + 5)
    pair.pump()
    pair.dialogue.read(["n1"], pair.server.now)
    counters.reset(pair.state, agreement.granted().installation, pair.server.now)


def test_a_state_comes_back_from_its_file_as_it_was(pair: Pair, tmp_path: Path) -> None:
    a_full_life(pair)
    assert isinstance(pair.state.journal, MemoryJournal)
    pair.state.journal.dump(tmp_path / "journal.jsonl")
    again = State(pair.state.identity, pair.state.trust, FileJournal(tmp_path / "journal.jsonl"), tmp_path)
    assert facts(again) == facts(pair.state)
    again.close()


def test_a_journal_cut_off_at_any_byte_still_opens_and_goes_on(pair: Pair, tmp_path: Path) -> None:
    a_full_life(pair)
    assert isinstance(pair.state.journal, MemoryJournal)
    whole = tmp_path / "whole"
    pair.state.journal.dump(whole)
    data = whole.read_bytes()
    path = tmp_path / "journal.jsonl"
    for cut in {*range(0, len(data), 97), len(data) - 1, len(data)}:
        path.write_bytes(data[:cut])
        journal = FileJournal(path, durability="none")
        state = State(pair.state.identity, pair.state.trust, journal, tmp_path)
        state.record(Used(at=1, installation="x", counter="c", epoch=0, units=1, value=1))
        state.close()
        assert len(read_journal(path)) == data[:cut].count(b"\n") + 1


def test_whatever_line_is_the_last_the_dialogue_comes_to_one_agreement(pair: Pair) -> None:
    """The terminal may die after any line: it ends with one agreement, one receipt, and every use reported."""
    a_full_life(pair)
    entries = pair.state.journal.load()
    for cut in range(1, len(entries)):
        pair.state = State(pair.state.identity, pair.state.trust, MemoryJournal(entries[:cut]), pair.state.folder)
        pair.connect()
        for agreement in pair.state.open_agreements():
            for _ in range(4):
                if agreement.step == "granted":
                    delivery.succeeded(pair.state, agreement, pair.server.now)
                pair.dialogue.advance(agreement, pair.server.now)
                pair.pump()
            assert agreement.step == "done"
        assert len(pair.server.agreements) == len(pair.server.receipts) == 1


WRITER = """
import sys
from pathlib import Path
from terminal_sim.journal import FileJournal, Used
journal = FileJournal(Path(sys.argv[1]))
for value in range(1, 1000000):
    journal.append(Used(at=value, installation="i", counter="c", epoch=0, units=1, value=value))
    print(value, flush=True)
"""


def test_what_was_written_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, cwd=os.getcwd())
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(0.05)
    writer.send_signal(signal.SIGKILL)
    told = writer.stdout.read().decode().split("\n")
    writer.wait()
    journal = FileJournal(path)
    values = [entry.value for entry in journal.load() if isinstance(entry, Used)]
    journal.close()
    assert values == list(range(1, len(values) + 1))
    assert len(values) >= int(next(word for word in reversed(told[:-1]) if word))


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"kind":"cut_overs","at":1,"instants":[]}\n{"kind":"no such"}\n')
    journal = FileJournal(path)
    with pytest.raises(JournalError, match="line 2"):
        journal.load()
    journal.close()


def test_two_programs_do_not_share_a_state(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "journal.jsonl")
    with pytest.raises(JournalError, match="another program"):
        FileJournal(tmp_path / "journal.jsonl")
    journal.close()


def test_a_new_terminal_keeps_its_key_to_itself(tmp_path: Path) -> None:
    identity, trust = Identity.new("T-9"), make_trust(FakeServer())
    states.create(tmp_path / "t", identity, trust, CONFIGURATION, 5).close()
    assert stat.S_IMODE((tmp_path / "t" / "identity.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "t" / "journal.jsonl").stat().st_mode) == 0o600
    again = states.load(tmp_path / "t")
    assert (again.identity.public_key, again.trust) == (identity.public_key, trust)
    assert again.configuration() == CONFIGURATION
    again.close()
    with pytest.raises(FileExistsError, match="already holds a terminal"):
        states.create(tmp_path / "t", identity, trust, CONFIGURATION, 5)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not a terminal bundle"),
        ("{}", "server"),
        ('{"server": "s", "server_public_key": "AAAA", "host": "h", "port": 1}', "server_public_key"),
    ],
)
def test_a_bundle_that_cannot_be_used_is_told(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "bundle.json").write_text(text)
    with pytest.raises(TrustError, match=word):
        Trust.read(tmp_path / "bundle.json")


def test_a_bundle_with_tls_needs_a_certificate(tmp_path: Path) -> None:
    import msgspec

    trust = make_trust(FakeServer(), tls=True)
    (tmp_path / "bundle.json").write_bytes(msgspec.json.encode(trust))
    with pytest.raises(TrustError, match="ca_pem"):
        Trust.read(tmp_path / "bundle.json")
