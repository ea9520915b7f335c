"""A terminal takes a package over a bad line, and takes nothing that nobody signed."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import ssl
import threading
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from delivery_samples import QUICK, START, House, make_repository, noise, running, static_server

from operator_server.delivery.repository import PublishedTarget
from terminal_sim.repository_client import FetchError, RepositoryClient, Transfer
from terminal_sim.repository_fetcher import DropAfter, Fetcher, TransferSettings

SIZE = 1_000_000
CONTENT = noise(SIZE)


@pytest.fixture
def target(house: House) -> PublishedTarget:
    return house.publish("tool/1.0/tool.bin", CONTENT)


def served_file(house: House, target: PublishedTarget) -> Path:
    folder, name = os.path.split(target.path)
    return house.served / "targets" / folder / f"{target.sha256.hex()}.{name}"


def refused(terminal: object, target: PublishedTarget) -> FetchError:
    with pytest.raises(FetchError) as error:
        terminal.fetch(target)  # type: ignore[attr-defined]  # any terminal of the samples
    return error.value


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def test_a_published_package_arrives_as_it_was_published(house: House, target: PublishedTarget) -> None:
    terminal = house.terminal()
    assert terminal.fetch(target).read_bytes() == CONTENT
    assert terminal.client.last_transfer == Transfer(house.base_url, 0, SIZE)


@pytest.mark.requirement("S11")
def test_a_download_broken_again_and_again_goes_on_where_it_stopped_and_is_verified(
    house: House, target: PublishedTarget
) -> None:
    drops = [1, 70_000, 300_001, 500_000]
    for limit in drops:
        assert refused(house.terminal(fault=DropAfter(limit, "/targets/")), target).code == "unreachable"
    terminal = house.terminal()
    assert terminal.fetch(target).read_bytes() == CONTENT
    stops = [0, 1, 70_001, 370_002, 870_002]
    assert [entry.range for entry in house.recorder.of_targets()] == [None] + [f"bytes={stop}-" for stop in stops[1:]]
    assert terminal.client.last_transfer == Transfer(house.base_url, 870_002, SIZE - 870_002)

    # Verified: with a wrong byte in what was taken before the break, nothing but the signed bytes is handed out.
    other = house.publish("tool/1.1/tool.bin", noise(SIZE, "other"))
    assert refused(house.terminal(fault=DropAfter(400_000, "/targets/")), other).code == "unreachable"
    (part,) = terminal.downloads.rglob("*.part")
    flip(part, 200_000)
    assert house.terminal().fetch(other).read_bytes() == noise(SIZE, "other")


def test_a_server_without_ranges_is_started_anew_with(house: House, target: PublishedTarget) -> None:
    with static_server(house.served) as url:
        assert refused(house.terminal(url, fault=DropAfter(600_000, "/targets/")), target).code == "unreachable"
        terminal = house.terminal(url)
        assert terminal.fetch(target).read_bytes() == CONTENT
        assert terminal.client.last_transfer == Transfer(url, 0, SIZE)


def test_a_download_begun_at_one_repository_is_ended_at_another(house: House, target: PublishedTarget) -> None:
    with static_server(house.served) as mirror:
        assert refused(house.terminal(mirror, fault=DropAfter(600_000, "/targets/")), target).code == "unreachable"
    terminal = house.terminal(mirror, house.base_url)
    assert terminal.fetch(target).read_bytes() == CONTENT
    assert terminal.client.last_transfer == Transfer(house.base_url, 600_000, SIZE - 600_000)


def test_a_usb_stick_serves_the_same_bytes_and_goes_on_where_it_was_pulled_out(
    house: House, target: PublishedTarget, tmp_path: Path
) -> None:
    stick = tmp_path / "usb stick"
    shutil.copytree(house.served, stick)
    url = stick.as_uri()
    assert refused(house.terminal(url, fault=DropAfter(400_000, "/targets/")), target).code == "unreachable"
    terminal = house.terminal(url)
    assert terminal.fetch(target).read_bytes() == CONTENT
    assert terminal.client.last_transfer == Transfer(url, 400_000, SIZE - 400_000)
    shutil.rmtree(stick)
    assert refused(house.terminal(url), target).code == "unreachable"


def test_what_is_there_already_is_not_fetched_again_unless_it_was_damaged(
    house: House, target: PublishedTarget
) -> None:
    terminal = house.terminal()
    file = terminal.fetch(target)
    terminal.fetch(target)
    assert len(house.recorder.of_targets()) == 1
    flip(file, 5)
    assert terminal.fetch(target).read_bytes() == CONTENT
    assert len(house.recorder.of_targets()) == 2


def test_progress_rises_to_the_whole(house: House, target: PublishedTarget) -> None:
    told: list[tuple[int, int]] = []
    terminal = house.terminal()
    terminal.client.fetch(
        target.path, target.sha256, target.length, terminal.downloads, lambda done, of: told.append((done, of))
    )
    assert told == sorted(told)
    assert told[-1] == (SIZE, SIZE)


@pytest.mark.parametrize("at", [0, SIZE // 2, SIZE - 1])
def test_a_byte_changed_on_the_way_is_refused_and_nothing_is_kept(
    house: House, target: PublishedTarget, at: int
) -> None:
    flip(served_file(house, target), at)
    terminal = house.terminal()
    assert refused(terminal, target).code == "tampered"
    assert not [file for file in terminal.downloads.rglob("*") if file.is_file()]


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "1.targets.json"])
def test_changed_metadata_is_refused(house: House, target: PublishedTarget, name: str) -> None:
    file = house.served / "metadata" / name
    file.write_bytes(file.read_bytes().replace(b'"version":', b'"x":1,"version":'))
    assert refused(house.terminal(), target).code == "tampered"


def test_a_repository_signed_by_somebody_else_is_refused(house: House, target: PublishedTarget, tmp_path: Path) -> None:
    other = make_repository(tmp_path / "other", START)
    other.add_target(target.path, served_file(house, target), now=START)
    with static_server(tmp_path / "other" / "repository") as url:
        assert refused(house.terminal(url), target).code == "tampered"


def test_a_target_that_is_signed_but_not_the_granted_one_is_refused(house: House, target: PublishedTarget) -> None:
    terminal = house.terminal()
    assert refused(terminal, replace(target, sha256=bytes(32))).code == "tampered"
    assert refused(terminal, replace(target, length=SIZE + 1)).code == "tampered"
    assert not house.recorder.of_targets()


def test_endless_data_is_cut_at_the_signed_length(house: House, target: PublishedTarget) -> None:
    with served_file(house, target).open("ab") as file:
        file.write(noise(5_000_000))
    terminal = house.terminal()
    assert refused(terminal, target).code == "tampered"
    assert terminal.fetcher.received < 2 * SIZE


def test_older_metadata_replayed_is_refused(house: House, target: PublishedTarget, tmp_path: Path) -> None:
    shutil.copytree(house.served, tmp_path / "older")
    newer = house.publish("tool/2.0/tool.bin", b"newer")
    assert house.terminal().fetch(newer).read_bytes() == b"newer"
    with static_server(tmp_path / "older") as url:
        assert refused(house.terminal(url), newer).code == "rollback"
        assert refused(house.terminal(url), target).code == "rollback"


def test_an_unknown_target_is_told_from_an_unreachable_repository(house: House, target: PublishedTarget) -> None:
    assert refused(house.terminal(), replace(target, path="tool/9/tool.bin")).code == "unknown_target"
    assert refused(house.terminal(), replace(target, path="../../keys/root.pem")).code == "unknown_target"
    assert refused(house.terminal("http://127.0.0.1:9/repository"), target).code == "unreachable"


def test_a_repository_that_fails_is_passed_over(house: House, target: PublishedTarget, tmp_path: Path) -> None:
    shutil.copytree(house.served, tmp_path / "bad")
    bad_file = tmp_path / "bad" / "targets" / served_file(house, target).relative_to(house.served / "targets")
    flip(bad_file, 3)
    with static_server(tmp_path / "bad") as bad:
        terminal = house.terminal("http://127.0.0.1:9", bad, house.base_url)
        assert terminal.fetch(target).read_bytes() == CONTENT


def test_when_all_fail_the_gravest_failure_is_told_and_every_one_is_in_the_text(
    house: House, target: PublishedTarget
) -> None:
    flip(served_file(house, target), 3)
    failure = refused(house.terminal("http://127.0.0.1:9", house.base_url), target)
    assert failure.code == "tampered"
    assert "unreachable: http://127.0.0.1:9" in str(failure)


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    house: House, target: PublishedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(SIZE, 1, SIZE - 1))
    assert refused(house.terminal(), target).code == "no_space"
    assert not house.recorder.of_targets()


def test_a_disk_that_fills_up_meanwhile_is_told(house: House, target: PublishedTarget) -> None:
    def full(_done: int, _of: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    terminal = house.terminal()
    with pytest.raises(FetchError) as error:
        terminal.client.fetch(target.path, target.sha256, target.length, terminal.downloads, full)
    assert error.value.code == "no_space"


@contextmanager
def raw_server(*pieces: bytes, every: float = 0.0, then_hang: bool = False) -> Iterator[str]:
    """A server that answers every request with ``pieces``, one in ``every`` seconds, then closes or hangs."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.recv(65536)
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    if stop.wait(every):
                        return
                if then_hang:
                    stop.wait(10)
            except OSError:
                return

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def test_a_server_that_says_nothing_is_given_up(house: House, target: PublishedTarget) -> None:
    with raw_server(then_hang=True) as url:
        assert refused(house.terminal(url, settings=replace(QUICK, read_timeout=0.2)), target).code == "too_slow"


