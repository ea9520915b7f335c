"""Publishing: what becomes a release, what a crash leaves, and what withdrawing does."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from operator_samples import DAY, NOW, OFFERS, House

from operator_server.delivery import publishing
from operator_server.delivery.publishing import (
    Package,
    PublishError,
    open_though_paid,
    paid_products,
    publish,
    valid_releases,
    vault_name,
    withdraw,
)
from operator_server.delivery.repository import Repository, RepositoryError
from operator_server.offering.loading import load
from operator_server.store.dealings import Release
from signalling.sealing import open_seal


class PowerCut(Exception):
    pass


def put(house: House, package: Package) -> Release:
    operator = house.operator
    [row] = publish(operator.engine, operator.repository, operator.vault, [package], house.clock.now())
    return row


def file_of(house: House, name: str = "tool.bin", content: bytes = b"content") -> Path:
    path = house.folder / name
    path.write_bytes(content)
    return path


def served(house: House, row: Release) -> bytes:
    target = house.operator.repository.target(row.target)
    assert target is not None
    assert (target.sha256, target.length) == (row.sha256, row.length)
    folder = (house.operator.repository_dir / "targets" / row.target).parent
    [file] = folder.glob(f"{target.sha256.hex()}.*")
    return file.read_bytes()


def valid(house: House, product: str) -> list[str]:
    with house.engine.connect() as connection:
        return valid_releases(connection, house.clock.now()).get(product, [])


def test_a_file_is_served_as_it_is_and_its_release_is_valid(house: House) -> None:
    row = put(house, Package(file_of(house), "tool", "1.0", sealed=False))
    assert served(house, row) == b"content"
    assert row.digest == row.sha256
    assert valid(house, "tool") == ["1.0"]


def test_a_sealed_file_opens_with_the_key_in_the_vault_alone(house: House) -> None:
    put(house, Package(file_of(house), "tool", "1.0", sealed=True))
    [row] = house.rows(Release, product="tool")
    assert row.sealed_key is not None
    key = house.operator.vault.open(row.sealed_key, vault_name("tool", "1.0"))
    plain = io.BytesIO()
    open_seal(io.BytesIO(served(house, row)), plain, key)
    assert plain.getvalue() == b"content"
    assert b"content" not in served(house, row)


def test_a_folder_becomes_one_archive_with_the_same_bytes_each_time(house: House) -> None:
    folder = house.folder / "tool"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("a")
    first = put(house, Package(folder, "tool", "1.0", sealed=False))
    (folder / "sub" / "a.txt").touch()
    second = put(house, Package(folder, "tool", "2.0", sealed=False))
    assert first.digest == second.digest
    with tarfile.open(fileobj=io.BytesIO(served(house, first))) as archive:
        assert archive.getnames() == ["sub", "sub/a.txt"]


def test_what_is_published_is_never_replaced(house: House) -> None:
    put(house, Package(file_of(house), "tool", "1.0", sealed=False))
    with pytest.raises(PublishError, match="published already; give it another version"):
        put(house, Package(file_of(house, content=b"other"), "tool", "1.0", sealed=False))
    assert served(house, house.rows(Release, product="tool")[0]) == b"content"


def test_a_file_that_is_missing_is_named(house: House) -> None:
    with pytest.raises(PublishError, match=r"nowhere\.bin: No such file"):
        put(house, Package(house.folder / "nowhere.bin", "tool", "1.0", sealed=False))
    assert not house.rows(Release, product="tool")


def test_a_version_that_no_offer_could_bring_is_refused(house: House) -> None:
    with pytest.raises(PublishError, match=r"tool winter: no offer could bring it, .* begins with a number"):
        put(house, Package(file_of(house), "tool", "winter", sealed=False))


def test_a_version_that_no_path_can_hold_is_refused_before_anything_happens(house: House) -> None:
    with pytest.raises(RepositoryError, match="product/version/name is needed"):
        put(house, Package(file_of(house), "tool", "1/0", sealed=False))
    assert not house.rows(Release, product="tool")


@pytest.mark.parametrize("sealed", [False, True])
def test_a_crash_before_the_release_is_valid_leaves_nothing_that_is_offered_and_can_be_repeated(
    house: House, monkeypatch: pytest.MonkeyPatch, sealed: bool
) -> None:
    def cut(*_: Any) -> None:
        raise PowerCut

    package = Package(file_of(house), "tool", "1.0", sealed=sealed)
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_make_valid", cut)
        with pytest.raises(PowerCut):
            put(house, package)
    assert valid(house, "tool") == []
    put(house, package)
    [row] = house.rows(Release, product="tool")
    assert valid(house, "tool") == ["1.0"]
    if sealed:
        assert row.sealed_key is not None
        plain = io.BytesIO()
        key = house.operator.vault.open(row.sealed_key, vault_name("tool", "1.0"))
        open_seal(io.BytesIO(served(house, row)), plain, key)
        assert plain.getvalue() == b"content"


def test_of_two_who_publish_the_same_release_at_once_none_gets_the_others_key(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Package(file_of(house), "tool", "1.0", sealed=True)
    original = Repository.add_targets

    def then_another_publishes(repository: Repository, *arguments: Any) -> Any:
        monkeypatch.setattr(Repository, "add_targets", original)
        added = original(repository, *arguments)
        put(house, package)
        return added

    monkeypatch.setattr(Repository, "add_targets", then_another_publishes)
    with pytest.raises(PublishError, match="somebody else published it meanwhile"):
        put(house, package)
    [row] = house.rows(Release, product="tool")
    assert (row.status, row.sealed_key is None) == ("valid", False)
    open_seal(
        io.BytesIO(served(house, row)), io.BytesIO(), house.operator.vault.open(row.sealed_key or b"", "tool/1.0")
    )


def test_what_is_withdrawn_or_has_expired_is_offered_no_more(house: House) -> None:
    put(house, Package(file_of(house), "tool", "1.0", sealed=False))
    put(house, Package(file_of(house), "tool", "2.0", sealed=False, valid_until=NOW + DAY))
    assert valid(house, "tool") == ["1.0", "2.0"]
    house.change(lambda c: withdraw(c, "tool", "1.0", "a fault", NOW))
    house.clock.set(NOW + DAY)
    assert valid(house, "tool") == []


def test_what_was_never_published_cannot_be_withdrawn(house: House) -> None:
    with pytest.raises(PublishError, match=r"tool 9 was never published"):
        house.change(lambda c: withdraw(c, "tool", "9", "a fault", NOW))


def test_products_with_a_paid_mode_are_to_be_sealed(house: House) -> None:
    assert paid_products(load(house.operator.settings).catalogue) == {"game", "hotline", "yen"}


def test_a_release_that_was_published_open_and_costs_money_now_is_named(house: House) -> None:
    catalogue = load(house.operator.settings).catalogue
    with house.engine.connect() as connection:
        assert open_though_paid(connection, catalogue) == []
    path = house.folder / "configs" / "offers" / "shop.toml"
    priced = OFFERS.replace('id = "free"\nkind = "free"', 'id = "buy"\nkind = "one_off"\namount = "1.00"', 1)
    path.write_text(priced)
    with house.engine.connect() as connection:
        assert open_though_paid(connection, load(house.operator.settings).catalogue) == [("notes", "1.0")]
    house.change(lambda c: withdraw(c, "notes", "1.0", "open", NOW))
    with house.engine.connect() as connection:
        assert open_though_paid(connection, load(house.operator.settings).catalogue) == []