def test_a_server_that_drips_is_given_up_although_it_never_pauses_long(house: House, target: PublishedTarget) -> None:
    settings = TransferSettings(read_timeout=5, minimum_rate=1_000, grace=0.3)
    with raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n", *[b" "] * 400, every=0.01) as url:
        assert refused(house.terminal(url, settings=settings), target).code == "too_slow"


def test_a_body_that_ends_early_is_a_broken_line_not_a_forgery(house: House, target: PublishedTarget) -> None:
    with raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n{") as url:
        assert refused(house.terminal(url), target).code == "unreachable"


def make_certificate(cert: Path, key: Path) -> None:
    """A certificate for 127.0.0.1 that signs itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(private, hashes.SHA256())
    )
    cert.write_bytes(made.public_bytes(Encoding.PEM))
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_https_is_checked_against_the_given_authority(house: House, target: PublishedTarget, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(cert, key)
    with running(house.recorder, str(cert), str(key)) as port:
        url = f"https://127.0.0.1:{port}/repository"
        assert refused(house.terminal(url), target).code == "unreachable"
        client = RepositoryClient(
            tmp_path / "terminal", [url], house.repository.root_bytes(), house.clock, Fetcher(QUICK, ca_file=cert)
        )
        assert client.fetch(target.path, target.sha256, SIZE, tmp_path).read_bytes() == CONTENT
        client.close()


def test_a_ca_file_that_is_none_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ssl.SSLError):
        Fetcher(ca_file=tmp_path / "ca.pem")
